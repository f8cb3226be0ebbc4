"""Whole pictures at twice their size by a model that paints, window by window, proven by what is to be seen in them."""

from __future__ import annotations

import pytest
from scumble.diffusion.engine import DiffusionEngine

from .edits import beside_the_thing, courses, keeps_the_thing, upscaled
from .judge import Eyes

pytestmark = pytest.mark.slow


def test_upscaling_paints_detail_and_keeps_what_is_there(nano: DiffusionEngine, eyes: Eyes) -> None:
    """Of the wall, finer bricks are painted than enlarging and the autoencoder leave of it, the more the stronger; the
    thing before it stays where it is, of its colour and shape."""
    for seed in range(3):
        picture = upscaled(nano, seed)
        assert keeps_the_thing(eyes, picture)
        faint, default, strong = (
            courses(beside_the_thing(each))
            for each in (upscaled(nano, seed, strength=0.01), picture, upscaled(nano, seed, strength=0.5))
        )
        assert faint < 1.2
        assert default > 1.35
        assert strong > 2 * default
