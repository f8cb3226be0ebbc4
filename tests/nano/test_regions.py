"""Prompts for parts of a picture, and pictures in two passes, proven by what is to be seen in them."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine
from scumble.protocol.geometry import Bounds
from scumble.protocol.messages import Region

from .edits import adds_courses, is_one_composition, painted, planned, tells_halves_apart
from .judge import Eyes
from .painting import PIECE

pytestmark = pytest.mark.slow

SEEDS = range(4)


@pytest.mark.parametrize(("left", "right"), [("red", "blue"), ("green", "black")])
def test_each_half_shows_what_its_region_says(nano: DiffusionEngine, eyes: Eyes, left: str, right: str) -> None:
    assert all(tells_halves_apart(nano, eyes, left, right, seed) for seed in SEEDS)


def test_the_rest_of_the_picture_is_the_prompts(nano: DiffusionEngine, eyes: Eyes) -> None:
    quarter = np.zeros((PIECE.height, PIECE.width), np.uint8)
    quarter[: PIECE.height // 2, : PIECE.width // 2] = 255
    region = Region("a plain blue background", Bounds.of_size(PIECE))
    for seed in SEEDS:
        picture = painted(nano, planned(nano, PIECE, "a meadow", seed, quarter, regions=(region,)))
        inside, below = picture[quarter > 0].mean(0), picture[PIECE.height // 2 :].reshape(-1, 3).mean(0)
        assert inside.argmax() == 2
        assert inside[2] - inside[:2].max() > 20
        assert below.argmax() == 1


def test_twice_the_models_side_is_one_composition_and_not_four(nano: DiffusionEngine, eyes: Eyes) -> None:
    assert all(is_one_composition(nano, eyes, seed) for seed in SEEDS)


def test_the_second_pass_adds_detail(nano: DiffusionEngine) -> None:
    assert all(adds_courses(nano, seed) for seed in SEEDS)
