"""What a control network does, proven by the shapes that are to be seen."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine

from . import world
from .judge import Eyes
from .measure_edits import follow
from .painting import paint, tensor

pytestmark = pytest.mark.slow
PLACES = (("left", 0.27, 0.5), ("right", 0.73, 0.5))
SCENES = [
    world.Scene("plain white", (world.Object(shape, "black", place, x, y, 0.24),), 0)
    for shape in world.SHAPES
    for place, x, y in PLACES
]
PROMPT = "a blue shape"


def seen(eyes: Eyes, pictures: np.ndarray) -> tuple[str, str, str] | None:
    objects = eyes.objects(tensor(pictures))[0]
    return (objects[0].colour, objects[0].shape, objects[0].position) if objects else None


def test_the_shape_follows_the_edges_and_the_colour_the_prompt(nano: DiffusionEngine, eyes: Eyes) -> None:
    """The prompt says neither shape nor place: without the edges both are right by chance only, one in thirty."""
    found = [seen(eyes, follow(nano, PROMPT, scene, seed)) for seed, scene in enumerate(SCENES)]
    wanted = [("blue", scene.objects[0].shape, scene.objects[0].position) for scene in SCENES]
    assert sum(one == other for one, other in zip(found, wanted, strict=True)) >= 10
    alone = [seen(eyes, paint(nano, PROMPT, seed)) for seed in range(len(SCENES))]
    assert sum(one == other for one, other in zip(alone, wanted, strict=True)) <= 4


def test_a_weight_of_nothing_is_none(nano: DiffusionEngine) -> None:
    assert np.array_equal(follow(nano, PROMPT, SCENES[0], weight=0.0), paint(nano, PROMPT))


def test_edges_that_come_too_late_change_nothing_that_is_laid_out(nano: DiffusionEngine, eyes: Eyes) -> None:
    """In the last tenth of the steps the composition stands: the picture is nearly the one without them."""
    alone = paint(nano, PROMPT).astype(int)
    late = np.abs(follow(nano, PROMPT, SCENES[0], start=0.9) - alone).mean()
    early = np.abs(follow(nano, PROMPT, SCENES[0], end=0.5) - alone).mean()
    assert late < 0.4 * early
