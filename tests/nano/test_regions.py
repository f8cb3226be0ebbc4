"""Prompts for parts of a picture, and pictures in two passes, proven by what is to be seen in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scumble.diffusion.engine import DiffusionEngine
from scumble.editing.plan import Pixels, Plan, Source
from scumble.editing.planner import plan_edit
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest, Region

from .judge import Eyes, share
from .painting import GUIDANCE, PIECE, STEPS, tensor

pytestmark = pytest.mark.slow

SEEDS = range(4)
LARGE = Size(2 * PIECE.width, 2 * PIECE.height)
MIDDLE = slice(LARGE.width // 4, 3 * LARGE.width // 4)


def planned(engine: DiffusionEngine, canvas: Size, prompt: str, seed: int, *masks: Pixels, **settings: Any) -> Plan:
    request = EditRequest(
        "txt2img", canvas, Bounds(0, 0, 1, 1), prompt=prompt, seed=seed, steps=STEPS, guidance=GUIDANCE,
        sampler="dpmpp_2m_karras", **settings,
    )  # fmt: skip
    return plan_edit(request, Source(np.zeros((1, 1, 4), np.uint8), regions=masks), engine.traits)


def paint(engine: DiffusionEngine, plan: Plan) -> Pixels:
    return engine.generate(plan, lambda *_, **__: None)[0]


@pytest.mark.parametrize(("left", "right"), [("red", "blue"), ("green", "black")])
def test_each_half_shows_what_its_region_says(nano: DiffusionEngine, eyes: Eyes, left: str, right: str) -> None:
    """Each thing is in its half; each colour is four times as much there as in the other."""
    half = np.zeros((PIECE.height, PIECE.width), np.uint8)
    half[:, : PIECE.width // 2] = 255
    whole, ground = Bounds.of_size(PIECE), "on a plain white background"
    regions = (
        Region(f"a {left} square on the left {ground}", whole),
        Region(f"a {right} circle on the right {ground}", whole),
    )
    for seed in SEEDS:
        picture = paint(nano, planned(nano, PIECE, ground, seed, half, 255 - half, regions=regions))
        halves = picture[:, : PIECE.width // 2], picture[:, PIECE.width // 2 :]
        here, there = ([share(part, colour) for part in halves] for colour in (left, right))
        seen = eyes.objects(tensor(picture[None].copy()))[0]
        assert {(one.colour, one.position) for one in seen} == {(left, "left"), (right, "right")}
        assert here[0] > 0.1
        assert here[0] > 4 * here[1]
        assert there[1] > 0.1
        assert there[1] > 4 * there[0]


def test_the_rest_of_the_picture_is_the_prompts(nano: DiffusionEngine, eyes: Eyes) -> None:
    quarter = np.zeros((PIECE.height, PIECE.width), np.uint8)
    quarter[: PIECE.height // 2, : PIECE.width // 2] = 255
    region = Region("a plain blue background", Bounds.of_size(PIECE))
    for seed in SEEDS:
        picture = paint(nano, planned(nano, PIECE, "a meadow", seed, quarter, regions=(region,)))
        inside, below = picture[quarter > 0].mean(0), picture[PIECE.height // 2 :].reshape(-1, 3).mean(0)
        assert inside.argmax() == 2
        assert inside[2] - inside[:2].max() > 20
        assert below.argmax() == 1


def test_twice_the_models_side_is_one_composition_and_not_four(nano: DiffusionEngine, eyes: Eyes) -> None:
    """The second pass alone, which sees the picture window by window, paints the square into each."""
    for seed in SEEDS:
        plan = planned(nano, LARGE, "a blue square in the center on a brick wall", seed)
        second = plan.refinement
        assert second is not None
        assert len(second.tiles) == 4
        picture = paint(nano, plan)
        assert picture.shape == (*LARGE[::-1], 3)
        windows = replace(
            plan, size=second.size, work_image=second.image, work_mask=second.mask, tiles=second.tiles, refinement=None
        )
        found = [things(each, eyes) for each in (picture, paint(nano, windows))]
        assert found[0] == ["blue"]
        assert len(found[1]) > 1
        assert share(picture[MIDDLE, MIDDLE], "blue") > 0.3


def test_the_second_pass_adds_detail(nano: DiffusionEngine) -> None:
    """Lines of the wall are sharper than in the first pass's picture, enlarged."""
    for seed in SEEDS:
        plan = planned(nano, LARGE, "a brick wall", seed)
        fine, coarse = paint(nano, plan), paint(nano, replace(plan, refinement=None))
        enlarged = np.asarray(Image.fromarray(coarse).resize(LARGE, Image.Resampling.LANCZOS))
        steps = [np.abs(np.diff(each.astype(float).mean(2), axis=0)).mean() for each in (fine, enlarged)]
        assert steps[0] > 1.15 * steps[1]


def things(picture: Pixels, eyes: Eyes) -> list[str]:
    """The colours of what is seen."""
    small = np.asarray(Image.fromarray(picture).resize(PIECE, Image.Resampling.LANCZOS))
    return [seen.colour for seen in eyes.objects(tensor(small[None].copy()))[0]]
