from __future__ import annotations

import time

import pytest
from scumble import files
from scumble.files import patiently


class Refusal:
    """Raises an error so many times before it is well."""

    def __init__(self, winerror: int | None, times: int = 2) -> None:
        self.winerror, self.times, self.tries = winerror, times, 0

    def __call__(self) -> str:
        self.tries += 1
        if self.tries > self.times:
            return "done"
        error = PermissionError(13, "Access is denied")
        if self.winerror is not None:  # none but Windows has one
            error.winerror = self.winerror  # type: ignore[attr-defined, unused-ignore]
        raise error


@pytest.mark.parametrize("winerror", [5, 32])
def test_what_windows_refuses_for_a_moment_is_tried_again(winerror: int) -> None:
    assert patiently(Refusal(winerror)) == "done"


@pytest.mark.parametrize("winerror", [None, 19])
def test_what_stays_forbidden_is_an_error_at_once(winerror: int | None) -> None:
    refusal = Refusal(winerror)
    with pytest.raises(PermissionError):
        patiently(refusal)
    assert refusal.tries == 1


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    began = time.monotonic()
    with pytest.raises(PermissionError):
        patiently(Refusal(5, times=1000))
    assert time.monotonic() - began < 1
