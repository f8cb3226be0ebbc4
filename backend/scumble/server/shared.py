"""Large payloads between server and worker: through shared memory, so that neither waits for the other to read.

Whoever starts a job chooses the names of all its segments, and so can remove them whatever happened to the other side.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple


class Parcel(NamedTuple):
    """A payload under way: `size` bytes in the segment `name`, or `data` itself where no segment could be had."""

    name: str
    size: int
    data: bytes | None = None


def new_name() -> str:
    """A name that no other segment has, and that tells whose it is; short, as macOS allows 31 characters."""
    return f"scumble-{os.getpid():x}-{secrets.token_hex(6)}"


@contextlib.contextmanager
def offer(name: str, data: bytes) -> Iterator[Parcel]:
    """The parcel to send. The other side must take it inside the block (Windows keeps no segment that nobody holds
    open). Where shared memory has no room (containers often get 64 MiB) the data travels in the pipe."""
    segment = None
    try:
        segment = _made(name, max(1, len(data)))
        _reserve(segment)
    except OSError:
        if segment is not None:
            segment.close()
            segment.unlink()
        yield Parcel(name, len(data), data)
        return
    try:
        _view(segment)[: len(data)] = data
        yield Parcel(name, len(data))
    finally:
        segment.close()


def take(parcel: Parcel) -> bytes:
    """The payload. Raises FileNotFoundError when the sender has removed it."""
    if parcel.data is not None:
        return parcel.data
    segment = SharedMemory(parcel.name)
    try:
        return bytes(_view(segment)[: parcel.size])
    finally:
        segment.close()


def discard(name: str) -> None:
    """Removes the segment if there is one."""
    try:
        segment = SharedMemory(name)
    except FileNotFoundError:
        return
    segment.close()
    segment.unlink()


def _made(name: str, size: int) -> SharedMemory:
    """A new segment. Raises OSError.

    Python's tracker removes what killed processes leave behind; it is told before there is anything, as SharedMemory tells
    it afterwards, and a kill in between would leave the segment.
    """
    if os.name != "posix":
        return SharedMemory(name, create=True, size=size)
    from multiprocessing import resource_tracker

    resource_tracker.register(f"/{name}", "shared_memory")
    try:
        return SharedMemory(name, create=True, size=size)
    except OSError:
        resource_tracker.register(f"/{name}", "shared_memory")  # it may be off the list already, or not
        resource_tracker.unregister(f"/{name}", "shared_memory")
        raise


def _reserve(segment: SharedMemory) -> None:
    # A segment is sparse at first: writing to one that does not fit ends the process with SIGBUS.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(segment._fd, 0, segment.size)  # type: ignore[attr-defined]


def _view(segment: SharedMemory) -> memoryview:
    if segment.buf is None:
        raise ValueError("The segment is closed.")
    return segment.buf
