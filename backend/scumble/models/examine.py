"""Says what a file or folder is, by content. Reads headers and samples, never whole weights."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..diffusion.contents import count_numbers, read_contents, read_json, read_raw_header
from ..diffusion.families import find_family, identify
from ..diffusion.families.base import Identity
from ..diffusion.families.variants import hastened
from ..diffusion.glance import glance
from ..diffusion.kinds import FAMILY_OF, Kind, adapter, recognise, recognise_gguf
from ..editing.adapters import WORDS, Adapter
from ..protocol.errors import ModelUnreadable
from ..protocol.messages import AdapterInfo, AdapterKind, ModelInfo
from .download import FILL_MODEL, is_complete
from .folders import files_of, repository_of
from .source import read_source

CAN_READ_AHEAD = sys.platform == "linux"
_HEAD = 1 << 18
"""Holds the header of nearly every LoRA."""
_SAMPLE = 1 << 16
_SMALL_SAMPLE = 1 << 12
"""Enough of a LoRA, of which there may be thousands: its weights are as good as never those of another."""
_LONGEST = 255
"""Characters of a name or licence: as many as that of a file may have, as its end may be all that tells it apart."""
_CARD_HEAD = 1 << 12
ANY_NAME = re.compile(r"(diffusion_pytorch_model|model|pytorch_lora_weights|adapter_model)(\.|$)")
"""Stems that say nothing of the model."""
ALIAS = "ss_output_name"
"""In the metadata of kohya's scripts: what the file was called when they wrote it."""
_ALIAS = re.compile(rf'"{ALIAS}"\s*:\s*("(?:[^"\\]|\\.)*")'.encode())
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FILL_NATIVE = 512
"""Side in px of what MI-GAN looks at (fill.migan.VIEW; not imported, it would bring onnxruntime into the server)."""


_UPSCALER_NATIVE = 256
"""As diffusion.upscaler.NATIVE (not imported, it would bring torch)."""


@dataclass(frozen=True)
class ModelFile:
    """A model and where it is. `identity` is None for fill models and upscalers."""

    info: ModelInfo
    path: Path
    identity: Identity | None


@dataclass(frozen=True)
class OtherFile:
    """A file or folder that Scumble recognises and cannot paint with yet."""

    name: str
    path: Path
    kind: Kind
    bytes: int
    licence: str


def examine(path: Path) -> ModelFile | Adapter | OtherFile:
    """What the file or folder is. Raises ModelUnreadable where it is nothing that painters use, or damaged; OSError."""
    suffix = "" if path.is_dir() else path.suffix.lower()
    if suffix == ".onnx":
        return _examine_fill(path)
    if suffix == ".gguf":
        return _other(path, recognise_gguf(path), {})
    if suffix == ".safetensors":
        header, size = read_raw_header(path)
        if plain := glance(header, size):
            family = FAMILY_OF.get(plain.base)
            return _adapter(path, "lora", family, _alias(header)) if family else _other(path, plain, {})
    contents = replace(read_contents(path), name=_told_name(path))
    identity = identify(contents)
    if identity is not None:
        if path.is_dir():
            count_numbers(path)  # raises where another part than the denoiser is missing or cut off
        return _model(path, identity, contents.metadata)
    if added := adapter(contents):
        return _adapter(path, *added, contents.metadata)
    kind = recognise(contents)
    if kind is None:
        raise ModelUnreadable(
            f"{printable(path.name)} is no model of a kind that Scumble knows.",
            "Scumble runs Stable Diffusion 1, 2 and XL (a diffusers folder, or one .safetensors file with all parts), "
            "FLUX.2 klein and Z-Image (folders).",
        )
    if kind.what == "upscaler":
        return _upscaler(path, kind.base, contents.metadata)
    return _other(path, kind, contents.metadata)


def _model(path: Path, identity: Identity, metadata: Mapping[str, str]) -> ModelFile:
    family = find_family(identity.family)
    defaults = identity.suits or family.defaults
    info = ModelInfo(
        id=content_id(path, beside=_middles(path) if identity.layout == "single" else ()),
        name=readable_name(path, f"{identity.family} model"),
        kind="diffusion",
        family=identity.family,
        inpaint=identity.inpaint,
        native=identity.native,
        bytes=_size(path),
        steps=defaults.steps,
        guidance=defaults.guidance,
        sampler=defaults.sampler,
        licence=_licence(path, metadata),
        samplers=family.samplers,
        capabilities=family.capabilities,
    )
    return ModelFile(info, path, identity)


def _upscaler(path: Path, network: str, metadata: Mapping[str, str]) -> ModelFile:
    info = ModelInfo(
        id=content_id(path),
        name=readable_name(path, f"{network} upscaler"),
        kind="upscaler",
        family=network.lower(),
        inpaint=False,
        native=_UPSCALER_NATIVE,
        bytes=_size(path),
        licence=_licence(path, metadata),
    )
    return ModelFile(info, path, None)


def _adapter(path: Path, kind: AdapterKind, family: str, metadata: Mapping[str, str]) -> Adapter:
    id = content_id(path, _SMALL_SAMPLE)
    name = readable_name(path, f"{WORDS[kind]} {family}".strip())
    suits = hastened(name, 1.0, 0.0, family) if kind == "lora" else None
    brings = (suits.steps, suits.guidance, suits.sampler) if suits else ()
    info = AdapterInfo(id, name, kind, family, _size(path), _licence(path, metadata), *brings)
    return Adapter(info, path, printable(metadata.get(ALIAS, "")) if kind == "lora" else "")


def _alias(header: bytes) -> Mapping[str, str]:
    """What of the metadata counts for a plain LoRA, without reading all of it."""
    said = _ALIAS.search(header, 0, header.find(b'"dtype"'))  # before the tensors: thousands of names take their time
    try:
        return {ALIAS: json.loads(said[1])} if said else {}
    except ValueError:
        return {}


def _other(path: Path, kind: Kind, metadata: Mapping[str, str]) -> OtherFile:
    return OtherFile(readable_name(path, str(kind)), path, kind, _size(path), _licence(path, metadata))


def read_ahead(path: Path) -> None:
    """Has the system fetch what `examine` reads of a file, so that nobody waits for the disk then. Never waits itself."""
    if not CAN_READ_AHEAD:
        return
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its other end
        with os.fdopen(file, "rb", buffering=0):
            size = os.fstat(file).st_size
            for start, length in ((0, _HEAD), (size // 2, _SMALL_SAMPLE), (size - _SMALL_SAMPLE, _SMALL_SAMPLE)):
                os.posix_fadvise(file, max(start, 0), length, os.POSIX_FADV_WILLNEED)


def content_id(path: Path, sample: int = _SAMPLE, beside: Sequence[int] = ()) -> str:
    """16 hexadecimal digits that follow from the content alone: the same for a copy elsewhere or under another name.

    Hashes each file's size, its beginning (the header with all names and shapes), and samples of its data, each of
    `sample` bytes, also from the bytes `beside` on.
    """
    digest = hashlib.sha256()
    for name, file in files_of(path):
        size = file.stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        with file.open("rb") as data:
            for start in (0, size // 2, size - sample, *beside):
                data.seek(max(start, 0))
                digest.update(data.read(sample))
    return digest.hexdigest()[:16]


def _middles(path: Path) -> list[int]:
    """Of a file that holds all parts of a model, the bytes in the middle of each: some differ from others in one part only,
    such as the autoencoder."""
    header, _ = read_raw_header(path)
    places: dict[str, list[int]] = {}
    for name, tensor in json.loads(header).items():
        if name != "__metadata__":
            places.setdefault(name.partition(".")[0], []).extend(tensor["data_offsets"])
    return [8 + len(header) + (min(offsets) + max(offsets)) // 2 for offsets in places.values()]


def readable_name(path: Path, what: str) -> str:
    """The name that its user knows it by; where nothing tells one, `what` it is and the beginning of InvokeAI's number."""
    return _told_name(path) or f"{what} {_folder(path).name[:8]}"


def _told_name(path: Path) -> str:
    """The hub's cache names its folders by commits, InvokeAI by random numbers, and many files are only called what they
    all are. "" where only a number tells them apart."""
    if not path.is_dir() and not ANY_NAME.match(path.stem):
        return printable(path.stem)
    if repository := repository_of(path.parent):
        return printable(repository.name.rpartition("--")[2])
    folder = _folder(path)
    if not _UUID.fullmatch(folder.name):
        return printable(folder.name)
    described = folder / ("model_index.json" if path.is_dir() else "config.json")
    called = str(read_json(described).get("_name_or_path", "")) if described.is_file() else ""
    return printable(re.split(r"[/\\]", called)[-1])


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _size(path: Path) -> int:
    return sum(file.stat().st_size for _, file in files_of(path))


def _licence(path: Path, metadata: Mapping[str, str]) -> str:
    """As far as it is told: by us when we fetched it, by the file itself (ModelSpec), or by the card beside it."""
    folder = _folder(path)
    if source := read_source(folder):
        return source.licence
    if claimed := metadata.get("modelspec.license"):
        return printable(claimed)
    if not path.is_dir() and not repository_of(path):  # a card in a folder of many files is not about this one
        return ""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            head = file.read(_CARD_HEAD)
    except OSError:
        return ""
    told = re.search(r"^license: *['\"]?([^'\"\n]+)", head, re.MULTILINE) if head.startswith("---") else None
    return printable(told[1].strip()) if told else ""


def printable(text: Any) -> str:
    """Names and claims from files, so that none plays with the terminal."""
    return "".join(character for character in str(text) if character.isprintable())[:_LONGEST]


def _examine_fill(path: Path) -> ModelFile:
    if not is_complete(path, FILL_MODEL):
        raise ModelUnreadable(
            f"{printable(path.name)} is not the fill model as published.", "Fetch it with: scumble models pull migan"
        )
    info = ModelInfo(
        id=content_id(path),
        name="MI-GAN",
        kind="fill",
        family="migan",
        inpaint=True,
        native=_FILL_NATIVE,
        bytes=FILL_MODEL.size,
        licence="MIT",
    )
    return ModelFile(info, path, None)
