"""Files that another program has open just now: Windows refuses to replace, remove or read them for that moment."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")

PATIENCE = 1.0
POLL_SECONDS = 0.02
_REFUSALS = (5, 32)
"""ERROR_ACCESS_DENIED and ERROR_SHARING_VIOLATION."""


def patiently(do: Callable[[], T]) -> T:
    """What `do` returns or raises. Where Windows refuses it, it is tried again for a second: virus scanners look at
    what has just been written, and a file that another Python reads cannot be replaced meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return do()
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _REFUSALS or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)
