"""Stable Diffusion 1.x: told apart by content, and loaded so that it computes what diffusers computes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from scumble.diffusion.conditioning import Conditioning, Residuals
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.families import FAMILIES, find_family, identify
from scumble.diffusion.families.base import Contents, Identity, Model, Prediction
from scumble.diffusion.families.sd1 import SD1
from scumble.diffusion.prompts import parse
from scumble.protocol.errors import ModelUnreadable

from .tiny import make_sd1_folder

CPU = Device("cpu", torch.float32, channels_last=False)
PROMPTS = ["", "a red circle on a blue background", "Ein Fluß, 河, \n\t  ÉCLAIR!!", "very " * 15]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sd1_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(folder, tmp_path_factory.mktemp("cache"))


def load(path: Path, cache: Path, identity: Identity | None = None, device: Device = CPU) -> Model:
    identity = identity or identify(read_contents(path))
    assert identity is not None
    return SD1.load(path, identity, device, cache)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# ---- identify --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inpaint", [False, True])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_folder_is_known_by_its_descriptions(copy: Path, inpaint: bool, prediction: Prediction) -> None:
    edit(copy / "unet" / "config.json", in_channels=9 if inpaint else 4)
    edit(copy / "scheduler" / "scheduler_config.json", prediction_type=prediction)
    assert identify(read_contents(copy)) == Identity("sd1", "diffusers", inpaint, prediction, native=64)


def single(**changes: Any) -> Contents:
    tensors: dict[str, Any] = {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    }
    metadata = changes.pop("metadata", {})
    tensors = {name: shape for name, shape in {**tensors, **changes}.items() if shape}
    return Contents("single", tensors, {}, metadata)


FIRST = "model.diffusion_model.input_blocks.0.0.weight"
ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def test_a_single_file_is_known_by_its_shapes() -> None:
    assert identify(single()) == Identity("sd1", "single", False, "epsilon", 512)
    assert identify(single(**{FIRST: (320, 9, 3, 3)})) == Identity("sd1", "single", True, "epsilon", 512)


@pytest.mark.parametrize("changes", [{"metadata": {"modelspec.prediction_type": "v"}}, {"v_pred": (1,)}])
def test_a_single_file_may_say_that_it_predicts_v(changes: Any) -> None:
    assert identify(single(**changes)) == Identity("sd1", "single", False, "v_prediction", 512)


@pytest.mark.parametrize(
    "changes",
    [
        {ATTENTION: (320, 1280)},  # of no text encoder that is known
        {ATTENTION: None},  # SDXL has none there
        {FIRST: (320, 8, 3, 3)},  # InstructPix2Pix
        {FIRST: (320, 5, 3, 3)},  # depth
        {FIRST: None},
    ],
)
def test_other_architectures_are_not_taken(changes: Any) -> None:
    assert identify(single(**changes)) is None


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("first_stage_model.decoder.conv_in.weight", "autoencoder"),
        ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", "text encoder"),
    ],
)
def test_a_single_file_without_all_parts_is_refused_by_name(part: str, name: str) -> None:
    with pytest.raises(ModelUnreadable, match=f"without its {name}"):
        identify(single(**{part: None}))


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("unet/config.json", {"cross_attention_dim": 33}),
        ("unet/config.json", {"use_linear_projection": True, "addition_embed_type": "image"}),
        ("unet/config.json", {"in_channels": 8}),
        ("unet/config.json", {"sample_size": "64"}),
        ("unet/config.json", {"sample_size": -1}),
        ("vae/config.json", {"block_out_channels": [1] * 1000}),
        ("model_index.json", {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}),
        ("model_index.json", {"unet": ["diffusers", "UNet3DConditionModel"]}),
        ("model_index.json", {"vae": ["diffusers", "VQModel"]}),
    ],
)
def test_folders_of_other_architectures_are_not_taken(copy: Path, file: str, changes: Any) -> None:
    edit(copy / file, **changes)
    assert identify(read_contents(copy)) is None


def test_a_prediction_that_we_do_not_know_is_refused(copy: Path) -> None:
    edit(copy / "scheduler" / "scheduler_config.json", prediction_type="sample")
    with pytest.raises(ModelUnreadable, match="predicts"):
        identify(read_contents(copy))


@pytest.mark.parametrize("part", ["vae", "text_encoder", "scheduler"])
def test_a_folder_without_all_parts_is_refused_by_name(copy: Path, part: str) -> None:
    shutil.rmtree(copy / part)
    with pytest.raises(ModelUnreadable, match=part.replace("_", " ")):
        identify(read_contents(copy))


def test_families_are_found_by_name() -> None:
    assert [find_family(family.name) for family in FAMILIES] == list(FAMILIES)
    with pytest.raises(ModelUnreadable):
        find_family("sd9")


# ---- the five calls --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    pipeline = StableDiffusionPipeline.from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_are_encoded_as_by_diffusers(model: Model, pipeline: Any, prompt: str) -> None:
    expected, _ = pipeline.encode_prompt(prompt, "cpu", 1, do_classifier_free_guidance=False)
    assert expected.shape == (1, 77, 32)
    torch.testing.assert_close(model.encode_prompt(parse(prompt)).tokens, expected)


def test_images_are_encoded_and_decoded_as_by_diffusers(model: Model, pipeline: Any) -> None:
    image = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = pipeline.vae.encode(image).latent_dist
        mean, deviation = model.encode_image(image)
        torch.testing.assert_close(mean, expected.mean * 0.18215)
        torch.testing.assert_close(deviation, expected.std * 0.18215)
        torch.testing.assert_close(model.decode_latents(mean), pipeline.vae.decode(expected.mean).sample)
    assert mean.shape == (2, model.latent_channels, 64 // model.scale, 48 // model.scale)


def test_the_denoiser_is_that_of_diffusers(model: Model, pipeline: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    latents, conditioning = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 77, 32, generator=generator)
    with torch.no_grad():
        expected = pipeline.unet(latents, 500, conditioning).sample
    torch.testing.assert_close(model.predict(latents, torch.tensor(500), Conditioning(conditioning)), expected)


def test_the_denoiser_adds_the_residuals_of_control_networks_as_diffusers_does(model: Model, pipeline: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    latents, conditioning = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 77, 32, generator=generator)
    sides = [8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    widths = [32] * 6 + [32] + [64] * 5
    down = tuple(
        torch.randn(2, width, side, side, generator=generator) for width, side in zip(widths, sides, strict=True)
    )
    mid = torch.randn(2, 64, 1, 1, generator=generator)
    with torch.no_grad():
        expected = pipeline.unet(
            latents, 500, conditioning, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample
        plain = pipeline.unet(latents, 500, conditioning).sample
    ours = model.predict(latents, torch.tensor(500), Conditioning(conditioning), Residuals(down, mid))
    torch.testing.assert_close(ours, expected)
    assert (ours - plain).abs().max() > 0.01


def test_an_inpaint_denoiser_takes_nine_channels(tmp_path: Path) -> None:
    model = load(make_sd1_folder(tmp_path / "model", inpaint=True), tmp_path / "cache")
    output = model.predict(torch.zeros(1, 9, 8, 8), torch.tensor(1), model.encode_prompt(parse("")))
    assert output.shape == (1, 4, 8, 8)


def test_the_models_own_schedule_is_kept(copy: Path, tmp_path: Path) -> None:
    edit(copy / "scheduler" / "scheduler_config.json", prediction_type="v_prediction", beta_end=0.0125)
    config = load(copy, tmp_path / "cache").scheduler_config
    assert (config["prediction_type"], config["beta_end"]) == ("v_prediction", 0.0125)


# Latents of plain colours by the tiny autoencoder of Stable Diffusion 1.x (madebyollin/taesd), to one digit.
PLAIN = {
    (1, 1, 1): (2.0, 1.4, 0.2, -0.7),
    (-1, -1, -1): (-0.8, -2.5, 1.1, 1.3),
    (0, 0, 0): (0.7, -0.5, 0.6, 0.2),
    (1, -1, -1): (0.9, -0.6, -1.5, 0.8),
    (-1, 1, -1): (1.0, 0.9, 2.2, 1.9),
    (-1, -1, 1): (-0.7, -2.9, 1.2, -1.5),
}


@pytest.mark.parametrize("colour", PLAIN)
def test_a_linear_preview_is_small_and_has_the_colours(model: Model, colour: tuple[int, ...]) -> None:
    preview = model.preview(torch.tensor(PLAIN[colour]).reshape(1, 4, 1, 1).expand(1, 4, 5, 6))
    assert preview.shape == (1, 3, 5, 6)
    seen = preview[0, :, 0, 0]
    if len(set(colour)) == 1:
        assert (seen - torch.tensor(colour)).abs().max() < 0.25
    else:  # a linear map is pale where a colour is saturated
        assert seen.argmax() == colour.index(1)
        assert seen.max() - seen.sort().values[1] > 0.5


def test_a_tiny_autoencoder_serves_as_autoencoder_and_preview(copy: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tiny = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).eval()
    shutil.rmtree(copy / "vae")
    tiny.save_pretrained(copy / "vae")
    edit(copy / "model_index.json", vae=["diffusers", "AutoencoderTiny"])
    identity = identify(read_contents(copy))
    assert identity is not None
    assert identity.native == 64
    model = load(copy, tmp_path / "cache", identity)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        latents = tiny.encode(image).latents
        picture = tiny.decode(latents).sample
    mean, deviation = model.encode_image(image)
    torch.testing.assert_close(mean, latents)
    assert not deviation.any()
    torch.testing.assert_close(model.decode_latents(latents), picture)
    torch.testing.assert_close(model.preview(latents), picture)


def test_bfloat16_channels_last_stays_near(folder: Path, model: Model, tmp_path: Path) -> None:
    half, quick = (load(folder, tmp_path, device=Device("cpu", torch.bfloat16, last)) for last in (False, True))
    for seed in range(4):
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        outputs = []
        for each in (model, half, quick):
            conditioning = each.encode_prompt(parse("a red circle"))
            assert conditioning.tokens.dtype == each.dtype
            outputs.append(each.predict(latents.to(each.dtype), torch.tensor(500), conditioning).float())
        # Eight bits, over some sixty layers, cost one to three per cent; the order of the channels next to nothing.
        assert (outputs[2] - outputs[0]).norm() < 0.04 * outputs[0].norm()
        assert (outputs[2] - outputs[1]).norm() < 0.01 * outputs[0].norm()
