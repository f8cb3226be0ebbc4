"""The folders of other programs; changes that show by themselves; thousands of files; what cannot be used yet."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
import time
from pathlib import Path

import pytest
from scumble.diffusion.contents import read_contents
from scumble.diffusion.families.base import Contents
from scumble.home import Home
from scumble.models import examine, folders
from scumble.models import store as store_module
from scumble.models.seen import Outcome
from scumble.models.store import ModelStore
from scumble.protocol.errors import ModelUnreadable

from tests.diffusion.test_kinds import gguf
from tests.diffusion.tiny import make_sd1_folder

from .files import write_control, write_lora, write_single_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
links = pytest.mark.skipif(os.name == "nt", reason="Links need rights that Windows users lack.")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


@pytest.fixture
def store(home: Home) -> ModelStore:
    return ModelStore(home)


def names(store: ModelStore) -> list[str]:
    return [model.info.name for model in store.list()]


def settle(*paths: Path) -> None:
    """As if they had last changed an hour ago."""
    for path in paths:
        os.utime(path, (time.time() - 3600,) * 2)


# ---- of other programs -----------------------------------------------------------------------------------------------


def test_the_folders_of_a1111_and_comfyui(store: ModelStore, mine: Path) -> None:
    places = {
        "a1111/models/Stable-diffusion/one.safetensors": write_single_file,
        "comfy/models/checkpoints/SD/two.safetensors": lambda path: write_single_file(path, seed=2),
        "a1111/models/Lora/ink.safetensors": write_lora,
        "comfy/models/loras/xl.safetensors": lambda path: write_lora(path, 2048),
        "comfy/models/unet/flux.gguf": lambda path: path.write_bytes(gguf(b"flux")),
        "a1111/venv/lib/program.safetensors": lambda path: write_single_file(path, seed=3),
        "a1111/models/Stable-diffusion/old.ckpt": lambda path: path.write_bytes(pickle.dumps({}, 2)),
    }
    for place, write in places.items():
        (mine / place).parent.mkdir(parents=True, exist_ok=True)
        write(mine / place)
    store.add(mine)
    assert names(store) == ["one", "two"]
    assert [(other.name, str(other.kind)) for other in store.others()] == [("flux", "GGUF FLUX.1 model")]
    assert [(adapter.info.name, adapter.info.family) for adapter in store.adapters()] == [
        ("ink", "sd1"),
        ("xl", "sdxl"),
    ]
    ((name, why),) = store.problems()
    assert name == "old.ckpt"
    assert "pickle" in why.message
    assert "convert" in why.hint


def write_diffusers(folder: Path) -> Path:
    """A folder that is known by its descriptions and the headers of its parts."""
    parts = {
        "model_index.json": '{"_name_or_path": "C:\\\\models\\\\dream-8", "unet": ["diffusers", "UNet2DConditionModel"], '
        '"vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"], '
        '"scheduler": ["diffusers", "PNDMScheduler"]}',
        "unet/config.json": '{"cross_attention_dim": 32, "in_channels": 4, "sample_size": 8}',
        "vae/config.json": '{"block_out_channels": [1, 1, 1, 1]}',
        "text_encoder/config.json": '{"hidden_size": 32}',
        "scheduler/scheduler_config.json": "{}",
    }
    for name, text in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        write_lora(folder / f"{part}.safetensors")
    return folder


def test_the_folders_of_invokeai(store: ModelStore, mine: Path) -> None:
    write_diffusers(mine / "models" / "0f7a1e52-0c1d-4a53-9c4f-8d2a6ee54f11")
    (mine / "models" / "1b2c3d4e-0c1d-4a53-9c4f-8d2a6ee54f12").mkdir()
    write_single_file(mine / "models" / "1b2c3d4e-0c1d-4a53-9c4f-8d2a6ee54f12" / "Photo.safetensors")
    for number, width in ((3, 768), (4, 1024), (5, 2048)):
        folder = mine / "models" / f"{number}b2c3d4e-0c1d-4a53-9c4f-8d2a6ee54f12"
        write_control(folder / "diffusion_pytorch_model.safetensors", width)
        if number == 3:
            (folder / "config.json").write_text('{"_name_or_path": "lllyasviel/control_v11p_sd15_canny"}')
        if number == 5:
            (folder / "config.json").unlink()
    store.add(mine)
    assert names(store) == ["dream-8", "Photo"]
    assert [each.info.name for each in store.adapters()] == [
        "control_v11p_sd15_canny", "ControlNet sd2 4b2c3d4e", "ControlNet sdxl 5b2c3d4e"
    ]  # fmt: skip


def as_hub_cache(plain: Path, hub: Path, repository: str) -> Path:
    """The files of `plain` as the hub's own client keeps them; returns the snapshot."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    (folder / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in plain.rglob("*") if path.is_file())):
        blob = folder / "blobs" / f"{number:064x}"
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(plain)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


@links
def test_the_cache_of_the_hub(store: ModelStore, mine: Path, tmp_path: Path) -> None:
    plain = write_diffusers(tmp_path / "plain")
    (plain / "README.md").write_text("---\nlicense: creativeml-openrail-m\ntags:\n- art\n---\n# Dream\n")
    as_hub_cache(plain, mine / "hub", "someone/dream")
    part = tmp_path / "part"
    part.mkdir()
    write_lora(part / "pytorch_lora_weights.safetensors")
    as_hub_cache(part, mine / "hub", "someone/ink-style")
    store.add(mine / "hub")
    (model,) = store.list()
    assert (model.info.name, model.info.licence) == ("dream", "creativeml-openrail-m")
    assert [adapter.info.name for adapter in store.adapters()] == ["ink-style"]


@links
@pytest.mark.parametrize("depth", ["", "..", "../.."])
def test_a_snapshot_may_be_named_itself(depth: str, store: ModelStore, mine: Path, tmp_path: Path) -> None:
    snapshot = as_hub_cache(write_diffusers(tmp_path / "plain"), mine, "someone/dream")
    assert store.add(snapshot / depth).info.name == "dream"
    assert names(store) == ["dream"]


@links
@pytest.mark.parametrize("part", ["unet", "unet/diffusion_pytorch_model.safetensors", "model_index.json"])
def test_a_model_with_parts_elsewhere_is_left_out(part: str, store: ModelStore, home: Home, tmp_path: Path) -> None:
    model = write_diffusers(home.models / "model")
    (model / part).rename(tmp_path / "elsewhere")
    (model / part).symlink_to(tmp_path / "elsewhere")
    assert store.list() == ()
    (model / part).unlink()
    (tmp_path / "elsewhere").rename(model / part)
    assert names(store) == ["model"]


def test_what_systems_leave_on_disks_is_no_model(store: ModelStore, mine: Path) -> None:
    write_single_file(mine / "one.safetensors")
    (mine / "._one.safetensors").write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X")
    for folder, name in (("$RECYCLE.BIN", "$R3F2A1.safetensors"), ("lost+found", "#12.safetensors")):
        (mine / folder).mkdir()
        write_single_file(mine / folder / name, seed=len(name))
    store.add(mine)
    assert names(store) == ["one"]
    assert store.problems() == ()


# ---- by themselves ---------------------------------------------------------------------------------------------------


@links
def test_links_are_not_followed_and_named(store: ModelStore, mine: Path, tmp_path: Path) -> None:
    comfy, disk = mine / "comfy", tmp_path / "disk"
    disk.mkdir()
    comfy.mkdir()
    write_single_file(disk / "one.safetensors")
    (comfy / "checkpoints").symlink_to(disk)
    (comfy / "two.safetensors").symlink_to(disk / "one.safetensors")
    with pytest.raises(ModelUnreadable, match=r"checkpoints, two\.safetensors: links to folders") as told:
        store.add(comfy)
    assert "by its own path" in told.value.hint
    write_single_file(comfy / "three.safetensors", seed=3)
    store.add(comfy)
    assert names(store) == ["three"]
    assert [name for name, _ in store.problems()] == ["checkpoints", "two.safetensors"]
    assert all("not followed" in why.message and "own path" in why.hint for _, why in store.problems())
    store.add(comfy / "checkpoints")  # its own path: what it leads to
    assert names(store) == ["one", "three"]


@links
def test_a_link_that_leads_to_itself_is_left_out(store: ModelStore, mine: Path) -> None:
    (mine / "circle.safetensors").symlink_to(mine / "circle.safetensors")
    write_single_file(mine / "one.safetensors")
    store.add(mine)
    assert names(store) == ["one"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no error of its own for it.")
def test_a_place_that_answers_with_an_error_hides_no_others(store: ModelStore, home: Home, mine: Path) -> None:
    """As a network drive does whose server is away, or what lies in a folder of another user."""
    write_single_file(mine / "one.safetensors")
    store.add(mine)
    record = home.root / "models.json"
    away = f"/{'x' * 300}"  # longer than any name may be: asking for it is an error, and not that it is not there
    record.write_text(json.dumps({"paths": [away, str(mine)], "hidden": []}))
    assert names(store) == ["one"]
    ((name, why),) = store.problems()
    assert name == away[: len(name)]
    assert (why.message, why.hint) == (
        "It cannot be read.",
        "Check that you may read it and that its disk is connected.",
    )


def test_a_folder_that_may_not_be_read_is_named(store: ModelStore, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, scandir = mine / "private", os.scandir
    private.mkdir()

    def forbidding(path: str) -> object:
        if Path(path) == private:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    with pytest.raises(ModelUnreadable, match=r"private cannot be read\."):
        store.add(mine)
    write_single_file(mine / "one.safetensors")
    store.add(mine)
    assert names(store) == ["one"]
    assert [(Path(name), why.message) for name, why in store.problems()] == [(private, "It cannot be read.")]


def test_what_comes_and_goes_shows_without_refresh(store: ModelStore, home: Home, mine: Path) -> None:
    (mine / "deep").mkdir()
    write_single_file(mine / "one.safetensors")
    store.add(mine)
    settle(mine, mine / "deep")
    assert names(store) == ["one"]
    write_single_file(mine / "deep" / "two.safetensors", seed=2)
    assert names(store) == ["one", "two"]
    (mine / "one.safetensors").rename(mine / "three.safetensors")
    assert names(store) == ["three", "two"]
    home.models.mkdir()
    write_single_file(home.models / "four.safetensors", seed=4)
    assert names(store) == ["four", "three", "two"]
    shutil.rmtree(mine / "deep")
    assert names(store) == ["four", "three"]


def test_a_copy_shows_once_it_is_whole(store: ModelStore, mine: Path, tmp_path: Path) -> None:
    whole = write_single_file(tmp_path / "whole.safetensors", seed=2).read_bytes()
    write_single_file(mine / "one.safetensors")
    store.add(mine)
    (mine / "two.safetensors").write_bytes(whole[: len(whole) // 2])
    settle(mine)
    assert names(store) == ["one"]
    with (mine / "two.safetensors").open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    assert names(store) == ["one", "two"]


@pytest.mark.parametrize("part", ["vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
def test_a_copy_of_a_folder_shows_once_all_its_parts_are_whole(
    part: str, store: ModelStore, mine: Path, tmp_path: Path
) -> None:
    copy = mine / "copy"
    make_sd1_folder(tmp_path / "whole")
    write_single_file(mine / "one.safetensors")
    shutil.copytree(tmp_path / "whole", copy)
    whole = (copy / part).read_bytes()
    (copy / part).unlink()
    store.add(mine)
    assert names(store) == ["one"]
    assert [name for name, _ in store.problems()] == ["copy"]
    (copy / part).write_bytes(whole[:-1000])
    assert names(store) == ["one"]
    (copy / part).write_bytes(whole)
    assert names(store) == ["copy", "one"]
    assert store.problems() == ()


def test_nothing_new_costs_one_look_at_each_folder(
    store: ModelStore, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_single_file(mine / "one.safetensors")
    store.add(mine)
    settle(mine)
    store.list()
    listed = store.list()

    def look(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(folders.os, "walk", look)
    monkeypatch.setattr("scumble.models.store.fingerprint", look)
    assert store.list() is listed


def test_the_next_start_reads_nothing_again(home: Home, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_single_file(mine / "one.safetensors")
    write_lora(mine / "ink.safetensors")
    (mine / "flux.gguf").write_bytes(gguf(b"flux"))
    (mine / "old.ckpt").write_bytes(pickle.dumps({}, 2))
    first = ModelStore(home)
    first.add(mine)
    told = (first.list(), first.adapters(), first.others(), [str(why) for _, why in first.problems()])

    def read(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(examine, "read_contents", read)
    second = ModelStore(home)
    assert (second.list(), second.adapters(), second.others(), [str(why) for _, why in second.problems()]) == told
    assert all(told)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"knowledge": []}', "null"])
def test_a_damaged_memory_is_no_trouble(damage: str, home: Home, mine: Path) -> None:
    write_single_file(mine / "one.safetensors")
    ModelStore(home).add(mine)
    (home.cache / "models.json").write_text(damage)
    assert names(ModelStore(home)) == ["one"]


def test_without_a_place_to_remember_it_does_without(store: ModelStore, home: Home, mine: Path) -> None:
    home.cache.touch()  # a file: nothing can be made in it, or taken out of it
    write_single_file(mine / "one.safetensors")
    store.add(mine)
    assert names(store) == ["one"]


@pytest.mark.slow
def test_of_thousands_of_loras_none_is_read_in_full(
    store: ModelStore, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long it takes says `scumble bench models`."""
    tags = {"ss_tag_frequency": "a tag, " * 7000}
    lora = write_lora(tmp_path / "lora.safetensors", metadata=tags, layers=336)
    for number in range(3000):
        file = home.models / f"{number % 30}" / f"{number}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(lora, file)
    write_single_file(home.models / "one.safetensors")
    in_full = []

    def read(path: Path) -> Contents:
        in_full.append(path.name)
        return read_contents(path)

    monkeypatch.setattr(examine, "read_contents", read)
    assert names(store) == ["one"]
    assert in_full == ["one.safetensors"]
    assert store.looked == (3001, 3001)
    assert len(store.adapters()) == 1  # copies of one and the same


def test_a_look_ends_when_the_store_is_closed_and_goes_on_after_the_next_start(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ModelStore(home), ModelStore(home)
    for number in range(200):
        write_lora(home.models / f"{number}.safetensors", metadata={"number": str(number)})

    examined, begun = store_module._examined, itertools.count(1)

    def closing(path: Path) -> Outcome | None:
        if next(begun) == 50:
            first.close()
        return examined(path)

    monkeypatch.setattr(store_module, "_examined", closing)
    part = len(first.adapters())
    assert part <= 50
    looked_at = []
    monkeypatch.setattr(store_module, "_examined", lambda path: looked_at.append(path) or examined(path))
    assert len(second.adapters()) == 200
    assert len(looked_at) == 200 - part


# ---- what cannot be used yet -----------------------------------------------------------------------------------------


def test_adding_what_cannot_be_used_yet_says_what_it_is(store: ModelStore, mine: Path) -> None:
    for name in ("flux", "sd3"):
        (mine / f"{name}.gguf").write_bytes(gguf(name.encode()))
    with pytest.raises(ModelUnreadable, match=r"flux\.gguf is of the kind GGUF FLUX\.1 model, which"):
        store.add(mine / "flux.gguf")
    (mine / "turbo.gguf").write_bytes(gguf(b"lumina2"))
    with pytest.raises(ModelUnreadable, match="Z-Image") as told:
        store.add(mine / "turbo.gguf")
    assert "folder" in told.value.hint
    (mine / "turbo.gguf").unlink()
    with pytest.raises(ModelUnreadable, match=r"nothing that Scumble can use yet: 1 GGUF .*, 1 GGUF "):
        store.add(mine)
    assert store.list() == ()


def test_licence_where_the_file_tells_it(store: ModelStore, mine: Path) -> None:
    write_lora(mine / "ink.safetensors", metadata={"modelspec.license": "CC-BY-4.0\x1b[2J"})
    (mine / "README.md").write_text("---\nlicense: other\n---\n")
    write_single_file(mine / "one.safetensors")
    assert store.add(mine).info.licence == ""
    (lora,) = store.adapters()
    assert lora.info.licence == "CC-BY-4.0[2J"
