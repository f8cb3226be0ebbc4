"""`scumble bench`: which suite is run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from scumble.cli import bench, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("code", [0, 1])
def test_the_semantic_suite_is_that_of_the_clone_and_exits_as_it_does(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    calls: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.setattr(subprocess, "call", lambda command, **options: calls.append((command, options)) or code)
    assert main(["bench", "semantic", "--json"]) == code
    ((command, options),) = calls
    assert command[1:] == ["-m", "tests.nano", "measure", "--json"]
    assert options["cwd"] == ROOT


def test_without_a_clone_it_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "site" / "scumble" / "cli" / "bench.py"))
    assert main(["bench", "semantic"]) == 2
    assert "clone" in capsys.readouterr().err
