"""What the user chose, as one JSON object in the home folder. Small, read and written whole."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Dict

from ..files import patiently
from ..home import Home
from ..lock import Locked, locked

PATIENCE = 1.0
"""Seconds that a program waits until another one has written."""


def read_settings(home: Home) -> Dict[str, Any]:
    """The stored values by name; empty when there are none.

    A file that is no JSON object is moved aside (settings.json.damaged), so that nothing which the user wrote is lost
    and the program still starts. Unknown names are the caller's to ignore: a newer Scumble may have written them.
    """
    try:
        values = json.loads(patiently(lambda: home.settings.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        values = None
    if isinstance(values, dict):
        return values
    with contextlib.suppress(OSError):  # where it cannot be moved, it stays
        os.replace(home.settings, home.settings.with_name(home.settings.name + ".damaged"))
    return {}


def write_settings(home: Home, values: Dict[str, Any]) -> None:
    """Stores the values in place of all others. Raises OSError."""
    write_private(home.settings, json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True))


def update_settings(home: Home, **changes: Any) -> Dict[str, Any]:
    """Stores these values beside the others, and returns all of them. Raises OSError.

    One program after the other: Krita and GIMP store their sessions in the same moment when a backend has started again,
    and who stored it last would take the other's session back, and with it the way to its results.
    """
    home.root.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Locked):  # held for so long only by a program that has been stopped
            stack.enter_context(locked(home.root / "settings.lock", PATIENCE))
        values = {**read_settings(home), **changes}
        write_settings(home, values)
    return values


def write_private(path: Path, text: str) -> None:
    """Writes a file in one step (a reader sees the old text or the new one), for its owner only. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix=path.name)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        patiently(lambda: os.replace(temporary, path))
    except BaseException:
        os.unlink(temporary)
        raise
