"""What `python -m tests.nano measure`, and so `scumble bench semantic`, says and exits with."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from . import __main__, edits, measure, measure_edits
from .judge import Eyes

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
    ("look", "model", "count"),
    [
        (measure.measure, "nano", 2),
        (measure_edits.measure_holes, "nano_inpaint", 1),
        (measure_edits.measure_edges, "nano", 1),
        (edits.measure_edits, "nano", 1),
    ],
)
def test_all_that_is_measured_has_a_goal(
    look: Any, model: str, count: int, eyes: Eyes, request: pytest.FixtureRequest
) -> None:
    figures = look(request.getfixturevalue(model), eyes, count)
    assert figures.keys() <= measure.GOALS.keys() | measure.CEILINGS.keys()
    assert all(measure.goal_of(figure) for figure in figures)
    assert all(0 <= value <= 1 for value in figures.values())
