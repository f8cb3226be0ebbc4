"""nano-sdxl: two text encoders, the prompt as a whole, the picture's size; proven by what is to be seen."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine

from . import world
from .judge import Eyes, share
from .painting import paint, tensor

pytestmark = pytest.mark.slow
SEEDS = range(8)


@pytest.mark.parametrize("colour", world.COLOURS)
def test_colour_and_background_are_those_of_the_prompt(nano_xl: DiffusionEngine, eyes: Eyes, colour: str) -> None:
    for background, words in (("brick", "on a brick wall"), ("sky", "in the sky")):
        picture = paint(nano_xl, f"a {colour} heart in the center {words}", seed=3)
        assert share(picture[0], colour) > 0.05
        assert eyes.background(tensor(picture)) == [background]


def test_a_weight_gives_a_colour_more_or_less_of_the_picture(nano_xl: DiffusionEngine) -> None:
    areas = {
        weight: [share(paint(nano_xl, f"a ({colour}:{weight}) square in the center on a brick wall", seed)[0], colour)
                 for colour, seed in zip(("blue", "yellow", "white", "green") * 2, SEEDS, strict=True)]
        for weight in (0.5, 1.0, 1.5)
    }  # fmt: skip
    assert np.sum(np.array(areas[1.5]) > 1.05 * np.array(areas[1.0])) >= 7
    assert np.sum(np.array(areas[0.5]) < 0.95 * np.array(areas[1.0])) >= 7


def test_a_negative_prompt_takes_a_colour_away(nano_xl: DiffusionEngine, eyes: Eyes) -> None:
    gone = []
    for seed in SEEDS:
        before = paint(nano_xl, "a circle in the center on a purple background", seed)
        colour = eyes.objects(tensor(before), at_least=0)[0][0].colour
        after = paint(nano_xl, "a circle in the center on a purple background", seed, negative=f"a {colour} circle")
        gone.append(share(after[0], colour) < 0.5 * share(before[0], colour))
    assert sum(gone) >= 7
