"""Pulling models from a stand-in for the hub: whole, broken, forged, refused, and what never gets fetched."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from scumble.home import Home
from scumble.models.catalogue import CATALOGUE, find_entry
from scumble.models.hub import Hub
from scumble.models.pull import Offer, _destination, find_offer, pull
from scumble.models.source import Source, write_source
from scumble.models.store import Adapter, ModelFile, ModelStore, OtherFile
from scumble.protocol.errors import BadRequest, DiskFull, ModelMissing, ModelUnreadable, ScumbleError

from tests.diffusion.tiny import make_sd1_folder

from .files import write_control, write_lora, write_single_file
from .stand_in import HubStandIn

TINY = "someone/tiny-sd"
DENOISER = "model.diffusion_model."
SDXL = {
    f"{DENOISER}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{DENOISER}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    f"{DENOISER}middle_block.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
}
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as they are on the hub: pickles, other precisions, a safety checker and pictures beside the model."""
    folder = make_sd1_folder(tmp_path_factory.mktemp("published") / "tiny")
    for weights in folder.rglob("*.safetensors"):
        shutil.copy(weights, weights.with_suffix(".fp16.safetensors"))
        weights.write_bytes(b"in float32: not wanted")
        weights.with_suffix(".bin").write_bytes(b"a pickle")
        weights.with_name("diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"not wanted")
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"not wanted")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "v1-5.ckpt").write_bytes(b"a pickle")
    (folder / "whole.safetensors").write_bytes(b"not wanted")
    return folder


@pytest.fixture
def stand_in(published: Path):
    stand_in = HubStandIn()
    stand_in.add(TINY, published)
    yield stand_in
    stand_in.close()


@pytest.fixture
def hub(stand_in: HubStandIn) -> Hub:
    return Hub(stand_in.address)


def visible(home: Home) -> list[str]:
    """What a list of Scumble's own folder can see."""
    store = ModelStore(home)
    return [model.info.name for model in store.list()] + [str(other) for other in store.others()]


def fails(wanted: str, hub: Hub, home: Home, kind: type[ScumbleError]) -> ScumbleError:
    with pytest.raises(kind) as caught:
        pull(find_offer(wanted, hub), home, hub)
    assert caught.value.hint
    assert visible(home) == []
    return caught.value


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


# ---- what is chosen --------------------------------------------------------------------------------------------------


def test_a_single_file(stand_in: HubStandIn, hub: Hub, home: Home, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_single_file(tmp_path / "sub" / "Dream 8.safetensors")
    write_single_file(tmp_path / "other.safetensors", seed=1)
    stand_in.add("someone/dreams", tmp_path)
    with pytest.raises(BadRequest) as caught:
        find_offer("someone/dreams", hub)
    assert "Dream 8.safetensors" in caught.value.hint
    offer = find_offer("someone/dreams:sub/Dream 8.safetensors", hub)
    model = pull(offer, home, hub)
    assert model.path == home.models / "Dream 8" / "Dream 8.safetensors"
    assert visible(home) == ["Dream 8"]
    assert isinstance(model, ModelFile)
    assert model.info.licence == "openrail"


def test_a_file_with_a_name_of_its_kind_is_called_as_its_repository(
    stand_in: HubStandIn, hub: Hub, home: Home, tmp_path: Path
) -> None:
    stand_in.add("someone/dreams", write_single_file(tmp_path / "model.safetensors").parent)
    assert pull(find_offer("someone/dreams", hub), home, hub).path == home.models / "dreams" / "model.safetensors"
    assert visible(home) == ["dreams"]


def test_weights_in_shards(stand_in: HubStandIn, hub: Hub) -> None:
    stand_in.repositories["someone/shards"] = {
        "model_index.json": b"{}",
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors.index.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json": b"{} ",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors": b"1",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors": b"22",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors": b"333",
        "tokenizer/empty.txt": b"",
    }
    assert [file.name for file in find_offer("someone/shards", hub).files] == [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
    ]


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"sha": "x", "siblings": []}', b'{"sha": 3}', b"<html>"])
def test_answers_that_make_no_sense(answer: bytes, stand_in: HubStandIn, hub: Hub) -> None:
    stand_in.answers = answer
    with pytest.raises(ModelMissing, match="makes no sense"):
        find_offer(TINY, hub)


def test_two_models_of_one_name(stand_in: HubStandIn, hub: Hub, home: Home, published: Path) -> None:
    stand_in.add("other/tiny-sd", published)
    stand_in.repositories["other/tiny-sd"]["scheduler/scheduler_config.json"] += b" "
    assert pull(find_offer(TINY, hub), home, hub).path.name == "tiny-sd"
    assert pull(find_offer("other/tiny-sd", hub), home, hub).path.name == "tiny-sd (other, tiny-sd)"
    assert len(ModelStore(home).list()) == 2


def test_what_cannot_be_used_is_not_fetched(stand_in: HubStandIn, hub: Hub, home: Home, tmp_path: Path) -> None:
    other = "transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight"
    (tmp_path / "style.safetensors").write_bytes(save({other: np.zeros((16, 3072), np.float16)}))
    stand_in.add("someone/lora", tmp_path)
    assert "LoRA for FLUX.1" in fails("someone/lora", hub, home, ModelUnreadable).message
    assert {wanted for _, wanted, _ in stand_in.asked if wanted} >= {"bytes=0-7"}
    assert None not in [wanted for path, wanted, _ in stand_in.asked if path.endswith(".safetensors")]
    index = b'{"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}'
    stand_in.repositories["someone/flux"] = {
        "model_index.json": index,
        "transformer/config.json": b"{}",
        "transformer/diffusion_pytorch_model.safetensors": bytes(1000),
    }
    stand_in.asked.clear()
    assert "FLUX.1" in fails("someone/flux", hub, home, ModelUnreadable).message
    assert not any(name.endswith(".safetensors") for name in stand_in.fetched())
    assert list((home.models / ".pulling").iterdir()) == []


def test_a_lora_and_a_control_network_can_be_fetched(
    stand_in: HubStandIn, hub: Hub, home: Home, tmp_path: Path
) -> None:
    stand_in.add("someone/ink", write_lora(tmp_path / "lora" / "Ink 2.safetensors").parent)
    lora = pull(find_offer("someone/ink", hub), home, hub)
    stand_in.add("someone/edges", write_control(tmp_path / "edges" / "diffusion_pytorch_model.safetensors").parent)
    control = pull(find_offer("someone/edges", hub), home, hub)
    assert isinstance(lora, Adapter)
    assert isinstance(control, Adapter)
    assert (lora.info.kind, lora.info.name, lora.info.family) == ("lora", "Ink 2", "sd1")
    assert (control.info.kind, control.info.name, control.info.family) == ("control", "edges", "sd1")
    assert control.path.with_name("config.json").is_file()
    assert ModelStore(home).adapters() == (control, lora)


def test_a_part_from_the_short_list(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    weights = save({"decoder.layers.0.weight": np.zeros((64, 4, 3, 3), np.float32)})
    stand_in.repositories["madebyollin/taesd"] = {
        "config.json": b'{"_class_name": "AutoencoderTiny"}',
        "diffusion_pytorch_model.safetensors": weights,
        "diffusion_pytorch_model.bin": b"a pickle",
        "taesd_encoder.safetensors": b"not wanted",
    }
    offer = find_offer("taesd", hub)
    assert (offer.licence, len(offer.files)) == ("MIT", 2)
    other = pull(offer, home, hub)
    assert isinstance(other, OtherFile)
    assert (other.name, str(other.kind), other.licence) == ("TAESD", "autoencoder for Stable Diffusion", "MIT")


def test_an_image_encoder_is_one_file_among_many(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    shapes = {"vision_model.embeddings.patch_embedding.weight": (8, 3, 4, 4), "visual_projection.weight": (6, 8)}
    stand_in.repositories["h94/IP-Adapter"] = {
        "models/image_encoder/model.safetensors": save({n: np.zeros(s, np.float16) for n, s in shapes.items()}),
        "models/image_encoder/pytorch_model.bin": b"a pickle",
        "sdxl_models/image_encoder/model.safetensors": b"not wanted",
    }
    encoder = pull(find_offer("image-encoder", hub), home, hub)
    assert isinstance(encoder, Adapter)
    assert (encoder.info.name, encoder.info.kind) == ("CLIP ViT-H image encoder", "vision")
    assert encoder.info.licence == "Apache-2.0"


def test_a_depth_model_comes_with_all_that_describes_it(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    shapes = {"head.conv3.weight": (1, 8, 1, 1), "neck.fusion_stage.layers.0.projection.weight": (8, 8, 1, 1)}
    stand_in.repositories["depth-anything/Depth-Anything-V2-Small-hf"] = {
        "config.json": b'{"model_type": "depth_anything"}',
        "preprocessor_config.json": b"{}",
        "model.safetensors": save({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}),
        "README.md": b"not wanted",
    }
    offer = find_offer("depth-anything", hub)
    assert (offer.licence, len(offer.files)) == ("Apache-2.0", 3)
    depth = pull(offer, home, hub)
    assert isinstance(depth, Adapter)
    assert (depth.info.name, depth.info.kind, depth.info.licence) == ("Depth Anything V2 Small", "depth", "Apache-2.0")
    assert {file.name for file in depth.path.parent.glob("*.json")} >= {"config.json", "preprocessor_config.json"}


def test_one_of_several_files_from_the_short_list(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    named = save({name: np.zeros(shape, np.int8) for name, shape in SDXL.items()})
    stand_in.repositories["ByteDance/SDXL-Lightning"] = {
        "sdxl_lightning_4step.safetensors": named,
        "sdxl_lightning_4step_lora.safetensors": b"not wanted",
        "sdxl_lightning_8step.safetensors": b"not wanted",
    }
    model = pull(find_offer("sdxl-lightning", hub), home, hub)
    assert isinstance(model, ModelFile)
    info = model.info
    assert (info.family, info.native, info.licence) == ("sdxl", 1024, "CreativeML Open RAIL++-M")
    assert (info.steps, info.guidance, info.sampler) == (4, 1.0, "euler")
    assert ModelStore(home).list() == (model,)
    assert ModelStore(home).list() == (model,)  # as it is remembered


def test_pickles_are_never_fetched(stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    files = stand_in.repositories[TINY]
    stand_in.repositories["someone/old"] = {
        name: data for name, data in files.items() if not name.startswith("vae/") or "safetensors" not in name
    }
    assert "pickle" in fails("someone/old", hub, home, ModelUnreadable).message
    stand_in.repositories["someone/older"] = {"model.ckpt": b"a pickle"}
    fails("someone/older", hub, home, ModelUnreadable)
    assert "run code" in fails("someone/older:model.ckpt", hub, home, ModelUnreadable).hint
    assert stand_in.fetched() == []


@pytest.mark.parametrize(
    "name", ["../out.safetensors", "/etc/out.safetensors", "a\\b.safetensors", "c:out.safetensors"]
)
def test_names_that_lead_out_of_the_folder_are_not_there(name: str, stand_in: HubStandIn, hub: Hub, home: Home) -> None:
    stand_in.repositories["someone/evil"] = {name: b"x", "unet/../../x.json": b"x"}
    with pytest.raises((ModelMissing, BadRequest, ModelUnreadable)):
        find_offer("someone/evil", hub)
    fails(f"someone/evil:{name}", hub, home, ModelMissing)


@pytest.mark.parametrize("name", ["a/b/c", "../b", "a/..", "a b/c", "a/b?x=1", "/b", "a/"])
def test_names_that_are_no_repository(name: str, hub: Hub) -> None:
    with pytest.raises(BadRequest):
        find_offer(name, hub)


def test_the_short_list() -> None:
    assert len({entry.id for entry in CATALOGUE}) == len(CATALOGUE)
    assert all(entry.licence and entry.licence_url.startswith("https://") for entry in CATALOGUE)
    assert find_entry("SD15") == find_entry("stable-diffusion-v1-5/stable-diffusion-v1-5")
    assert find_entry("sd9") is None
    controls = [entry for entry in CATALOGUE if entry.name.startswith("ControlNet")]
    assert len({entry.file for entry in controls}) == len(controls) == 4


def test_another_file_of_the_same_repository_is_no_newer_version_of_the_first(home: Home) -> None:
    offers = [
        Offer("Tiny", TINY, "c", file, "", "", (), suggested=False)
        for file in ("model.safetensors", "fp16/model.safetensors")
    ]
    first = _destination(home, offers[0])
    first.mkdir(parents=True)
    write_source(first, Source(TINY, "older", offers[0].file, ""))
    assert _destination(home, offers[0]) == first
    assert _destination(home, offers[1]) != first
