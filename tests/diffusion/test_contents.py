"""What files say about themselves, and what is refused before anything reads a weight."""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble.diffusion.contents import MAX_HEADER, read_contents, read_header, weight_files
from scumble.protocol.errors import ModelUnreadable


def write_safetensors(path: Path, header: Any, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(first: int, last: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


GOOD = {
    "__metadata__": {"format": "pt"},
    "b": tensor(0, 24, [2, 3]),
    "a": tensor(24, 28, []),
    "c": tensor(28, 28, [0, 7]),
}


def test_a_single_file_is_read_by_its_header(tmp_path: Path) -> None:
    contents = read_contents(write_safetensors(tmp_path / "model.safetensors", GOOD, bytes(28)))
    assert contents.layout == "single"
    assert contents.tensors == {"a": (), "b": (2, 3), "c": (0, 7)}
    assert contents.metadata == {"format": "pt"}
    assert contents.configs == {}


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16", "F8_E4M3", "BOOL", "F4"])
def test_every_number_format_has_its_size(tmp_path: Path, dtype: str) -> None:
    bits = {"F64": 64, "F32": 32, "BF16": 16, "F8_E4M3": 8, "BOOL": 8, "F4": 4}[dtype]
    header = {"a": tensor(0, bits, [2, 4], dtype)}
    assert read_header(write_safetensors(tmp_path / "m", header, bytes(bits))).tensors == {"a": (2, 4)}


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"a": tensor(0, 28, [7]), "b": tensor(24, 28, [1])}, id="overlap"),
        pytest.param({"a": tensor(0, 4, [1]), "b": tensor(8, 28, [5])}, id="gap"),
        pytest.param({"a": tensor(0, 24, [6])}, id="something left over"),
        pytest.param({"a": tensor(0, 32, [8])}, id="beyond the end"),
        pytest.param({"a": tensor(0, 28, [6])}, id="shape does not need that many bytes"),
        pytest.param({"a": tensor(0, 28, [-7])}, id="negative side"),
        pytest.param({"a": tensor(28, 0, [-7])}, id="negative length"),
        pytest.param({"a": tensor(0, 28, [7.0])}, id="side is no integer"),
        pytest.param({"a": tensor(0, 28, [True])}, id="side is a truth"),
        pytest.param({"a": tensor(0, 28, ["7"])}, id="side is text"),
        pytest.param({"a": tensor(0, 28, [7], "F31")}, id="unknown format"),
        pytest.param({"a": {"dtype": "F32", "shape": [7], "data_offsets": [0, 28, 28]}}, id="three offsets"),
        pytest.param({"a": {"dtype": "F32", "shape": 7, "data_offsets": [0, 28]}}, id="shape is no list"),
        pytest.param({"a": {"dtype": ["F32"], "shape": [7], "data_offsets": [0, 28]}}, id="format is a list"),
        pytest.param({"a": {"dtype": "F32", "shape": [7]}}, id="no offsets"),
        pytest.param({"a": 7}, id="a number for a tensor"),
        pytest.param({"a": None}, id="nothing for a tensor"),
        pytest.param({"__metadata__": {"format": 1}, "a": tensor(0, 28, [7])}, id="metadata is no text"),
        pytest.param({"__metadata__": [], "a": tensor(0, 28, [7])}, id="metadata is no object"),
        pytest.param(b'{"a": ', id="not JSON"),
        pytest.param(b"{\xff\xfe}", id="not UTF-8"),
        pytest.param(b'{"a":' + b"[" * 100_000, id="nested without end"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(ModelUnreadable) as error:
        read_header(write_safetensors(tmp_path / "secret-name.safetensors", header, bytes(28)))
    assert error.value.message in ("The model's file is damaged.", "The model's file is cut off.")
    assert error.value.hint


@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = write_safetensors(tmp_path_factory.mktemp("cut") / "m.safetensors", GOOD, bytes(28))
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    with pytest.raises(ModelUnreadable):
        read_header(path)


@given(place=st.integers(0, 400), value=st.integers(0, 255))
def test_a_changed_byte_never_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    path = write_safetensors(tmp_path_factory.mktemp("bent") / "m.safetensors", GOOD, bytes(28))
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data)
    try:
        read_header(path)
    except ModelUnreadable as error:
        assert error.hint  # noqa: PT017


def test_a_header_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER + 1) + b"{")
        file.truncate(MAX_HEADER + 9)  # sparse: takes no disk
    with pytest.raises(ModelUnreadable):
        read_header(path)


def pickle_of(protocol: int) -> bytes:
    return pickle.dumps({"state_dict": {}}, protocol)


def torch_zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", pickle_of(2))
        archive.writestr("archive/data/0", bytes(64))
    return data.getvalue()


@pytest.mark.parametrize(
    "data", [torch_zip(), *(pickle_of(protocol) for protocol in range(2, 6))], ids=["zip", "2", "3", "4", "5"]
)
@pytest.mark.parametrize("name", ["model.safetensors", "model.ckpt", "model"])
def test_a_pickle_is_named_as_such_whatever_its_extension(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ModelUnreadable, match="pickle, which can run code"):
        read_contents(path)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    header = json.dumps({"a": tensor(0, 28, [7])}).encode().ljust(0x280)  # 80 02: how a pickle begins
    path = write_safetensors(tmp_path / "m.safetensors", header, bytes(28))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert read_header(path).tensors == {"a": (7,)}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
        (b"PK\x05\x06" + bytes(18), "not a model file"),
        (b"PK\x03\x04" + bytes(64), "damaged"),
        (b"", "not a model file"),
        (b"<!doctype html><title>404</title>", "not a model file"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelUnreadable, match=words):
        read_contents(path)


def test_an_archive_without_a_pickle_is_only_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelUnreadable, match="archive"):
        read_contents(tmp_path / "model.zip")


def test_what_is_not_there_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadable) as error:
        read_contents(tmp_path / "secret-name.safetensors")
    assert "secret" not in error.value.message + error.value.hint


# ---- folders ---------------------------------------------------------------------------------------------------------


def write_folder(path: Path, weights: str = "diffusion_pytorch_model.safetensors") -> Path:
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "safety_checker": [None, None],
    }
    (path / "unet").mkdir(parents=True)
    (path / "scheduler").mkdir()
    (path / "model_index.json").write_text(json.dumps(index))
    (path / "unet" / "config.json").write_text('{"in_channels": 4}')
    (path / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "epsilon"}')
    if weights:
        write_safetensors(path / "unet" / weights, GOOD, bytes(28))
    return path


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_a_folder_is_read_by_its_descriptions(tmp_path: Path, variant: str) -> None:
    contents = read_contents(write_folder(tmp_path / "model", f"diffusion_pytorch_model{variant}.safetensors"))
    assert contents.layout == "diffusers"
    assert contents.tensors == {"a": (), "b": (2, 3), "c": (0, 7)}
    assert sorted(contents.configs) == ["model_index", "scheduler", "unet"]
    assert contents.configs["unet"] == {"in_channels": 4}


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_all_shards_are_read(tmp_path: Path, variant: str) -> None:
    folder = write_folder(tmp_path / "model", "one.safetensors")
    write_safetensors(folder / "unet" / "two.safetensors", {"d": tensor(0, 8, [2])}, bytes(8))
    index = {"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "d": "two.safetensors"}}
    (folder / "unet" / f"diffusion_pytorch_model.safetensors.index{variant}.json").write_text(json.dumps(index))
    assert sorted(read_contents(folder).tensors) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "x.bin"])
def test_a_list_of_shards_that_points_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "model", "")
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelUnreadable, match="outside"):
        read_contents(folder)


def test_a_component_named_like_a_path_is_not_followed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "config.json").write_text('{"key": "value"}')
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "../secret": ["diffusers", "X"]}))
    assert sorted(read_contents(folder).configs) == ["model_index", "scheduler", "unet"]


def test_weights_that_are_only_there_as_a_pickle_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(torch_zip())
    with pytest.raises(ModelUnreadable, match="pickle"):
        read_contents(folder)


def test_a_pickle_among_the_weights_that_calls_itself_safetensors_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(torch_zip())
    with pytest.raises(ModelUnreadable, match="pickle"):
        read_contents(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": ' + "[" * 100_000, "x" * 100])
def test_a_damaged_description_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / "unet" / "config.json").write_text(text)
    with pytest.raises(ModelUnreadable):
        read_contents(folder)


def test_missing_weights_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadable, match="missing"):
        weight_files(tmp_path / "not-there")
    with pytest.raises(ModelUnreadable, match="no model"):
        read_contents(tmp_path)


def test_asking_what_a_model_is_imports_no_torch() -> None:
    code = (
        "import sys; import scumble.diffusion.contents, scumble.diffusion.families; "
        "sys.exit(bool({'torch', 'diffusers', 'transformers', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
