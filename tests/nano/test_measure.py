"""What `python -m tests.nano measure`, and so `scumble bench semantic`, says and exits with."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine
from scumble.editing.plan import Pixels

from . import __main__, edits, measure, measure_edits, measure_references, styles
from .judge import Eyes
from .painting import Edited

pytestmark = pytest.mark.slow


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tests.nano", "measure", *arguments])
    return __main__.main()


@pytest.mark.parametrize(
    ("figure", "value", "code"),
    [("colour", 0.95, 0), ("colour", 0.94, 1), ("without them", 0.3, 0), ("without them", 0.31, 1)],
)
def test_a_missed_goal_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], figure: str, value: float, code: int
) -> None:
    monkeypatch.setattr(measure, "measure", lambda engine, eyes: {"background": 1.0, figure: value})
    assert run(monkeypatch, "nano-sd") == code
    assert ("MISSED" in capsys.readouterr().out) is bool(code)
    assert run(monkeypatch, "nano-sd", "--json") == code
    assert json.loads(capsys.readouterr().out) == {"model": "nano-sd", "background": 1.0, figure: value}


@pytest.mark.parametrize(
    "look",
    [
        measure.measure,
        measure_edits.measure_holes,
        measure_edits.measure_edges,
        measure_references.measure_references,
        edits.measure_edits,
    ],
)
def test_all_that_is_measured_has_a_goal(
    look: Any, nano: DiffusionEngine, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what, is no matter: the pictures are noise here."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> Pixels:
        return rng.integers(0, 256, (*shape, 3), np.uint8)

    def edit(_: Any, picture: Pixels, mask: Pixels | None = None, **__: Any) -> Edited:
        height, width = (picture if mask is None else mask).shape[:2]
        return Edited(noise(height, width), np.zeros((height, width), np.uint8))

    for module in (measure, measure_edits, measure_references, styles):
        monkeypatch.setattr(module, "paint", lambda *_, **__: noise(1, 128, 128))
    for module in (measure_edits, edits):
        monkeypatch.setattr(module, "edit", edit)
    monkeypatch.setattr(edits, "painted", lambda *_: noise(256, 256))
    figures = look(nano, eyes, 2)
    assert figures.keys() <= measure.GOALS.keys() | measure.CEILINGS.keys()
    assert all(measure.goal_of(figure) for figure in figures)
    assert all(0 <= value <= 1 for value in figures.values())
