"""Which files of a repository are pulled from a stand-in for the hub, and what never gets fetched."""

from __future__ import annotations

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
from scumble.protocol.errors import BadRequest, ModelMissing, ModelUnreadable

from .files import write_control, write_lora, write_single_file
from .pulling import TINY, fails, visible
from .stand_in import HubStandIn

DENOISER = "model.diffusion_model."
SDXL = {
    f"{DENOISER}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{DENOISER}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    f"{DENOISER}middle_block.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
}


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
