"""What it means for a selection to be filled or added to, proven by what is to be seen in it afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine

from .judge import share
from .painting import edit
from .test_edits import drawing, square

pytestmark = pytest.mark.slow
SIDE = 72


@pytest.mark.parametrize(
    ("background", "colour"), [("plain blue", "yellow"), ("plain orange", "blue"), ("meadow", "red")]
)
def test_what_is_added_wins_against_its_surroundings(nano: DiffusionEngine, background: str, colour: str) -> None:
    """Blurred surroundings hold the new thing back; from grey it gets more of the selection in most pictures."""
    mask, areas = square(128, SIDE), []
    for seed in range(6):
        shown = []
        for prefill in ("blur", "neutral"):
            picture = edit(
                nano, drawing(seed, background), mask, prompt=f"a {colour} square", seed=seed, prefill=prefill
            ).picture
            shown.append(share(picture[mask > 0].reshape(SIDE, SIDE, 3), colour))
        areas.append(shown)
    filled, added = np.array(areas).T
    assert added.mean() > 1.2 * filled.mean()
    assert np.sum(added >= filled) >= 4
