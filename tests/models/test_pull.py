"""Pulling models from a stand-in for the hub: whole, broken, forged, refused."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from scumble.home import Home
from scumble.models.hub import Hub
from scumble.models.pull import find_offer, pull
from scumble.models.store import ModelFile, ModelStore
from scumble.protocol.errors import BadRequest, DiskFull, ModelMissing, ModelUnreadable

from .files import write_single_file
from .pulling import TINY, fails, visible
from .stand_in import HubStandIn

UNET = "unet/diffusion_pytorch_model.fp16.safetensors"


def test_a_whole_model_can_be_painted_with(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    offer = find_offer(TINY, hub)
    assert (offer.name, offer.licence) == ("tiny-sd", "openrail")
    seen: list[tuple[int, int]] = []
    model = pull(offer, home, hub, lambda done, total: seen.append((done, total)))
    assert isinstance(model, ModelFile)
    assert model.identity is not None
    assert model.path == home.models / "tiny-sd"
    assert seen == sorted(seen)
    assert seen[-1] == (offer.bytes, offer.bytes)
    assert ModelStore(home).list() == (model,)
    assert model.info.licence == "openrail"
    files = stand_in.repositories[TINY]
    here = {path.relative_to(model.path).as_posix() for path in model.path.rglob("*") if path.is_file()} - {".source"}
    assert {name for name in here if name.endswith(".safetensors")} == {
        UNET,
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16.safetensors",
    }
    assert {name for name in files if name.endswith((".json", ".txt"))} == here - {
        name for name in here if name.endswith(".safetensors")
    }
    assert all((model.path / name).read_bytes() == files[name] for name in here)
    assert_paints(model, home)


def assert_paints(model: ModelFile, home: Home) -> None:
    """Loads it, tokenizer and all, and lets it denoise a step."""
    import torch
    from scumble.diffusion.conditioning import Conditioning
    from scumble.diffusion.device import Device
    from scumble.diffusion.families import find_family

    assert model.identity is not None
    family = find_family(model.identity.family)
    loaded = family.load(model.path, model.identity, Device("cpu", torch.float32, False), home.cache)
    words = Conditioning(torch.randn(1, 77, 32))
    predicted = loaded.predict(torch.randn(1, 4, 8, 8), torch.tensor([500]), words)
    assert predicted.isfinite().all()
    assert loaded.decode_latents(predicted).shape == (1, 3, 64, 64)


def test_pulled_again_nothing_is_fetched(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    first = pull(find_offer(TINY, hub), home, hub)
    stand_in.asked.clear()
    assert pull(find_offer(TINY, hub), home, hub) == first
    assert stand_in.fetched() == []


def test_a_damaged_or_older_model_is_replaced(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    model = pull(find_offer(TINY, hub), home, hub)
    (model.path / UNET).write_bytes(b"damaged")
    assert pull(find_offer(TINY, hub), home, hub) == model
    assert (model.path / UNET).read_bytes() == stand_in.repositories[TINY][UNET]
    stand_in.commit = "f" * 40
    stand_in.repositories[TINY]["tokenizer/more.txt"] = b"new"
    assert pull(find_offer(TINY, hub), home, hub).path == model.path
    assert (model.path / "tokenizer" / "more.txt").read_bytes() == b"new"
    assert len(ModelStore(home).list()) == 1


def test_removing_a_pulled_model_leaves_nothing(stand_in: HubStandIn, hub: Hub, home: Home, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    stand_in.add("someone/single", write_single_file(tmp_path / "repository" / "deep.safetensors").parent)
    for wanted in (TINY, "someone/single"):
        model = pull(find_offer(wanted, hub), home, hub)
        assert isinstance(model, ModelFile)
        ModelStore(home).remove(model.info.id)
        assert visible(home) == []
        assert [path.name for path in home.models.iterdir()] == [".pulling"]


def test_removing_leaves_what_the_user_put_there(stand_in: HubStandIn, hub: Hub, home: Home, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    stand_in.add("someone/single", write_single_file(tmp_path / "repository" / "deep.safetensors").parent)
    model = pull(find_offer("someone/single", hub), home, hub)
    assert isinstance(model, ModelFile)
    (model.path.parent / "notes.txt").write_text("mine")
    ModelStore(home).remove(model.info.id)
    assert [path.name for path in model.path.parent.iterdir()] == ["notes.txt"]


# ---- broken, forged, full --------------------------------------------------------------------------------------------


def test_broken_off_goes_on_by_itself(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    stand_in.breaks_after[UNET] = [1000, 2000]
    pull(find_offer(TINY, hub), home, hub)
    ranges = [wanted for path, wanted, _ in stand_in.asked if path.endswith(UNET)]
    assert ranges == [None, "bytes=1000-", "bytes=3000-"]
    assert visible(home) == ["tiny-sd"]


def test_broken_off_goes_on_in_another_try(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    stand_in.breaks_after[UNET] = [5000, 0]
    error = fails(TINY, hub, home, ModelMissing)
    assert "goes on" in error.hint
    before = len(stand_in.asked)
    pull(find_offer(TINY, hub), home, hub)
    assert stand_in.asked[before + 1][:2] == (f"/{TINY}/resolve/{stand_in.commit}/{UNET}", "bytes=5000-")
    assert visible(home) == ["tiny-sd"]
    assert list((home.models / ".pulling").iterdir()) == []


def test_interrupted_keeps_what_came(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    offer = find_offer(TINY, hub)

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(offer, home, hub, interrupt)
    assert visible(home) == []
    seen: list[int] = []
    pull(offer, home, hub, lambda done, _: seen.append(done))
    assert visible(home) == ["tiny-sd"]
    assert seen == sorted(seen)
    assert seen[0] > offer.bytes // 2
    assert seen[-1] == offer.bytes
    assert len(set(stand_in.fetched()) - {UNET}) == len([n for n in stand_in.fetched() if n != UNET])  # none twice


def test_two_at_once_do_not_spoil_it_for_each_other(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    offer = find_offer(TINY, hub)
    refused: list[BadRequest] = []

    def give_the_same_command_again(done: int, total: int) -> None:
        if done > total // 2 and not refused:
            with pytest.raises(BadRequest, match="fetched already") as caught:
                pull(offer, home, hub)
            refused.append(caught.value)

    model = pull(offer, home, hub, give_the_same_command_again)
    assert len(refused) == 1
    assert (model.path / UNET).read_bytes() == stand_in.repositories[TINY][UNET]
    assert not (model.path / ".lock").exists()


@pytest.mark.parametrize(("changed", "range_"), [("README.md", "bytes=5000-"), (UNET, None)])
def test_a_commit_in_between_costs_only_what_it_changed(
    changed: str, range_: str | None, stand_in: HubStandIn, hub: Hub, home: Home
) -> None:
    stand_in.breaks_after[UNET] = [5000, 0]
    fails(TINY, hub, home, ModelMissing)
    stand_in.commit = "f" * 40
    files = stand_in.repositories[TINY]
    files[changed] = files[changed][:-1] + b" "
    before = len(stand_in.asked)
    stand_in.breaks_after[UNET] = [6000, 0]
    fails(TINY, hub, home, ModelMissing)
    assert len(list((home.models / ".pulling").iterdir())) == 1
    pull(find_offer(TINY, hub), home, hub)
    asked = [(path.partition(f"/{stand_in.commit}/")[2], part) for path, part, _ in stand_in.asked[before:]]
    (names, parts) = zip(*[(name, part) for name, part in asked if name], strict=True)
    assert set(names) == {UNET}  # the descriptions are here
    assert range_ in parts
    assert (home.models / "tiny-sd" / UNET).read_bytes() == files[UNET]
    assert not list((home.models / "tiny-sd").glob(".[dl]*"))


@pytest.mark.parametrize("file", [UNET, "scheduler/scheduler_config.json"])
def test_wrong_bytes_are_refused(file: str, stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    right = stand_in.repositories[TINY][file]
    stand_in.forges[file] = right[:-2] + b"?}"
    error = fails(TINY, hub, home, ModelUnreadable)
    assert "as published" in error.message
    stand_in.forges.clear()
    pull(find_offer(TINY, hub), home, hub)
    assert visible(home) == ["tiny-sd"]


def test_full_disk_is_told_before(stand_in: HubStandIn, hub: Hub, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 65 << 20))  # for the small files
    assert "no room" in fails(TINY, hub, home, DiskFull).message
    assert stand_in.fetched() == []


def test_disk_that_fills_up(hub: Hub, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scumble.models.pull.write_source", full)
    fails(TINY, hub, home, DiskFull)
    monkeypatch.undo()
    pull(find_offer(TINY, hub), home, hub)


# ---- who may have it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "status"), [("api", 401), ("api", 403), (UNET, 401), (UNET, 403)])
def test_gated_is_a_plain_sentence(where: str, status: int, stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    stand_in.refuses[where] = status
    error = fails(TINY, hub, home, ModelMissing)
    assert "only to users who may have it" in error.message
    assert "HF_TOKEN" in error.hint
    assert f"{stand_in.address}/{TINY}" in error.hint


@pytest.mark.parametrize(("status", "words"), [(404, "has no"), (429, "too many"), (503, "answered 503")])
def test_other_refusals(status: int, words: str, stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    stand_in.refuses["api"] = status
    assert words in fails(TINY, hub, home, ModelMissing).message


def test_the_token_goes_to_the_hub_and_nowhere_else(stand_in: HubStandIn, home: Home, published: Path) -> None:
    elsewhere = HubStandIn()
    try:
        elsewhere.add(TINY, published)
        stand_in.moves_to = elsewhere.address
        hub = Hub(stand_in.address, "hf_secret")
        pull(find_offer(TINY, hub), home, hub)
        assert {token for _, _, token in stand_in.asked} == {"Bearer hf_secret"}
        assert elsewhere.asked
        assert {token for _, _, token in elsewhere.asked} == {None}
    finally:
        elsewhere.close()


def test_no_hub_at_all(home: Home) -> None:
    fails(TINY, Hub("http://127.0.0.1:9"), home, ModelMissing)
