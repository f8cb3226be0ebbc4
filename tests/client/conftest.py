from __future__ import annotations

import pytest
from scumble.client import client as client_module


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_RETRY", 0.02)
