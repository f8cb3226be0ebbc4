"""What waits to be sent to one client."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

Payload = bytes | str


@dataclass(frozen=True)
class Outcome:
    """Stands for a job's state as it is when its turn comes: results stay on the disk until they can be sent."""

    job: str


@dataclass(frozen=True)
class Close:
    """The connection ends here."""


Entry = Payload | Outcome | Close


class Outbox:
    """In order of arrival, except that news takes the place of older news of the same thing: a slow reader gets the latest
    progress and not all of it, and each job has two places at most. Answers are never dropped; there are few of them,
    since who does not read them is not listened to (`room`)."""

    def __init__(self, capacity: int = 64) -> None:
        self._capacity = capacity
        self._entries: dict[tuple[str, object], Entry] = {}
        self._answers = 0
        self._abandoned = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def answer(self, payload: Payload) -> None:
        self._answers += 1
        self._put(("answer", self._answers), payload)

    def progress(self, job: str, payload: Payload) -> None:
        self._put(("progress", job), payload)

    def outcome(self, job: str, result: bytes | None = None) -> None:
        """`result` is kept in memory only where nothing else waits."""
        self._entries.pop(("progress", job), None)
        self._put(("outcome", job), Outcome(job) if result is None or self._entries else result)

    def queue(self, payload: Payload) -> None:
        self._put(("queue", None), payload)

    def models(self, payload: Payload) -> None:
        self._put(("models", None), payload)

    def close(self) -> None:
        """Ends the connection once everything before is sent."""
        self._put(("close", None), Close())

    async def get(self) -> Entry:
        while not self._entries:
            self._filled.clear()
            await self._filled.wait()
        key = next(iter(self._entries))
        entry = self._entries.pop(key)
        if len(self._entries) < self._capacity:
            self._emptied.set()
        return entry

    async def room(self) -> None:
        """Returns when fewer than `capacity` entries wait, or nobody takes any more."""
        if not self._abandoned and len(self._entries) >= self._capacity:
            self._emptied.clear()
            await self._emptied.wait()

    def abandon(self) -> None:
        """Nobody takes entries any more."""
        self._abandoned = True
        self._emptied.set()

    def _put(self, key: tuple[str, object], entry: Entry) -> None:
        self._entries[key] = entry
        self._filled.set()
