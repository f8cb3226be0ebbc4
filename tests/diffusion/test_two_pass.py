"""Large crops on a small random model: composed, enlarged, refined in windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import identify
from scumble.diffusion.families.sd1 import SD1
from scumble.editing.compositor import composite
from scumble.editing.passes import enlarged
from scumble.editing.plan import Cancelled, Plan

from tests.editing.pictures import disc, photo, plan_of

from .test_engine import Log, count_calls
from .tiny import make_sd1_folder

CPU = Device("cpu", torch.float32, channels_last=False)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    return make(tmp_path_factory.mktemp("model"), inpaint=False)


def make(folder: Path, inpaint: bool) -> DiffusionEngine:
    path = make_sd1_folder(folder / "tiny", inpaint=inpaint)
    return DiffusionEngine(SD1.load(path, identify(read_contents(path)), CPU, folder / "cache"), SD1)


def large(engine: DiffusionEngine, **settings: Any) -> Plan:
    """A selection of 80 px in a picture of 160: the model is made for 64."""
    settings = {"prompt": "a boat", "steps": 5, "guidance": 3.0, "sampler": "euler_a", "seed": 5, **settings}
    mask, at = settings.pop("mask", disc(80)), settings.pop("at", (40, 30))
    return plan_of(photo(160, 160), mask, at, engine.traits, **settings)


def test_a_large_crop_runs_in_two_passes(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    plan = large(engine)
    second = plan.refinement
    assert second is not None
    assert len(second.tiles) > 1
    calls = count_calls(engine, "predict", monkeypatch)
    log = Log()
    (image,) = engine.generate(plan, log)
    assert image.shape == (second.size.height, second.size.width, 3)
    sizes = [tuple(arguments[0].shape[2:]) for arguments in calls]
    windows = [(tile.height // 8, tile.width // 8) for tile in second.tiles]
    assert sizes == [(plan.size.height // 8, plan.size.width // 8)] * 5 + windows * 2  # 40 % of 5 steps
    total = 5 + 2 * len(windows)
    steps = [(step, steps) for stage, step, steps in log.calls if stage == "denoising"]
    assert steps[0] == (0, total)
    assert steps[-1] == (total, total)
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    assert log.calls[-1][0] == "decoding"
    assert max(log.previews[-1].shape) <= 1.5 * 64
    assert log.times == second.size.area / max(tile.area for tile in second.tiles) > 1


def test_a_narrow_strip_has_a_preview(engine: DiffusionEngine):
    """Scaled down to what a preview may be, nothing would be left of its height: a picture that no client can read."""
    log = Log()
    engine.generate(
        plan_of(photo(600, 4), None, traits=engine.traits, mode="upscale", factor=2, strength=0.5, steps=2, seed=1,
                sampler="euler", guidance=1.0),
        log,
    )  # fmt: skip
    assert min(log.previews[-1].shape) > 0


@pytest.mark.slow
def test_same_plan_same_bytes_and_each_picture_is_that_of_its_seed(engine: DiffusionEngine):
    first, second = engine.generate(large(engine, count=2), Log())
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(engine.generate(large(engine, seed=6), Log())[0], second)


def test_the_second_pass_starts_from_what_the_first_composed(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    composed, encoded = [], []
    decode, encode = engine.decode, engine.encode
    monkeypatch.setattr(engine, "decode", lambda latents: composed.append(decode(latents)) or composed[-1])
    monkeypatch.setattr(engine, "encode", lambda image: encoded.append(image) or encode(image))
    plan = large(engine)
    (image,) = engine.generate(plan, Log())
    assert len(composed) == 2
    np.testing.assert_array_equal(image, composed[1])
    np.testing.assert_array_equal(encoded[-1], enlarged(plan.refinement, composed[0], membrane=True))


def test_c1_holds_through_both_passes(engine: DiffusionEngine):
    plan = large(engine, mask=disc(80, soft=12))
    (layer,) = composite(plan, engine.generate(plan, Log()))
    inside = layer.bounds.relative_to(plan.crop).slices()
    np.testing.assert_array_equal(layer.rgba[..., 3], plan.mask[inside])


@pytest.mark.parametrize("calls", [3, 6, 8])
def test_a_cancel_ends_within_one_window(engine: DiffusionEngine, calls: int, monkeypatch: pytest.MonkeyPatch):
    made = count_calls(engine, "predict", monkeypatch)
    with pytest.raises(Cancelled):
        engine.generate(large(engine), Log(("denoising", calls)))
    assert len(made) == calls


def test_a_large_picture_at_low_strength_runs_in_windows_of_one_pass(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
):
    plan = plan_of(photo(120, 112), None, (0, 0), engine.traits, mode="img2img", strength=0.4, steps=5, seed=1)
    assert plan.refinement is None
    assert plan.size == plan.crop.size == (120, 112)
    calls = count_calls(engine, "predict", monkeypatch)
    (image,) = engine.generate(plan, Log())
    assert image.shape == (112, 120, 3)
    assert len(calls) == 2 * len(plan.tiles) > 2


def test_a_selection_in_a_corner_is_seen_through_one_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where much context is asked for: all of it at once would be more than the model was made for, and is not what its
    inpaint condition and its controls are cut to."""
    engine = make(tmp_path, inpaint=True)
    corner = np.full((20, 20), 255, np.uint8)
    plan = large(engine, mode="refine", mask=corner, at=(0, 0), context=140, strength=0.4)
    ((*_, width, height),) = plan.tiles
    assert (width, height) < plan.size
    calls, log = count_calls(engine, "predict", monkeypatch), Log()
    (image,) = engine.generate(plan, log)
    assert image.shape == (plan.size.height, plan.size.width, 3)
    assert [tuple(arguments[0].shape[2:]) for arguments in calls] == [(height // 8, width // 8)] * 2  # 40 % of 5 steps
    assert ("denoising", 2, 2) in log.calls


def test_a_selection_on_an_empty_canvas_is_painted_as_a_canvas_of_its_own(engine: DiffusionEngine):
    settings: dict[str, Any] = {"prompt": "a boat", "steps": 2, "guidance": 3.0, "sampler": "euler", "seed": 5}
    square = np.full((64, 64), 255, np.uint8)
    alone = plan_of(np.zeros((64, 64, 4), np.uint8), None, (0, 0), engine.traits, mode="txt2img", **settings)
    within = plan_of(np.zeros((160, 160, 4), np.uint8), square, (40, 30), engine.traits, mode="txt2img", **settings)
    pictures = [engine.generate(plan, Log())[0] for plan in (alone, within)]
    np.testing.assert_array_equal(*pictures)


@pytest.mark.parametrize(
    ("strength", "told"),
    [(0.5, False), (0.6, True), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((0.4, False), (1.0, True)))],
)
def test_inpaint_weights_are_told_their_surroundings_above_a_strength_only(
    tmp_path: Path, strength: float, told: bool, monkeypatch: pytest.MonkeyPatch
):
    engine = make(tmp_path, inpaint=True)
    calls = count_calls(engine, "predict", monkeypatch)
    plan = plan_of(photo(64, 64), disc(30), (10, 10), engine.traits, mode="refine", strength=strength, steps=4, seed=1)
    decoded = count_calls(engine, "decode_latents", monkeypatch)
    engine.generate(plan, Log())
    hole = calls[0][0][:, 4]
    assert (hole.min() < 1) is told or hole.min().item() == float(not told)
    outside = torch.nn.functional.max_pool2d(torch.from_numpy(plan.work_mask.copy())[None, None].float(), 8) == 0
    ((latents,),) = decoded
    original = engine.encode(plan.work_image)
    held = bool((latents == original)[outside.expand_as(latents)].all())
    assert held is not told, "a plain denoiser is held outside the mask, an inpaint one keeps it by itself"
