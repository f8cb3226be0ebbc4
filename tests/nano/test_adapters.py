"""What is added to a model, proven by what is to be seen."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine
from scumble.protocol.messages import LoraUse

from .edits import MONOCHROME, colourfulness
from .painting import paint

pytestmark = pytest.mark.slow

PROMPT = "a red star in the sky"


def test_a_style_lora_changes_the_style_as_much_as_it_weighs_and_leaves_no_trace(nano: DiffusionEngine) -> None:
    before = paint(nano, PROMPT)
    by_weight = [
        colourfulness(paint(nano, PROMPT, adapters=(MONOCHROME,), loras=(LoraUse("mono", weight),)))
        for weight in (0.0, 0.5, 1.0)
    ]
    assert by_weight[0] == colourfulness(before) > 60
    assert by_weight[1] < 0.9 * by_weight[0]
    assert by_weight[2] < 0.5 * by_weight[0]
    assert np.array_equal(paint(nano, PROMPT), before)


def test_loras_are_switched_without_loading_the_model(nano: DiffusionEngine) -> None:
    """To and fro, each weight paints its own picture every time, by the very tensors that were loaded."""
    tensors, painted = [each.data_ptr() for each in nano.model.parts["unet"].parameters()], {}
    for weight in (1.0, 0.0, 0.5, 1.0, 0.5, 0.0):
        picture = paint(nano, PROMPT, adapters=(MONOCHROME,), loras=(LoraUse("mono", weight),))
        assert np.array_equal(painted.setdefault(weight, picture), picture)
    assert len({picture.tobytes() for picture in painted.values()}) == 3
    assert [each.data_ptr() for each in nano.model.parts["unet"].parameters()] == tensors


def test_a_prompt_names_a_lora(nano: DiffusionEngine) -> None:
    named = paint(nano, f"{PROMPT} <lora:nano-lora-monochrome:0.8>", adapters=(MONOCHROME,))
    chosen = paint(nano, f"{PROMPT} ", adapters=(MONOCHROME,), loras=(LoraUse("mono", 0.8),))
    assert np.array_equal(named, chosen)
    assert colourfulness(named) < 0.7 * colourfulness(paint(nano, PROMPT))
