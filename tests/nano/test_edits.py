"""What edits do to a picture, proven by what is to be seen in it afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine

from .edits import (
    SCALES,
    SMALL,
    filled,
    goes_on,
    is_painted,
    keeps_the_composition,
    outpainted,
    shows_the_star,
    shows_the_thing,
    takes_up_the_prompt,
)
from .judge import Eyes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("side", "selected"), SCALES)
def test_a_blue_star_appears_in_the_selection_of_a_photograph_and_only_there(
    nano: DiffusionEngine, eyes: Eyes, side: int, selected: int
) -> None:
    stars = 0
    for seed in range(3):
        photo = filled(nano, side, selected, seed)
        outside = photo.mask == 0
        assert np.array_equal(photo.after.picture[outside], photo.before[outside])
        assert photo.after.alpha[outside].max() == 0
        stars += shows_the_star(eyes, photo)
    assert stars >= 2


def test_a_small_selection_is_enlarged_for_the_model(nano: DiffusionEngine, eyes: Eyes) -> None:
    assert sum(shows_the_star(eyes, filled(nano, *SMALL, seed, context=8)) for seed in range(4)) >= 3


def test_refining_a_little_keeps_the_composition(nano: DiffusionEngine, eyes: Eyes) -> None:
    assert sum(keeps_the_composition(nano, eyes, seed) for seed in range(8)) >= 6


def test_refining_much_takes_up_the_prompt(nano: DiffusionEngine, eyes: Eyes) -> None:
    assert sum(takes_up_the_prompt(nano, eyes, seed) for seed in range(8)) >= 7


@pytest.mark.parametrize("background", ["meadow", "sunset", "night"])
def test_an_outpainted_background_goes_on_across_the_edge(nano: DiffusionEngine, background: str) -> None:
    """In a shade that nothing but the surroundings can say."""
    assert all(goes_on(outpainted(nano, background, seed)) for seed in range(2))


def test_what_is_outpainted_is_painted(nano: DiffusionEngine) -> None:
    """Colours that go on could be the prefill's: bricks, joint by joint, cannot. At next to no strength there are none."""
    for seed in range(3):
        assert is_painted(outpainted(nano, "brick", seed))
        assert not is_painted(outpainted(nano, "brick", seed, strength=0.01))


def test_outpainting_follows_the_prompt(nano: DiffusionEngine) -> None:
    assert sum(shows_the_thing(outpainted(nano, "brick", seed, thing="a blue star")) for seed in range(4)) >= 3
    assert not any(shows_the_thing(outpainted(nano, "brick", seed)) for seed in range(4))
