"""What edits do to a picture, proven by what is to be seen in it afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scumble.diffusion.engine import DiffusionEngine
from scumble.editing.plan import Pixels
from scumble.protocol.geometry import Size

from . import world
from .judge import Eyes, share
from .painting import edit, tensor

pytestmark = pytest.mark.slow

SCALES = ((128, 64), (160, 64), (256, 128), (512, 160), (900, 520))
"""Sides of the canvas and of the selection in px."""


def square(side: int, selected: int) -> Pixels:
    mask = np.zeros((side, side), np.uint8)
    start = (side - selected) // 2
    mask[start : start + selected, start : start + selected] = 255
    return mask


def drawing(seed: int = 1, background: str = "meadow", *objects: world.Object) -> Pixels:
    return np.asarray(world.render(world.Scene(background, objects, seed)))


@pytest.mark.parametrize(("side", "selected"), SCALES)
def test_a_blue_shape_appears_in_the_selection_of_a_photograph_and_only_there(
    nano: DiffusionEngine, photo: Path, side: int, selected: int
) -> None:
    before = np.asarray(
        Image.open(photo).convert("RGB").crop((75, 0, 375, 300)).resize((side, side), Image.Resampling.LANCZOS)
    )
    mask = square(side, selected)
    after = edit(nano, before, mask, prompt="a blue square in the center", seed=1)
    assert np.array_equal(after.picture[mask == 0], before[mask == 0])
    assert after.alpha[mask == 0].max() == 0
    inside = mask > 0
    shape = (selected, selected, 3)
    assert share(before[inside].reshape(shape), "blue") < 0.01
    assert 0.05 < share(after.picture[inside].reshape(shape), "blue") < 0.9


def test_refining_a_little_keeps_the_composition_and_refining_much_does_not(nano: DiffusionEngine, eyes: Eyes) -> None:
    before = drawing(1, "sky", world.Object("star", "red", "left", 0.27, 0.5, 0.22))
    little = edit(nano, before, prompt="a blue circle on the right on a brick wall", strength=0.3).picture
    much = edit(nano, before, prompt="a blue circle on the right on a brick wall", strength=0.9).picture
    (seen,) = eyes.objects(tensor(little[None]))
    assert [(one.colour, one.shape, one.position) for one in seen] == [("red", "star", "left")]
    assert eyes.background(tensor(np.stack([little, much]))) == ["sky", "brick"]
    assert np.abs(much.astype(int) - before).mean() > 3 * np.abs(little.astype(int) - before).mean()


@pytest.mark.parametrize("background", ["meadow", "sunset", "night"])
def test_an_outpainted_background_goes_on_across_the_edge(nano: DiffusionEngine, background: str) -> None:
    before = drawing(5, background)
    mask = np.zeros((128, 192), np.uint8)
    mask[:, 128:] = 255
    words = {"meadow": "a meadow", "sunset": "a sunset", "night": "a night sky"}[background]
    after = edit(nano, before, mask, mode="outpaint", canvas=Size(192, 128), prompt=words).picture.astype(float)
    step = np.abs(after[:, 128:132].mean(1) - after[:, 124:128].mean(1)).mean()
    further = np.abs(after[:, 170:186].mean(1) - after[:, 104:120].mean(1)).mean()
    assert step < 12
    assert further < 30
