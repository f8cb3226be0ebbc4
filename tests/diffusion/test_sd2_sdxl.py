"""Stable Diffusion 2.x and SDXL: loaded from either layout, and what each has of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
)
from scumble.diffusion.conditioning import Conditioning
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import find_family, identify, sd2, sdxl
from scumble.diffusion.families.base import Identity
from scumble.diffusion.families.unet_model import UNetModel, _build, _configs
from scumble.diffusion.prompts import Fragment, parse
from scumble.home import Home
from scumble.protocol.errors import BadRequest, ModelUnreadable

from .test_clip import save
from .test_engine import run
from .test_pictures import PLAIN, load, pipeline
from .tiny import make_sd2_folder, make_sd2_single_file, make_sdxl_folder, make_sdxl_single_file

PROMPTS = ["a red circle on a blue background", "Ein Fluß, 河, \n\t  ÉCLAIR", "very " * 15]
FOLDERS: dict[str, Callable[..., Path]] = {"sd2": make_sd2_folder, "sdxl": make_sdxl_folder}
FILES: dict[str, Callable[..., Path]] = {"sd2": make_sd2_single_file, "sdxl": make_sdxl_single_file}
PARTS = {"sd2": ("unet", "vae", "text_encoder"), "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2")}
every_family = pytest.mark.parametrize("family", FOLDERS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Path]:
    home = tmp_path_factory.mktemp("models")
    return {
        (family, inpaint): make(home / f"{family}-{inpaint}", inpaint)
        for family, make in FOLDERS.items()
        for inpaint in (False, True)
    }


@pytest.fixture(scope="module")
def engines(
    folders: dict[tuple[str, bool], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, bool], DiffusionEngine]:
    cache = tmp_path_factory.mktemp("cache")
    return {key: DiffusionEngine(load(path, cache), find_family(key[0])) for key, path in folders.items()}


def test_guidance_of_1_costs_one_prediction_for_each_step(engines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines["sdxl", False]
    sizes = []
    predict = engine.model.predict

    def counted(latents: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        sizes.append(len(latents))
        return predict(latents, *arguments, **named)

    monkeypatch.setattr(engine.model, "predict", counted)
    for guidance in (1.0, 2.0):
        run(engine, prompt="a boat", guidance=guidance, steps=2, sampler="euler")
    assert sizes == [1, 1, 2, 2]


# ---- prompts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_are_encoded_as_by_diffusers(prompt: str, folders: Any, engines: Any) -> None:
    expected, _ = pipeline(PLAIN["sd2"], folders["sd2", False]).encode_prompt(prompt, "cpu", 1, False)
    torch.testing.assert_close(engines["sd2", False].model.encode_prompt(parse(prompt)).tokens, expected)
    pipe = pipeline(PLAIN["sdxl"], folders["sdxl", False])
    for clip_skip, theirs in ((1, None), (2, None), (3, 1)):  # diffusers counts from the layer that SDXL uses
        tokens, _, pooled, _ = pipe.encode_prompt(prompt, device="cpu", clip_skip=theirs)
        ours = engines["sdxl", False].model.encode_prompt(parse(prompt), clip_skip)
        torch.testing.assert_close(ours.tokens, tokens)
        torch.testing.assert_close(ours.pooled, pooled)


def test_exclamation_marks_are_no_padding(engines: Any) -> None:
    """Unlike with diffusers, whose tokenizer takes them for it; OpenCLIP's own, by which the encoders were trained, does
    not."""
    read = {}
    for family, name in (("sdxl", "_text"), ("sdxl", "_text_2"), ("sd2", "_text")):
        text = getattr(engines[family, False].model, name)
        read[family, name] = [token.id for unit in text._units(Fragment("a boat! <|endoftext|>"), {}) for token in unit]
        assert text._tokenizer.pad_token_id not in read[family, name]
    assert read["sdxl", "_text"] == read["sdxl", "_text_2"] == read["sd2", "_text"]


def test_clip_skip_of_stable_diffusion_2_counts_the_layer_that_is_cut_off(engines: Any) -> None:
    model = engines["sd2", False].model
    (first, second, third) = (model.encode_prompt(parse("a boat"), skip).tokens for skip in (1, 2, 3))
    torch.testing.assert_close(first, second)
    ids = model._tokenizer("a boat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    positions = torch.arange(77)[None]
    before = model._text_encoder(ids, position_ids=positions, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(third, model._text_encoder.final_layer_norm(before))
    assert not torch.allclose(second, third)
    with pytest.raises(BadRequest, match="only 3 layers"):
        model.encode_prompt(parse("a boat"), 4)


def test_both_encoders_of_sdxl_see_weights_chunks_and_breaks(engines: Any) -> None:
    model = engines["sdxl", False].model
    plain, strong = (model.encode_prompt(parse(text)) for text in ("a red boat", "a (red:1.5) boat"))
    widths = (slice(0, 32), slice(32, 96))
    for width in widths:
        assert not torch.allclose(plain.tokens[..., width], strong.tokens[..., width])
    torch.testing.assert_close(plain.pooled, strong.pooled)
    two = model.encode_prompt(parse("a red boat BREAK at sea"))
    torch.testing.assert_close(two.tokens[:, :77], plain.tokens)
    torch.testing.assert_close(two.tokens[:, 77:], model.encode_prompt(parse("at sea")).tokens)
    torch.testing.assert_close(two.pooled, plain.pooled)


def test_a_textual_inversion_of_sdxl_has_vectors_for_both_encoders(engines: Any, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.embeddings.mkdir(parents=True)
    model = engines["sdxl", False].model
    engine = DiffusionEngine(model, find_family("sdxl"), home)
    ids = model._tokenizer("boat", add_special_tokens=False).input_ids
    vectors = {
        "clip_l": model._text_encoder.get_input_embeddings().weight[ids].clone(),
        "clip_g": model._text_encoder_2.get_input_embeddings().weight[ids].clone(),
    }
    save(home.embeddings / "my-style.safetensors", **vectors)
    (ours,) = engine.encode_prompts([parse("a (my-style:1.2) here")])
    expected = model.encode_prompt(parse("a (boat:1.2) here"))
    assert torch.equal(ours.tokens, expected.tokens)
    assert torch.equal(ours.pooled, expected.pooled)  # what stands in for a word is never taken for the prompt's end
    save(home.embeddings / "sd1.safetensors", emb_params=vectors["clip_l"])
    save(home.embeddings / "uneven.safetensors", clip_l=vectors["clip_l"], clip_g=vectors["clip_g"][:1])
    with pytest.raises(ModelUnreadable, match="damaged"):
        engine.encode_prompts([parse("a uneven here")])
    (ours,) = engine.encode_prompts([parse("a sd1 here")])  # made for another kind of model: a word like others
    assert torch.equal(ours.tokens, model.encode_prompt(parse("a sd1 here")).tokens)


def test_sdxl_is_told_the_size_of_the_picture(engines: Any) -> None:
    model, words = engines["sdxl", False].model, Conditioning(torch.randn(2, 77, 96), torch.randn(2, 64))
    told = model.told(torch.zeros(2, 4, 8, 12), words)
    assert told["added_cond_kwargs"]["time_ids"].tolist() == [[64, 96, 0, 0, 64, 96]] * 2
    assert told["added_cond_kwargs"]["text_embeds"] is words.pooled


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configurations of the tiny models in the place of those that we ship for single files."""
    for module, family in ((sd2, "sd2"), (sdxl, "sdxl")):
        files, folder = tmp_path / "files" / family, folders[family, False]
        files.mkdir(parents=True)
        for part in PARTS[family]:
            shutil.copy(folder / part / "config.json", files / f"{part}.json")
        shutil.copy(folder / "scheduler" / "scheduler_config.json", files / "scheduler.json")
        monkeypatch.setattr(module, "FILES", files)
        monkeypatch.setattr(module, "TOKENIZER", folder / "tokenizer")


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("family", "inpaint", "prediction"),
    [
        ("sd2", False, "v_prediction"),
        pytest.param("sd2", True, "epsilon", marks=pytest.mark.slow),
        ("sdxl", False, "epsilon"),
        pytest.param("sdxl", True, "v_prediction", marks=pytest.mark.slow),
    ],
)
def test_a_single_file_holds_the_same_model_as_the_folder(
    family: str, inpaint: bool, prediction: Any, tmp_path: Path
) -> None:
    expected = load(FOLDERS[family](tmp_path / "folder", inpaint, prediction), tmp_path / "cache")
    path = FILES[family](tmp_path / "model.safetensors", inpaint, prediction)
    model = load(path, tmp_path / "cache", Identity(family, "single", inpaint, prediction, 512))
    for name in ("_unet", "_vae", "_text_encoder", "_text_encoder_2")[: len(PARTS[family])]:
        first, second = (getattr(each, name).state_dict() for each in (expected, model))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
    assert model.scheduler_config["prediction_type"] == prediction
    one, other = (each.encode_prompt(parse("a red circle")) for each in (expected, model))
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(one.pooled, other.pooled) if family == "sdxl" else one.pooled is other.pooled is None


def test_a_folder_that_is_fast_by_its_name_begins_at_the_noisiest_timestep(folders: Any, tmp_path: Path) -> None:
    contents = replace(read_contents(folders["sdxl", False]), name="my-lightning")
    model = load(folders["sdxl", False], tmp_path, identify(contents))
    assert model.scheduler_config["timestep_spacing"] == "trailing"


@pytest.mark.usefixtures("shipped")
def test_a_single_file_of_zero_terminal_snr_gets_the_schedule_that_it_was_trained_on(tmp_path: Path) -> None:
    path = make_sdxl_single_file(tmp_path / "model.safetensors", prediction="v_prediction")
    identity = Identity("sdxl", "single", False, "v_prediction", 1024, trailing=True, zero_snr=True)
    model = load(path, tmp_path / "cache", identity)
    euler = EulerAncestralDiscreteScheduler.from_config(model.scheduler_config)
    euler.set_timesteps(4)
    assert euler.timesteps.tolist() == [999, 749, 499, 249]
    assert euler.sigmas[0] > 1000  # next to nothing of the picture is left
    picture = run(DiffusionEngine(model, find_family("sdxl")), prompt="a boat", sampler="euler")[0]
    assert picture.std() > 1


@pytest.mark.usefixtures("shipped")
@every_family
@pytest.mark.parametrize("inpaint", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_a_file_that_does_not_say_what_it_predicts_is_asked(
    family: str, inpaint: bool, predicts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: Any, latents: torch.Tensor, timestep: torch.Tensor, *_: Any) -> torch.Tensor:
        assert (latents.shape[1], int(timestep)) == (9 if inpaint else 4, 999)
        noise, picture = latents[:, :4], torch.randn(latents[:, :4].shape)
        share = 0.068  # of the picture in the input, at that timestep
        return noise - share * picture if predicts == "epsilon" else share * noise - picture

    path = FILES[family](tmp_path / "model.safetensors", inpaint, prediction="")
    guess = "v_prediction" if predicts == "epsilon" else "epsilon"
    monkeypatch.setattr(UNetModel, "predict", answer)
    model = load(path, tmp_path / "cache", Identity(family, "single", inpaint, guess, 512))
    assert model.identity.prediction == model.scheduler_config["prediction_type"] == predicts


def test_the_shipped_descriptions_are_those_of_the_published_models() -> None:
    """In millions: 865.91 and 340.39; 2567.46, 123.06 and 694.66; in as many tensors as the published files have."""
    counts = {}
    for family, module in (("sd2", sd2), ("sdxl", sdxl)):
        identity = Identity(family, "single", False, "epsilon", 512)
        modules = _build(_configs(Path(), identity, PARTS[family], module.FILES), PARTS[family])
        for name, part in modules.items():
            counts[family, name] = (sum(p.numel() for p in part.parameters()), len(part.state_dict()))
    assert counts == {
        ("sd2", "unet"): (865_910_724, 686),
        ("sd2", "vae"): (83_653_863, 248),
        ("sd2", "text_encoder"): (340_387_840, 372),
        ("sdxl", "unet"): (2_567_463_684, 1680),
        ("sdxl", "vae"): (83_653_863, 248),
        ("sdxl", "text_encoder"): (123_060_480, 196),
        ("sdxl", "text_encoder_2"): (694_659_840, 517),
    }


def test_an_autoencoder_that_leaves_the_range_of_float16_goes_on_in_float32(folders: Any, tmp_path: Path) -> None:
    model = load(folders["sdxl", False], tmp_path, device=Device("cpu", torch.float16, channels_last=False))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    within, _ = model.encode_image(image)
    assert model._vae.dtype == torch.float16
    model._vae.encoder.conv_in.weight *= 2e5  # what the normalisations behind it give stays finite
    beyond, _ = model.encode_image(image)
    assert model._vae.dtype == torch.float32
    assert within.isfinite().all()
    assert beyond.isfinite().all()
