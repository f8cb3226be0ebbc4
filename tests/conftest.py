"""Fixtures that several parts share. Imported by Python 3.9 too: standard library, pytest and scumble.home only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scumble.home import Home

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home of its own for each test."""
    root = tmp_path / "home"
    root.mkdir()
    return Home(root)


@pytest.fixture(scope="session")
def fill_model() -> Path:
    """The real MI-GAN file: SCUMBLE_TEST_FILL_MODEL names it, else packaging/test.py has put it into .test-env."""
    named = os.environ.get("SCUMBLE_TEST_FILL_MODEL")
    path = Path(named) if named else REPOSITORY / ".test-env" / "models" / "fill" / "migan_pipeline_v2.onnx"
    if not path.is_file():
        pytest.skip("The fill model is not here: run packaging/test.py, or name it in SCUMBLE_TEST_FILL_MODEL.")
    return path
