"""Whole pictures made larger: by a model that paints, window by window, and by a network made for it, proven by what is to
be seen in them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.upscaler import UpscaleEngine
from scumble.editing.plan import Pixels

from . import world
from .edits import UPSCALER, beside_the_thing, courses, enlarged, is_nearer, keeps_the_thing, upscaled
from .judge import Eyes
from .measure import named_scene
from .painting import ONE_THREAD

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


def test_a_network_enlarges_better_than_interpolation() -> None:
    """Drawings of pairs that training did not show; the fields of a checkerboard end as sharply as in the large drawing."""
    network = UpscaleEngine(UPSCALER, ONE_THREAD)
    seen = [enlarged(network, named_scene(random.Random(seed))) for seed in range(10)]
    assert sum(map(is_nearer, seen)) >= 9
    board = enlarged(network, world.Scene("checker", (), 0))
    assert steepest(board.by_lanczos) < 0.5 * steepest(board.drawn)
    assert steepest(board.by_network) > 0.9 * steepest(board.drawn)


def steepest(picture: Pixels) -> float:
    """The difference between neighbours at an edge, 0..255."""
    return float(np.percentile(np.abs(np.diff(picture.astype(float).mean(2), axis=1)), 99))
