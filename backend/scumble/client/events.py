"""What a client tells its program, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

from ..protocol.errors import ScumbleError
from ..protocol.messages import Buffer, Looking, Message, Progress, Result, Welcome


@dataclass(frozen=True)
class Connected:
    welcome: Welcome


@dataclass(frozen=True)
class Lost:
    """No connection (any more). The next attempt is in `retry` seconds; None: not before `connect` is called, because
    trying again alone would not help (wrong token, other version)."""

    error: ScumbleError
    retry: Optional[float]


@dataclass(frozen=True)
class Finished:
    """A job's result with a raw rgba8 buffer for each of its layers."""

    result: Result
    layers: Tuple[Buffer, ...]


@dataclass(frozen=True)
class Received:
    """Any other message of the backend. A preview is unpacked to raw pixels where the standard library can do that; in png
    or webp it stays as it is."""

    message: Message
    buffers: Tuple[Buffer, ...] = ()


Event = Union[Connected, Lost, Finished, Received]


def replaces(new: Event, old: Event) -> bool:
    """Progress that nobody has looked at yet gives way to the next, so that a host in a modal dialog piles up nothing."""
    if not isinstance(new, Received) or not isinstance(old, Received):
        return False
    if isinstance(new.message, Looking):
        return isinstance(old.message, Looking)
    return (
        isinstance(new.message, Progress)
        and isinstance(old.message, Progress)
        and new.message.job == old.message.job
        and (bool(new.buffers) or not old.buffers)
    )
