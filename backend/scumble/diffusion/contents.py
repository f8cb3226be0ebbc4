"""What a model's files are, read from headers and JSON alone: no weights, no torch, and never anything that could run code.

The one format of weights is safetensors (https://github.com/huggingface/safetensors): u64 little-endian length of the
header, the header as JSON, then the tensors' bytes without gaps.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..protocol.errors import ModelUnreadable
from .families.base import Contents

MAX_HEADER = 100 << 20  # bytes; the limit of the safetensors library itself
MAX_JSON = 16 << 20  # bytes
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
_STEMS = ("diffusion_pytorch_model", "model")
_VARIANTS = ("", ".fp16", ".bf16", ".fp32")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_CONFIGS = ("config.json", "scheduler_config.json")
_DENOISERS = ("unet", "transformer")
_PARTS = (*_DENOISERS, "vae", "text_encoder", "text_encoder_2")


class Header(NamedTuple):
    """Of one safetensors file: name -> shape, and its ``__metadata__``."""

    tensors: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_contents(path: Path) -> Contents:
    """What the folder (in the layout of diffusers) or the single .safetensors file at `path` says about itself.

    Raises ModelUnreadable: not there, damaged, a pickle, or of a kind that Scumble does not read.
    """
    if not path.is_dir():
        tensors, metadata = read_header(path)
        return Contents("single", tensors, {}, metadata)
    if not (path / "model_index.json").is_file():
        raise ModelUnreadable(
            "This folder holds no model that Scumble can read.",
            "Choose a folder with a model_index.json, or a single .safetensors file.",
        )
    configs = read_configs(path)
    tensors, metadata = {}, {}
    for name in _DENOISERS:
        if name in configs:
            for file in weight_files(path / name):
                header = read_header(file)
                tensors |= header.tensors
                metadata |= header.metadata
    return Contents("diffusers", tensors, configs, metadata)


def read_configs(path: Path) -> dict[str, Any]:
    """What the JSON files of a folder in the layout of diffusers say; no weights need be there. Raises ModelUnreadable."""
    index = read_json(path / "model_index.json")
    configs: dict[str, Any] = {"model_index": index}
    for name, kind in index.items():
        # The name becomes part of a path, and the file may come from anywhere.
        present = isinstance(kind, list) and len(kind) == 2 and None not in kind and name.isidentifier()
        files = [path / name / file for file in _CONFIGS if present and (path / name / file).is_file()]
        if files:
            configs[name] = read_json(files[0])
    return configs


def weight_files(component: Path) -> tuple[Path, ...]:
    """The safetensors files (one, or all shards) that hold the weights of a component's folder.

    Raises ModelUnreadable when there are none.
    """
    for variant in _VARIANTS:
        for stem in _STEMS:
            whole = component / f"{stem}{variant}.safetensors"
            if whole.is_file():
                return (whole,)
            index = component / f"{stem}.safetensors.index{variant}.json"
            if index.is_file():
                return _shards(index)
    if component.is_dir() and any(file.suffix in _PICKLES for file in component.iterdir()):
        raise _pickle()
    raise ModelUnreadable("A part of this model is missing.")


def count_numbers(path: Path) -> int:
    """How many numbers the weights are of that which Scumble loads of a model: without a folder's second copies in another
    format, its safety checker and the like. Raises ModelUnreadable."""
    files = [path]
    if path.is_dir():
        present = read_configs(path)
        files = [file for part in _PARTS if part in present for file in weight_files(path / part)]
    return sum(math.prod(shape) for file in files for shape in read_header(file).tensors.values())


def read_header(path: Path) -> Header:
    """Reads and checks the header: every tensor lies inside the file, none overlap, nothing is left over.

    Raises ModelUnreadable.
    """
    return _parse(*read_raw_header(path))


def read_raw_header(path: Path) -> tuple[bytes, int]:
    """The header's JSON as it stands in the file, and how many bytes of tensors follow. Raises ModelUnreadable."""
    try:
        if not path.is_file():  # also keeps us from waiting for a pipe or a device
            raise ModelUnreadable("The model's file is not there.", "Check that its disk is connected.")
        with path.open("rb") as file:
            return _raw_header(file, path.stat().st_size)
    except OSError as error:
        raise ModelUnreadable("The model's file cannot be read.", "Check that you may read it.") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most MAX_JSON bytes. Raises ModelUnreadable."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON + 1)
    except OSError as error:
        raise ModelUnreadable("A part of this model cannot be read.", "Check that you may read it.") from error
    if len(data) > MAX_JSON:
        raise ModelUnreadable("A description inside this model is far too large.")
    return _object(data)


def _shards(index: Path) -> tuple[Path, ...]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelUnreadable("The model's list of files is damaged.")
    names = sorted({str(name) for name in weight_map.values()})
    if any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise ModelUnreadable("The model's list of files points outside the model.")
    return tuple(index.parent / name for name in names)


def parse_header(file: BinaryIO, size: int) -> Header:
    """As read_header, of a file that has `size` bytes and of which `file` holds at least the header."""
    return _parse(*_raw_header(file, size))


def _raw_header(file: BinaryIO, size: int) -> tuple[bytes, int]:
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:] != b"{" or length > MAX_HEADER:
        raise _other_kind(file)
    if 8 + length > size:
        raise ModelUnreadable("The model's file is cut off.")
    file.seek(8)
    return file.read(length), size - 8 - length


def _parse(data: bytes, size: int) -> Header:
    header = _object(data)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged()
    _check_layout(header, size)
    return Header({name: tuple(entry["shape"]) for name, entry in header.items()}, metadata)


def _check_layout(header: dict[str, Any], size: int) -> None:
    """Raises ModelUnreadable unless the tensors cover the `size` bytes of data exactly, each with what its shape needs."""
    try:
        places = sorted((*entry["data_offsets"], entry["dtype"], entry["shape"]) for entry in header.values())
        end = 0
        for first, last, dtype, shape in places:
            if not all(type(number) is int and number >= 0 for number in (first, last, *shape)):
                raise _damaged()
            if first != end or (last - first) * 8 != math.prod(shape) * _BITS[dtype]:
                raise _damaged()
            end = last
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged() from error
    if end > size:
        raise ModelUnreadable("The model's file is cut off.")
    if end < size:
        raise _damaged()


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged() from error
    if not isinstance(value, dict):
        raise _damaged()
    return value


def _other_kind(file: BinaryIO) -> ModelUnreadable:
    """Says what a file that is no safetensors file is, by its content: an extension proves nothing."""
    file.seek(0)
    start = file.read(4)
    if start == b"GGUF":
        return ModelUnreadable("This is a GGUF file, which Scumble does not read yet.")
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return _pickle()
    if start == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(file) as archive:
                is_pickle = any(name.endswith(".pkl") for name in archive.namelist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            return _damaged()
        return _pickle() if is_pickle else ModelUnreadable("This is an archive, not a model.", "Unpack it first.")
    return ModelUnreadable("This is not a model file that Scumble knows, or it is damaged.")


def _pickle() -> ModelUnreadable:
    return ModelUnreadable(
        "This model is a pickle, which can run code when it is opened, so Scumble does not open it.",
        "Get it as a .safetensors file from where it came from, or have a program that you trust with it convert it.",
    )


def _damaged() -> ModelUnreadable:
    return ModelUnreadable("The model's file is damaged.")
