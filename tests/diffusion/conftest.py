from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Models this small gain nothing from a second thread, and on a busy machine threads that wait for each other stall."""
    torch.set_num_threads(1)
