"""Prompts of their own in parts of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.picture import prompt_masks, texts_of
from scumble.diffusion.prompts import parse
from scumble.editing.plan import Pixels, Plan, Source
from scumble.editing.planner import plan_edit
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest, Region, replace
from torch import Tensor

from tests.editing.pictures import opaque, photo

from .test_engine import Log, count_calls
from .test_two_pass import make

CANVAS = Size(64, 64)
RIGHT = Bounds(32, 0, 32, 64)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    return make(tmp_path_factory.mktemp("model"), inpaint=False)


def full(bounds: Bounds, value: int = 255) -> Pixels:
    return np.full((bounds.height, bounds.width), value, np.uint8)


def planned(
    engine: DiffusionEngine, *regions: tuple[str, Bounds, Pixels], canvas: Size = CANVAS, **settings: Any
) -> Plan:
    settings = {"prompt": "a boat", "steps": 1, "guidance": 3.0, "sampler": "euler", "seed": 1, **settings}
    request = EditRequest(
        settings.pop("mode", "img2img"),
        canvas,
        Bounds.of_size(canvas),
        regions=tuple(Region(prompt, bounds) for prompt, bounds, _ in regions),
        **{"strength": 0.9, **settings},
    )
    source = Source(opaque(photo(*canvas)), regions=tuple(mask for _, _, mask in regions))
    return plan_edit(request, source, engine.traits)


def latents_of(engine: DiffusionEngine, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    decoded = count_calls(engine, "decode_latents", monkeypatch)
    engine.generate(plan, Log())
    monkeypatch.undo()
    return decoded[-1][0]


def test_a_regions_prompt_counts_in_its_mask_and_nowhere_else(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    boat, star, both = (
        latents_of(engine, plan, monkeypatch)
        for plan in (
            planned(engine),
            planned(engine, prompt="a star"),
            planned(engine, ("a star", RIGHT, full(RIGHT))),
        )
    )
    assert not (boat == star).any()
    assert torch.equal(both[..., :4], boat[..., :4])
    assert torch.equal(both[..., 4:], star[..., 4:])


def test_a_mask_in_between_shares_with_the_pictures_prompt(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    half = full(RIGHT, 128)
    boat, star, both = (
        latents_of(engine, plan, monkeypatch)[..., 4:]
        for plan in (planned(engine), planned(engine, prompt="a star"), planned(engine, ("a star", RIGHT, half)))
    )
    torch.testing.assert_close(both, boat + (star - boat) * (128 / 255), rtol=0, atol=1e-4)


def test_regions_that_overlap_share():
    left, middle = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
    left[:, :8] = 255
    middle[:, 4:12] = 255
    rest, one, other = prompt_masks([left, middle], Size(4, 2))
    assert rest[0, 0, 0].tolist() == [0, 0, 0, 1]
    assert one[0, 0, 0].tolist() == [1, 1, 0, 0]
    assert other[0, 0, 0].tolist() == [0, 1, 1, 0]
    assert prompt_masks([], Size(4, 2))[0].min() == 1


def test_what_counts_nowhere_costs_nothing(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    whole = Bounds.of_size(CANVAS)
    calls = count_calls(engine, "predict", monkeypatch)
    engine.generate(planned(engine, ("a star", whole, full(whole)), ("a tree", RIGHT, full(RIGHT, 0))), Log())
    assert len(calls) == 1
    calls.clear()
    log = Log()
    engine.generate(planned(engine, ("a star", RIGHT, full(RIGHT)), steps=3, strength=0.7), log)
    assert len(calls) == 4  # two of three steps
    assert [(step, steps) for stage, step, steps in log.calls if stage == "denoising"][-1] == (4, 4)


def test_a_region_of_a_large_picture_is_where_it_was_drawn(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    canvas, place = Size(192, 64), Bounds(130, 0, 62, 64)
    plan = planned(engine, ("a star", place, full(place)), canvas=canvas, strength=0.35, steps=3)
    assert len(plan.tiles) > 1
    plain = planned(engine, canvas=canvas, strength=0.35, steps=3)
    with_region, without = (latents_of(engine, each, monkeypatch) for each in (plan, plain))
    changed = (with_region != without).any(1)[0].any(0).nonzero().flatten().tolist()
    # One step of three: further ones would carry the change a window further.
    assert min(changed) == 16
    assert max(changed) == 23


def test_a_selection_crops_its_regions(engine: DiffusionEngine):
    canvas = Size(400, 400)
    region = Region("a star", Bounds(100, 90, 60, 40))
    request = EditRequest(
        "fill", canvas, Bounds.of_size(canvas), Bounds(110, 100, 30, 30), prompt="a boat", regions=(region,)
    )
    mask = np.full((30, 30), 255, np.uint8)
    plan = plan_edit(request, Source(opaque(photo(400, 400)), mask, regions=(full(region.mask),)), engine.traits)
    (cropped,) = plan.regions
    assert cropped.shape == (plan.crop.height, plan.crop.width)
    inside = region.mask.intersect(plan.crop).relative_to(plan.crop).slices()
    assert (cropped[inside] == 255).all()
    assert np.count_nonzero(cropped) == cropped[inside].size


@pytest.mark.parametrize("canvas", [Size(61, 53), Size(40, 5)])
def test_regions_go_on_where_the_model_sees_beyond_the_canvas(
    engine: DiffusionEngine, canvas: Size, monkeypatch: pytest.MonkeyPatch
):
    """Else the picture's prompt would count there, at twice the time, with regions all over the canvas."""
    whole = Bounds.of_size(canvas)
    plan = planned(engine, ("a star", whole, full(whole)), canvas=canvas)
    assert not whole.contains(plan.crop)
    star = latents_of(engine, planned(engine, canvas=canvas, prompt="a star"), monkeypatch)
    calls = count_calls(engine, "predict", monkeypatch)
    region = latents_of(engine, plan, monkeypatch)
    assert len(calls) == len(plan.tiles)
    assert torch.equal(region, star)


def test_regions_do_not_go_on_where_the_canvas_grows(engine: DiffusionEngine):
    whole, new = Bounds.of_size(CANVAS), Bounds(64, 0, 32, 64)
    request = EditRequest("outpaint", CANVAS, whole, new, prompt="a boat", regions=(Region("a star", whole),))
    source = Source(opaque(photo(*CANVAS)), full(new), regions=(full(whole),))
    plan = plan_edit(request, source, engine.traits)
    assert not plan.regions[0][new.intersect(plan.crop).relative_to(plan.crop).slices()].any()


def test_regions_that_do_not_fit_are_refused(engine: DiffusionEngine):
    with pytest.raises(BadRequest):
        planned(engine, ("a star", RIGHT, full(Bounds(0, 0, 3, 3))))
    with pytest.raises(BadRequest, match="LoRA"):
        engine.generate(planned(engine, ("<lora:glow:1>", RIGHT, full(RIGHT))), Log())


def test_what_is_to_stand_alone_is_asked_for_on_a_plain_background() -> None:
    """Unless the prompt names one; a comment at its end does not swallow it."""
    for prompt, asked in (
        ("a cat # mine", "a cat on a plain white background"),
        ("a cat on a Green Background", "a cat on a Green Background"),
    ):
        request = EditRequest("txt2img", CANVAS, Bounds(0, 0, 1, 1), prompt=prompt, transparent=True)
        text = parse(texts_of(request, 1)[0][0])
        assert "".join(fragment.text for section in text.sections for fragment in section).split() == asked.split()
    for mode in ("outpaint", "upscale", "remove"):  # these cut nothing out
        whole = EditRequest(mode, CANVAS, RIGHT, RIGHT, prompt="a cat", transparent=True)
        assert texts_of(whole, 1)[0][0] == "a cat"
    plain = EditRequest("txt2img", CANVAS, Bounds(0, 0, 1, 1), prompt="a cat")
    assert texts_of(plain, 1)[0][0] == "a cat"


def test_regions_that_are_to_stand_alone_ask_for_the_plain_background_too() -> None:
    """Where they cover the picture, its own prompt counts nowhere."""
    regions = Region("a star", RIGHT), Region("a star on a blue background", RIGHT)
    request = EditRequest("txt2img", CANVAS, Bounds(0, 0, 1, 1), prompt="two", transparent=True, regions=regions)
    (_, _, star, blue) = [text.replace("\n", " ") for text, _ in texts_of(request, 1)]
    assert (star, blue) == ("a star on a plain white background", "a star on a blue background")
    named = replace(request, prompt="two on a grey background")
    assert texts_of(named, 1)[2][0] == "a star"


def test_each_prompt_has_a_draw_of_its_own() -> None:
    """Else what is drawn for one would follow from what is drawn for another."""
    request = EditRequest("txt2img", CANVAS, Bounds(0, 0, 1, 1), regions=(Region("a", RIGHT), Region("b", RIGHT)))
    draws = [draw for seed in (1, 2) for _, draw in texts_of(request, seed)]
    assert len(set(draws)) == len(draws) == 8
