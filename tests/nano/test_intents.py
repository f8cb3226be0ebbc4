"""What it means for a selection to be filled or added to, proven by what is to be seen in it afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine

from . import world
from .edits import square
from .judge import share
from .measure_edits import drawing
from .painting import edit

pytestmark = pytest.mark.slow
SIDE = 72


def test_what_is_added_wins_against_its_surroundings(nano: DiffusionEngine) -> None:
    """Blurred surroundings hold the new thing back; from grey it gets more of the selection in most pictures."""
    mask, areas = square(128, SIDE), []
    for background, colour in (("plain blue", "yellow"), ("plain orange", "blue"), ("meadow", "red")):
        for seed in range(4):
            before, words = drawing(world.Scene(background, (), seed)), f"a {colour} square"
            pictures = [
                edit(nano, before, mask, prompt=words, seed=seed, prefill=prefill).picture
                for prefill in ("blur", "neutral")
            ]
            areas.append([share(picture[mask > 0].reshape(SIDE, SIDE, 3), colour) for picture in pictures])
    filled, added = np.array(areas).T
    assert added.mean() > 1.2 * filled.mean()
    assert np.sum(added >= filled) >= 9
