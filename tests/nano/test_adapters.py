"""What is added to a model, proven by what is to be seen."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine
from scumble.editing.adapters import Adapter
from scumble.protocol.geometry import Bounds
from scumble.protocol.messages import AdapterInfo, Control, LoraUse

from . import world
from .judge import Eyes, share
from .painting import MODELS, PIECE, paint, tensor
from .train_control import edges

pytestmark = pytest.mark.slow

MONOCHROME = Adapter(
    AdapterInfo("mono", "nano-lora-monochrome", "lora", "sd1", 1), MODELS / "nano-lora-monochrome.safetensors"
)
EDGES = Adapter(
    AdapterInfo("edges", "nano-controlnet", "control", "sd1", 1),
    MODELS / "nano-controlnet" / "diffusion_pytorch_model.safetensors",
)
PROMPT = "a red star in the sky"


def colourfulness(picture: np.ndarray) -> float:
    """Mean distance of the channels from grey, 0..255."""
    return float(np.ptp(picture.astype(float), axis=-1).mean())


def test_a_style_lora_changes_the_style_as_much_as_it_weighs_and_leaves_no_trace(nano: DiffusionEngine) -> None:
    before = paint(nano, PROMPT)
    by_weight = [
        colourfulness(paint(nano, PROMPT, adapters=(MONOCHROME,), loras=(LoraUse("mono", weight),)))
        for weight in (0.0, 0.5, 1.0)
    ]
    assert by_weight[0] == colourfulness(before) > 60
    assert by_weight[1] < 0.9 * by_weight[0]
    assert by_weight[2] < 0.25 * by_weight[0]
    assert np.array_equal(paint(nano, PROMPT), before)


def test_a_prompt_names_a_lora(nano: DiffusionEngine) -> None:
    named = paint(nano, f"{PROMPT} <lora:nano-lora-monochrome:0.8>", adapters=(MONOCHROME,))
    chosen = paint(nano, f"{PROMPT} ", adapters=(MONOCHROME,), loras=(LoraUse("mono", 0.8),))
    assert np.array_equal(named, chosen)
    assert colourfulness(named) < 40


@pytest.mark.parametrize("shape", ["circle", "square", "triangle", "cross"])
def test_the_shape_follows_the_edges_of_a_control_picture(nano: DiffusionEngine, shape: str) -> None:
    """Measured without a judge: the colour fills the outline, and stays in it."""
    thing = world.Object(shape, "blue", "right", 0.66, 0.4, 0.24)
    scene = world.Scene("sky", (thing,), 1)
    inside = world.silhouette(shape, thing.x, thing.y, thing.radius) > 0.5
    hint = np.dstack([np.asarray(edges(scene)), np.full((PIECE.height, PIECE.width), 255, np.uint8)])

    def overlap(weight: float) -> float:
        """Intersection over union of the outline's inside and the red of the picture."""
        use = Control("edges", Bounds.of_size(PIECE), weight=weight)
        picture = paint(nano, "a red shape", seed=2, adapters=(EDGES,), hints=(hint,), controls=(use,))[0]
        red = (picture[..., 0] > 140) & (picture[..., 1] < 100) & (picture[..., 2] < 100)
        return float((red & inside).sum() / (red | inside).sum())

    assert overlap(1.0) > 0.7
    assert overlap(0.0) < 0.5


def test_a_control_is_no_prompt(nano: DiffusionEngine, eyes: Eyes) -> None:
    """Colour and background stay those of the prompt."""
    scene = world.Scene("sky", (world.Object("square", "blue", "left", 0.3, 0.5, 0.22),), 1)
    hint = np.dstack([np.asarray(edges(scene)), np.full((PIECE.height, PIECE.width), 255, np.uint8)])
    use = Control("edges", Bounds.of_size(PIECE))
    picture = paint(nano, "a yellow square at night", adapters=(EDGES,), hints=(hint,), controls=(use,))
    assert share(picture[0], "yellow") > 0.08
    assert eyes.background(tensor(picture)) == ["night"]
