"""Objects on alpha: painted on a plain background and cut out of it."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine

from . import world
from .judge import share
from .painting import PIECE, edit

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("colour", "words"), [("blue", ""), ("black", ""), ("yellow", " on a plain black background")])
def test_an_object_stands_alone(nano: DiffusionEngine, colour: str, words: str) -> None:
    """All that is of its colour is opaque, little else is, and nothing of the background is left; where the prompt does not
    name one it is white."""
    for seed in range(4):
        blank = np.full((PIECE.height, PIECE.width, 3), 128, np.uint8)
        settings = {"mode": "txt2img", "prompt": f"a {colour} star in the center{words}", "seed": seed}
        whole, cut = (edit(nano, blank, transparent=transparent, **settings) for transparent in (False, True))
        assert (whole.alpha == 255).all()
        opaque = cut.alpha > 200
        assert 0.02 < opaque.mean() < 0.5
        assert 0.02 < (cut.alpha > 0).mean() < 0.6
        assert cut.alpha[:8].max() == cut.alpha[-8:].max() == 0
        if words:  # else the two have other prompts, and are other pictures
            near = np.linalg.norm(whole.picture.astype(float) - world.COLOURS[colour], axis=2) < 70
            assert opaque[near].mean() > 0.9
        assert share(cut.picture[opaque][None], colour) > 0.5
        assert share(cut.picture[opaque][None], "black" if words else "white") < 0.1
