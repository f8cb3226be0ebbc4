"""FLUX.2 klein and Z-Image Turbo over our denoising loop, against their pipelines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline, ZImageImg2ImgPipeline, ZImagePipeline
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import find_family, identify
from scumble.diffusion.families.base import Defaults, Identity
from scumble.diffusion.prompts import parse
from scumble.diffusion.samplers import make_schedule
from scumble.home import Home
from scumble.protocol.errors import BadRequest, ModelUnreadable
from scumble.protocol.geometry import Bounds
from scumble.protocol.messages import Region

from .test_clip import save
from .test_engine import CPU, SIZE, Log, picture, plan, run
from .tiny_flow import make_flux2_folder, make_z_image_folder

MAKE: dict[str, Callable[[Path], Path]] = {"flux2": make_flux2_folder, "z_image": make_z_image_folder}
PIPELINES: dict[str, Any] = {"flux2": Flux2KleinPipeline, "z_image": ZImagePipeline}
every_family = pytest.mark.parametrize("family", MAKE)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: make(tmp_path_factory.mktemp("models") / family) for family, make in MAKE.items()}


@pytest.fixture(scope="module")
def engines(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, DiffusionEngine]:
    return {family: load(folder, tmp_path_factory.mktemp("cache")) for family, folder in folders.items()}


def load(folder: Path, cache: Path) -> DiffusionEngine:
    identity = identify(read_contents(folder))
    assert identity is not None
    family = find_family(identity.family)
    return DiffusionEngine(family.load(folder, identity, CPU, cache), family)


def pipeline(kind: Any, folder: Path) -> Any:
    pipe = kind.from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def painted_by(pipe: Any) -> Any:
    """What a pipeline of diffusers makes of the settings of `plan`, without guidance."""
    return pipe(
        prompt="a boat",
        height=64,
        width=64,
        num_inference_steps=3,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images[0]


def assert_same_picture(ours: Any, theirs: Any) -> None:
    assert ours.std() > 1
    assert np.abs(ours.astype(int) - (theirs * 255).round().astype(int)).max() <= 1


@every_family
def test_identified_with_the_settings_that_suit_it(family: str, folders: Any, tmp_path: Path) -> None:
    identity = identify(read_contents(folders[family]))
    assert identity == Identity(family, "diffusers", False, "flow", 1024)
    defaults = {"flux2": Defaults(4, 1.0, "euler"), "z_image": Defaults(9, 1.0, "euler")}
    assert find_family(family).defaults == defaults[family]


def test_a_klein_that_is_not_distilled_asks_for_more(tmp_path: Path) -> None:
    identity = identify(read_contents(make_flux2_folder(tmp_path / "base", distilled=False)))
    assert identity is not None
    assert identity.suits == Defaults(50, 4.0, "euler")


def test_a_z_image_that_is_not_distilled_asks_for_more(tmp_path: Path) -> None:
    path = make_z_image_folder(tmp_path / "base")
    told = path / "scheduler" / "scheduler_config.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "shift": 6.0}))  # as published
    identity = identify(read_contents(path))
    assert identity is not None
    assert identity.suits == Defaults(28, 5.0, "euler")


@every_family
@pytest.mark.parametrize("prompt", ["a boat", "Ein Fluß, 河 \n (x)", "very " * 300])
def test_prompts_are_read_as_by_diffusers(family: str, prompt: str, folders: Any, engines: Any) -> None:
    theirs = pipeline(PIPELINES[family], folders[family]).encode_prompt(prompt.strip(), device="cpu")[0][0]
    ours = engines[family].model.encode_prompt(parse(prompt.replace("(", "\\(")))
    tokens = ours.tokens[0] if ours.said is None else ours.tokens[0][ours.said[0]]
    torch.testing.assert_close(tokens, theirs)


@every_family
def test_the_same_picture_as_the_pipeline_of_diffusers(family: str, folders: Any, engines: Any) -> None:
    theirs = painted_by(pipeline(PIPELINES[family], folders[family]))
    (ours,) = run(engines[family], prompt="a boat", sampler="euler", guidance=1.0)
    assert_same_picture(ours, theirs)


@every_family
def test_half_precision_stays_near(family: str, folders: Any, engines: Any, tmp_path: Path) -> None:
    path, identity = folders[family], engines[family].model.identity
    quick = find_family(family).load(path, identity, Device("cpu", torch.bfloat16, channels_last=True), tmp_path)
    settings: dict[str, Any] = {"prompt": "a boat", "sampler": "euler", "guidance": 1.0}
    (rough,), (exact,) = run(DiffusionEngine(quick, find_family(family)), **settings), run(engines[family], **settings)
    assert np.abs(rough.astype(int) - exact.astype(int)).mean() < 3


def test_guidance_is_that_of_diffusers(folders: Any, engines: Any, tmp_path: Path) -> None:
    base = make_flux2_folder(tmp_path / "base", distilled=False)
    settings: dict[str, Any] = {"prompt": "a boat", "height": 64, "width": 64, "num_inference_steps": 3}
    generator = torch.Generator().manual_seed(5)
    theirs = pipeline(Flux2KleinPipeline, base)(
        **settings, guidance_scale=4.0, generator=generator, output_type="np"
    ).images[0]
    assert_same_picture(run(load(base, tmp_path), prompt="a boat", sampler="euler", guidance=4.0)[0], theirs)
    generator = torch.Generator().manual_seed(5)
    # There a scale of 0 is none.
    theirs = pipeline(ZImagePipeline, folders["z_image"])(
        **settings, negative_prompt="a red car", guidance_scale=3.0, generator=generator, output_type="np"
    ).images[0]
    (ours,) = run(engines["z_image"], prompt="a boat", negative="a red car", sampler="euler", guidance=4.0)
    assert_same_picture(ours, theirs)


def test_half_the_strength_is_that_of_diffusers(folders: Any, engines: Any) -> None:
    engine = engines["z_image"]
    pipe = pipeline(ZImageImg2ImgPipeline, folders["z_image"])
    theirs = pipe(
        prompt="a boat",
        image=engine.encode(picture()),
        strength=0.5,
        height=64,
        width=64,
        num_inference_steps=4,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images[0]
    settings: dict[str, Any] = {"mode": "img2img", "strength": 0.5, "steps": 4, "sampler": "euler", "guidance": 1.0}
    (ours,) = run(engine, prompt="a boat", **settings)
    assert_same_picture(ours, theirs)


@every_family
def test_pictures_are_encoded_and_decoded_as_by_diffusers(family: str, folders: Any, engines: Any) -> None:
    model, pipe = engines[family].model, pipeline(PIPELINES[family], folders[family])
    image = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, deviation = model.encode_image(image)
    assert mean.shape == deviation.shape == (1, model.latent_channels, 64 // model.scale, 32 // model.scale)
    with torch.no_grad():
        if family == "flux2":
            torch.testing.assert_close(mean, pipe._encode_vae_image(image, None))
        else:
            config = pipe.vae.config
            own = pipe.vae.encode(image).latent_dist.mean
            torch.testing.assert_close(mean, (own - config.shift_factor) * config.scaling_factor)
        expected = pipe.vae.decode(pipe.vae.encode(image).latent_dist.mean).sample
    torch.testing.assert_close(model.decode_latents(mean), expected)


@every_family
def test_what_is_not_selected_is_held(family: str, engines: Any) -> None:
    engine = engines[family]
    mask = np.zeros((64, 64), np.uint8)
    mask[32:, :] = 255  # on the grid of the coarser latents
    latents: list[torch.Tensor] = []
    decode = engine.model.decode_latents
    engine.model.decode_latents = lambda tensor: (latents.append(tensor), decode(tensor))[1]
    try:
        for strength in (1.0, 0.5):
            run(engine, mask=mask, prompt="a boat", sampler="euler", guidance=1.0, steps=4, strength=strength)
    finally:
        del engine.model.decode_latents
    original = engine.encode(picture())
    half = original.shape[2] // 2
    for tensor in latents:
        assert torch.equal(tensor[:, :, :half], original[:, :, :half])
        assert not torch.allclose(tensor[:, :, half:], original[:, :, half:])


@every_family
def test_previews_are_small_pictures(family: str, engines: Any) -> None:
    model = engines[family].model
    latents = torch.randn(1, model.latent_channels, 1024 // model.scale, 512 // model.scale)
    assert model.preview(latents).shape == (1, 3, 256, 128)


@every_family
def test_it_is_capable_of_what_it_says_and_no_more(family: str, engines: Any) -> None:
    told = find_family(family)
    assert (told.samplers, set(told.capabilities)) == (("euler",), {"negative", "loras", "regions"})
    settings: dict[str, Any] = {"prompt": "a boat", "sampler": "euler", "guidance": 3.0, "steps": 2}
    (plain,) = run(engines[family], **settings)
    assert (run(engines[family], **settings, negative="a red car")[0] != plain).any()
    left = plan(**settings, regions=(Region("a red car", Bounds.of_size(SIZE)),))
    left = replace(left, regions=(np.where(np.arange(SIZE.width) < 32, 255, 0)[None].repeat(SIZE.height, 0),))
    assert (engines[family].generate(left, Log())[0] != plain).any()
    for change in ({"clip_skip": 2}, {"prompt": "(a boat:1.5)"}):
        np.testing.assert_array_equal(run(engines[family], **settings | change)[0], plain)


def test_other_samplers_are_refused_in_plain_words(engines: Any) -> None:
    with pytest.raises(BadRequest, match="only one sampler"):
        run(engines["flux2"], sampler="dpmpp_2m_karras")


@every_family
def test_the_names_of_textual_inversions_are_words_like_others(family: str, engines: Any, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.embeddings.mkdir(parents=True)
    save(home.embeddings / "style.safetensors", emb_params=torch.ones(1, 16))
    (home.embeddings / "old.pt").write_bytes(b"PK\x03\x04")
    engine = DiffusionEngine(engines[family].model, find_family(family), home)
    (ours,) = engine.encode_prompts([parse("an old style")])
    assert torch.equal(ours.tokens, engines[family].model.encode_prompt(parse("an old style")).tokens)


def test_the_schedule_leans_towards_noise_for_larger_pictures(engines: Any) -> None:
    model = engines["flux2"].model
    middles = []
    for side in (16, 64):
        schedule = make_schedule("euler", model.scheduler_config, 4, 1.0, model.time_shift(side, side, 4))
        assert schedule.timesteps[0] == 1000
        middles.append(float(schedule.timesteps[2]))
    assert middles[0] < middles[1]


@every_family
@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "scheduler", "tokenizer"])
def test_a_part_that_is_missing_is_told(family: str, part: str, folders: Any, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folders[family], tmp_path / "copy"))
    shutil.rmtree(copy / part)
    with pytest.raises(ModelUnreadable) as error:
        load(copy, tmp_path)
    assert str(tmp_path) not in error.value.message + error.value.hint
