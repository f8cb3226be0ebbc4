"""The families with a UNet paint what the pipelines of diffusers paint: from the words to the pixels, to one level."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    LCMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import find_family, identify
from scumble.diffusion.families.base import Defaults, Identity
from scumble.diffusion.latents import inpaint_condition
from scumble.diffusion.prompts import parse

from .test_engine import CPU, block, picture, run
from .tiny import make_sd1_folder, make_sd2_folder, make_sdxl_folder

MAKE: dict[str, Any] = {"sd1": make_sd1_folder, "sd2": make_sd2_folder, "sdxl": make_sdxl_folder}
PLAIN = {"sd1": StableDiffusionPipeline, "sd2": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
INPAINT = {
    "sd1": StableDiffusionInpaintPipeline,
    "sd2": StableDiffusionInpaintPipeline,
    "sdxl": StableDiffusionXLInpaintPipeline,
}


def load(path: Path, cache: Path, identity: Identity | None = None, device: Device = CPU) -> Any:
    identity = identity or identify(read_contents(path))
    assert identity is not None
    return find_family(identity.family).load(path, identity, device, cache)


def engine_of(folder: Path, family: str) -> DiffusionEngine:
    return DiffusionEngine(load(folder, folder.parent / "cache"), find_family(family))


def pipeline(kind: Any, folder: Path, sampler: Any = EulerAncestralDiscreteScheduler) -> Any:
    pipe = kind.from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = sampler.from_config(pipe.scheduler.config)
    return pipe


def painted(pipe: Any, steps: int = 3, guidance: float = 4.0, **arguments: Any) -> Any:
    """What the pipeline paints of the same boat as `run` does; in 0..1."""
    return pipe(
        "a boat",
        height=64,
        width=64,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
        **arguments,
    ).images[0]


def assert_same_picture(ours: Any, theirs: Any) -> None:
    assert ours.std() > 1
    assert np.abs(ours.astype(int) - (theirs * 255).round().astype(int)).max() <= 1


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(family, inpaint) -> its folder and the engine on it."""

    @cache
    def make(family: str, inpaint: bool) -> tuple[Path, DiffusionEngine]:
        folder = MAKE[family](tmp_path_factory.mktemp("models") / family, inpaint)
        return folder, engine_of(folder, family)

    return make


@pytest.mark.parametrize("family", MAKE)
def test_from_words_alone(models: Any, family: str) -> None:
    folder, engine = models(family, False)
    theirs = painted(pipeline(PLAIN[family], folder), negative_prompt="a red car")
    assert_same_picture(run(engine, negative="a red car")[0], theirs)


@pytest.mark.parametrize(
    ("family", "inpaint", "strength", "steps"),
    [
        ("sd1", False, 0.7, 3),
        ("sd1", True, 0.7, 3),
        pytest.param("sd2", True, 0.7, 3, marks=pytest.mark.slow),
        ("sdxl", True, 0.84, 5),
    ],
)
def test_into_a_selection(models: Any, family: str, inpaint: bool, strength: float, steps: int) -> None:
    folder, engine = models(family, inpaint)
    _, visible = inpaint_condition(picture(), block())
    theirs = painted(
        pipeline(INPAINT[family], folder),
        steps,
        negative_prompt="a red car",
        # The pipeline draws the latents of the picture from around their mean; both are to have the mean.
        image=engine.encode(picture()),
        mask_image=torch.from_numpy(block())[None, None] / 255,
        masked_image_latents=engine.encode(visible),
        strength=strength,
    )
    assert_same_picture(run(engine, mask=block(), strength=strength, steps=steps, negative="a red car")[0], theirs)


@pytest.mark.parametrize(
    ("family", "strength", "holes"),
    [
        ("sd1", 0.5, {1.0}),
        ("sd1", 0.6, {0.0, 1.0}),
        pytest.param("sd2", 0.5, {1.0}, marks=pytest.mark.slow),
        pytest.param("sd2", 0.6, {0.0, 1.0}, marks=pytest.mark.slow),
        ("sdxl", 0.8, {1.0}),
        ("sdxl", 0.9, {0.0, 1.0}),
    ],
)
def test_inpaint_weights_are_told_what_surrounds_a_hole_above_a_strength_of_their_family_only(
    models: Any, family: str, strength: float, holes: set[float]
) -> None:
    """The fifth channel says where the hole is: up to that strength everywhere."""
    _, engine = models(family, True)
    told: set[float] = set()
    layer = engine.model.parts["unet"].conv_in
    hook = layer.register_forward_pre_hook(lambda _, seen: told.update(seen[0][:, 4].unique().tolist()))
    run(engine, mask=block(), strength=strength, steps=5)
    hook.remove()
    assert told == holes


def test_without_a_negative_prompt_sdxl_sees_zeros(models: Any) -> None:
    folder, engine = models("sdxl", False)
    assert_same_picture(run(engine, negative="")[0], painted(pipeline(StableDiffusionXLPipeline, folder)))
    # However long the prompt is, nothing is added to them: attention to zeros gives zeros.
    _, nothing = engine.encode_prompts([parse("abcde " * 40), parse("")])
    assert nothing.tokens.shape[1] == 3 * 77
    assert not nothing.tokens.any()
    assert not nothing.pooled.any()


@pytest.mark.parametrize(
    ("prediction", "scheduler", "steps", "guidance"),
    [
        pytest.param("epsilon", {"timestep_spacing": "trailing"}, 2, 1.0, id="few steps"),
        pytest.param(
            "v_prediction",
            {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
            4,
            5.0,
            id="zero-terminal SNR",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_by_a_variants_own_schedule(
    prediction: str, scheduler: dict[str, Any], steps: int, guidance: float, tmp_path: Path
) -> None:
    folder = make_sdxl_folder(tmp_path / "variant", prediction=prediction, **scheduler)
    pipe = pipeline(StableDiffusionXLPipeline, folder)
    theirs = painted(pipe, steps, guidance, negative_prompt="a red car")
    (ours,) = run(engine_of(folder, "sdxl"), negative="a red car", steps=steps, guidance=guidance)
    assert_same_picture(ours, theirs)


@pytest.mark.slow
def test_a_consistency_model_is_told_its_guidance(tmp_path: Path) -> None:
    folder = make_sd1_folder(tmp_path / "lcm", time_cond_proj_dim=32)
    engine = engine_of(folder, "sd1")
    defaults = engine.model.identity.suits
    assert defaults == Defaults(4, 8.0, "lcm")
    theirs = painted(pipeline(StableDiffusionPipeline, folder, LCMScheduler), defaults.steps, defaults.guidance)
    unset: dict[str, Any] = {"steps": None, "guidance": None, "sampler": None}
    (ours,) = run(engine, **unset)
    assert_same_picture(ours, theirs)
    assert np.array_equal(run(engine, negative="nobody hears this", **unset)[0], ours)
    assert not np.array_equal(run(engine, **{**unset, "guidance": 2.0})[0], ours)
