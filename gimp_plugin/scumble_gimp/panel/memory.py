"""What the panel remembers from one opening to the next, in Scumble's settings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, TypeVar

from scumble.client.editor import EditSettings
from scumble.client.launcher import is_alive
from scumble.client.modes import INTENTS
from scumble.client.settings import read_settings, update_settings
from scumble.home import Home
from scumble.protocol.errors import ScumbleError
from scumble.protocol.messages import LoraUse
from scumble.protocol.schema import from_json, to_json

from ..asked import Placing, Upscaling

SESSION, VALUES = "gimp_session", "gimp_panel"
CHOICES = {Upscaling: "gimp_upscale", Placing: "gimp_layers"}
Choices = TypeVar("Choices", Upscaling, Placing)
_KEPT = (
    *("prompt", "negative", "model", "strength", "count"),
    *("steps", "guidance", "sampler", "resolution", "clip_skip", "grow", "feather", "context"),
    *("loras", "intent", "transparent"),
)


def store_values(home: Home, settings: EditSettings) -> None:
    """What was filled in. A disk that cannot be written to is no reason not to paint."""
    with contextlib.suppress(OSError):
        values = to_json(settings)
        update_settings(home, **{VALUES: {name: values[name] for name in _KEPT}})


def stored_values(home: Home) -> dict[str, Any]:
    """By the fields of EditSettings; what does not fit (another version wrote it) is passed over."""
    values = read_settings(home).get(VALUES)
    kept = {name: value for name, value in values.items() if name in _KEPT} if isinstance(values, dict) else {}
    if "loras" in kept:
        kept["loras"] = tuple(_loras(kept["loras"]))
    if "intent" in kept and kept["intent"] not in tuple(INTENTS):
        del kept["intent"]
    return kept


def _loras(stored: Any) -> Iterator[LoraUse]:
    for each in stored if isinstance(stored, list) else ():
        with contextlib.suppress(ScumbleError):
            yield from_json(LoraUse, each, "lora")


def store_choices(home: Home, choices: Choices) -> None:
    with contextlib.suppress(OSError):
        update_settings(home, **{CHOICES[type(choices)]: list(choices)})


def stored_choices(home: Home, usual: Choices) -> Choices:
    """What was chosen last, else the usual."""
    values = read_settings(home).get(CHOICES[type(usual)])
    if not isinstance(values, list) or [type(value) for value in values] != [type(value) for value in usual]:
        return usual
    return type(usual)(*values)


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
