"""Every sampler makes the picture that the prompt asks for."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.samplers import SAMPLERS

from .judge import Eyes, share
from .painting import paint, tensor

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "sampler", [sampler for sampler in SAMPLERS if sampler != "lcm"]
)  # that one needs its own models
def test_a_sampler_makes_what_the_prompt_says(nano: DiffusionEngine, eyes: Eyes, sampler: str) -> None:
    picture = paint(nano, "a yellow square in the center on a blue background", sampler=sampler, steps=20)
    assert 0.05 < share(picture[0], "yellow") < 0.4
    assert eyes.background(tensor(picture)) == ["plain blue"]
    # Steps that are a little wrong leave blotches.
    rim = np.concatenate([picture[0, :12], picture[0, -12:]]).reshape(-1, 3)
    assert rim.std(axis=0).max() < 10
