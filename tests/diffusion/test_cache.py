"""Converted copies: the same numbers, sooner; and nothing that happens to a copy is ever worse than not having one."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scumble.diffusion import cache as module
from scumble.diffusion.cache import States, converted
from scumble.diffusion.device import Device

PLAIN = Device("cpu", torch.float32, channels_last=False)
QUICK = Device("cpu", torch.bfloat16, channels_last=True)


class Source:
    """A model whose conversions are counted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "model.safetensors"
        self.path.write_bytes(b"weights")
        self.conversions = 0

    def convert(self) -> States:
        self.conversions += 1
        generator = torch.Generator().manual_seed(0)
        kernel = torch.randn(8, 6, 3, 3, dtype=torch.float64, generator=generator)
        return {
            "unet": {"kernel": kernel, "point": kernel[:, :, :1, :1], "bias": kernel[0, 0, 0]},
            "vae": {"count": torch.arange(5), "matrix": kernel[0, 0].T},
        }


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def assert_equal(one: States, other: States) -> None:
    assert one.keys() == other.keys()
    for component in one:
        assert one[component].keys() == other[component].keys()
        for key, tensor in one[component].items():
            assert torch.equal(tensor, other[component][key])
            assert tensor.stride() == other[component][key].stride() or 1 in tensor.shape
            assert tensor.dtype == other[component][key].dtype


def copies(cache: Path) -> list[Path]:
    return sorted((cache / "models").iterdir())


@pytest.mark.parametrize("device", [PLAIN, QUICK])
def test_a_copy_holds_what_the_conversion_gave(source: Source, tmp_path: Path, device: Device) -> None:
    first = converted(source.path, tmp_path / "cache", device, source.convert)
    second = converted(source.path, tmp_path / "cache", device, source.convert)
    assert source.conversions == 1
    assert_equal(first, second)
    kernel, count = second["unet"]["kernel"], second["vae"]["count"]
    assert torch.equal(kernel, source.convert()["unet"]["kernel"].to(device.dtype))
    assert count.dtype == torch.int64
    layout = torch.channels_last if device.channels_last else torch.contiguous_format
    assert kernel.is_contiguous(memory_format=layout)


def test_each_format_has_its_own_copy(source: Source, tmp_path: Path) -> None:
    for device in (PLAIN, QUICK, PLAIN, QUICK):
        assert converted(source.path, tmp_path, device, source.convert)["unet"]["kernel"].dtype == device.dtype
    assert source.conversions == 2
    assert len(copies(tmp_path)) == 2


def change_content(source: Source, copy: Path) -> None:
    source.path.write_bytes(b"other weights")


def change_time(source: Source, copy: Path) -> None:
    os.utime(source.path, (1, 1))


def replace(file: Path, data: bytes) -> None:
    """As another file of that name: one that is mapped must not be cut."""
    file.unlink()
    file.write_bytes(data)


def cut_weights(source: Source, copy: Path) -> None:
    file = copy / "unet.safetensors"
    replace(file, file.read_bytes()[:-1])


def empty_weights(source: Source, copy: Path) -> None:
    replace(copy / "unet.safetensors", b"")


def remove_weights(source: Source, copy: Path) -> None:
    (copy / "vae.safetensors").unlink()


def spoil_record(source: Source, copy: Path) -> None:
    (copy / "source.json").write_text("[]")


def remove_record(source: Source, copy: Path) -> None:
    (copy / "source.json").unlink()


@pytest.mark.parametrize(
    "harm",
    [
        change_content,
        change_time,
        cut_weights,
        empty_weights,
        remove_weights,
        spoil_record,
        remove_record,
    ],
)
def test_a_copy_that_is_damaged_or_outdated_is_made_anew(
    source: Source, tmp_path: Path, harm: Callable[[Source, Path], None]
) -> None:
    cache = tmp_path / "cache"
    first = converted(source.path, cache, QUICK, source.convert)
    harm(source, copies(cache)[0])
    assert_equal(converted(source.path, cache, QUICK, source.convert), first)
    assert source.conversions == 2
    assert_equal(converted(source.path, cache, QUICK, source.convert), first)
    assert source.conversions == 2
    assert len(copies(cache)) == 1


def test_libraries_that_may_name_weights_otherwise_make_it_anew(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted(source.path, tmp_path, PLAIN, source.convert)
    monkeypatch.setattr(module.diffusers, "__version__", "99.0")
    converted(source.path, tmp_path, PLAIN, source.convert)
    assert source.conversions == 2


def test_any_file_of_a_folder_counts(tmp_path: Path) -> None:
    source = Source(tmp_path)
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text("{}")
    converted(folder, tmp_path / "cache", PLAIN, source.convert)
    (folder / "unet" / "picture.png").write_text("no part of the model")
    converted(folder, tmp_path / "cache", PLAIN, source.convert)
    assert source.conversions == 1
    (folder / "unet" / "config.json").write_text('{"a": 1}')
    converted(folder, tmp_path / "cache", PLAIN, source.convert)
    assert source.conversions == 2


def test_without_room_on_the_disk_it_does_without(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    states = converted(source.path, tmp_path / "cache", QUICK, source.convert)
    assert states["unet"]["kernel"].dtype == torch.bfloat16
    assert copies(tmp_path / "cache") == []


def test_a_write_that_fails_leaves_nothing_and_the_model_works(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_sync", fail)
    assert converted(source.path, tmp_path / "cache", QUICK, source.convert)["unet"].keys() == {
        "kernel",
        "point",
        "bias",
    }
    assert copies(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_made_is_done_without(source: Source, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert converted(source.path, tmp_path / "cache", PLAIN, source.convert)["vae"].keys() == {"count", "matrix"}


def test_the_least_recently_used_copies_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    sources = []
    for name in "abc":
        (tmp_path / name).mkdir()
        sources.append(Source(tmp_path / name))
    a, b, c = sources
    for source, age in ((a, 300), (b, 200)):
        converted(source.path, cache, PLAIN, source.convert)
        newest = max(copies(cache), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (time.time() - age,) * 2)
    one = sum(file.stat().st_size for file in copies(cache)[0].iterdir())
    converted(a.path, cache, PLAIN, a.convert)  # used again: b is the oldest now
    monkeypatch.setattr(module, "LIMIT", int(2.5 * one))
    converted(c.path, cache, PLAIN, c.convert)
    assert len(copies(cache)) == 2
    for source, conversions in ((a, 1), (c, 1), (b, 2)):
        converted(source.path, cache, PLAIN, source.convert)
        assert source.conversions == conversions


def test_a_copy_larger_than_the_limit_is_still_kept(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 1)
    for _ in range(2):
        converted(source.path, tmp_path, PLAIN, source.convert)
    assert source.conversions == 1


def test_what_a_killed_process_left_is_cleared_away(source: Source, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / ".DS_Store").write_bytes(b"not ours")
    left, fresh = tmp_path / "models" / "x.1.partial", tmp_path / "models" / "y.2.partial"
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    os.utime(left, (time.time() - 2 * 86400,) * 2)
    converted(source.path, tmp_path, PLAIN, source.convert)
    assert not left.exists()
    assert fresh.exists()  # another process may be writing it
