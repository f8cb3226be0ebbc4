"""What the panel remembers from one opening to the next, in Scumble's settings."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import Any

from scumble.client.editor import EditSettings
from scumble.client.launcher import is_alive
from scumble.client.settings import read_settings, update_settings
from scumble.home import Home

SESSION, VALUES = "gimp_session", "gimp_panel"
_KEPT = (
    *("prompt", "negative", "model", "strength", "count"),
    *("steps", "guidance", "sampler", "resolution", "clip_skip", "grow", "feather"),
)


def store_values(home: Home, settings: EditSettings) -> None:
    """What was filled in. A disk that cannot be written to is no reason not to paint."""
    with contextlib.suppress(OSError):
        update_settings(home, **{VALUES: {name: getattr(settings, name) for name in _KEPT}})


def stored_values(home: Home) -> dict[str, Any]:
    values = read_settings(home).get(VALUES)
    known = {field.name for field in dataclasses.fields(EditSettings)}
    return {name: value for name, value in values.items() if name in known} if isinstance(values, dict) else {}


def store_session(home: Home, session: str) -> None:
    with contextlib.suppress(OSError):
        update_settings(home, **{SESSION: {"session": session, "pid": os.getpid()}})


def free_session(home: Home) -> str | None:
    """The session of an earlier panel, unless another GIMP's panel has it now."""
    last = read_settings(home).get(SESSION)
    if not isinstance(last, dict) or not isinstance(last.get("session"), str):
        return None
    pid = last.get("pid")
    taken = isinstance(pid, int) and pid > 0 and pid != os.getpid() and is_alive(pid)
    return None if taken else last["session"]
