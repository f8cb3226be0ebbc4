"""The nano models, loaded once."""

from __future__ import annotations

import pytest
import torch
from scumble.diffusion.engine import DiffusionEngine
from scumble.home import Home

from .judge import Eyes
from .painting import MODELS, load


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Models this small gain nothing from a second thread, and on a busy machine threads that wait for each other stall."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def nano_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("nano"))


@pytest.fixture(scope="session")
def nano(nano_home: Home) -> DiffusionEngine:
    return load(MODELS / "nano-sd", nano_home)


@pytest.fixture(scope="session")
def nano_inpaint(nano_home: Home) -> DiffusionEngine:
    return load(MODELS / "nano-sd-inpaint", nano_home)


@pytest.fixture(scope="session")
def nano_xl(nano_home: Home) -> DiffusionEngine:
    return load(MODELS / "nano-sdxl", nano_home)


@pytest.fixture(scope="session")
def eyes() -> Eyes:
    return Eyes()
