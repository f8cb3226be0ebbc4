"""What a reference does, proven by what the prompt does not say and is to be seen all the same."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine
from scumble.editing.plan import Pixels

from . import world
from .judge import Eyes, Seen, share
from .measure_references import drawn, like
from .painting import paint, tensor

pytestmark = pytest.mark.slow

PAIRS = [pair for pair in sorted(world.HELD_OUT) for _ in range(2)]
"""Of colour and shape, none of which the adapter or its image encoder was trained on."""
PROMPT = "a circle in the center on a brick wall"


def picture(colour: str, shape: str = "circle", seed: int = 0) -> Pixels:
    """A reference, of whose background and place nothing is in the prompt."""
    return drawn(world.another(world.Object(shape, colour, "", 0, 0, 0), random.Random(seed)))


def seen(eyes: Eyes, pictures: np.ndarray) -> Seen:
    """What is the likeliest object of a picture."""
    return eyes.objects(tensor(pictures), at_least=0)[0][0]


def test_the_colour_that_the_prompt_does_not_say_is_that_of_the_reference(nano: DiffusionEngine, eyes: Eyes) -> None:
    taken, alone, grounds = 0, 0, 0
    for seed, (colour, shape) in enumerate(PAIRS):
        text = f"a {shape} in the center on a brick wall"
        with_it = like(nano, text, (picture(colour, shape, seed), 1.0), seed=seed)
        taken += seen(eyes, with_it).colour == colour
        grounds += eyes.background(tensor(with_it)) == ["brick"]
        alone += seen(eyes, paint(nano, text, seed)).colour == colour
    assert taken >= 10
    assert grounds >= 11
    assert alone <= 2


def test_the_shape_that_the_prompt_does_not_say_is_that_of_the_reference(nano: DiffusionEngine, eyes: Eyes) -> None:
    taken, alone = 0, 0
    for seed, (colour, shape) in enumerate(PAIRS):
        text = f"a {colour} shape in the sky"
        taken += seen(eyes, like(nano, text, (picture(colour, shape, seed), 1.0), seed=seed)).shape == shape
        alone += seen(eyes, paint(nano, text, seed)).shape == shape
    assert taken >= 7
    assert alone <= 4


def test_it_counts_as_much_as_it_weighs_and_leaves_no_trace(nano: DiffusionEngine) -> None:
    before = [paint(nano, PROMPT, seed) for seed in range(8)]
    none, little, whole = (
        [like(nano, PROMPT, (picture("blue", seed=seed), weight), seed=seed) for seed in range(8)]
        for weight in (0.0, 0.3, 1.0)
    )
    assert np.array_equal(none, before)
    areas = [np.mean([share(each[0], "blue") for each in pictures]) for pictures in (none, little, whole)]
    assert areas[0] < 0.5 * areas[1]
    assert areas[1] < 0.85 * areas[2]
    assert np.array_equal(paint(nano, PROMPT), before[0])


def test_of_two_references_that_counts_more_which_weighs_more(nano: DiffusionEngine, eyes: Eyes) -> None:
    red, blue = picture("red"), picture("blue")
    for heavier, weights in (("red", (1.0, 0.2)), ("blue", (0.2, 1.0))):
        uses = tuple(zip((red, blue), weights, strict=True))
        found = [seen(eyes, like(nano, PROMPT, *uses, seed=seed)).colour for seed in range(8)]
        assert found.count(heavier) >= 7


def test_one_that_comes_late_changes_nothing_that_is_laid_out(nano: DiffusionEngine) -> None:
    """In the last tenth of the steps the colours stand; in the first half they are decided."""
    alone, blue = paint(nano, PROMPT).astype(int), picture("blue")
    late = np.abs(like(nano, PROMPT, (blue, 1.0), start=0.9) - alone).mean()
    early = np.abs(like(nano, PROMPT, (blue, 1.0), end=0.5) - alone).mean()
    assert late < 0.4 * early
