"""In which order waiting jobs run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

REMEMBERED = 1000
"""So many owners are known by when they were served last; older ones count as never served."""


@dataclass(frozen=True)
class Waiting:
    job: str
    owner: str
    priority: int


class JobQueue:
    """Higher priority first; within one priority the owners take turns, whoever was served longest ago first; within one
    owner, first come, first served. No I/O, no clock."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._turns: dict[tuple[str, int], int] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, entry: Waiting) -> None:
        self._waiting[entry.job] = entry

    def pop(self) -> Waiting:
        """The next one to run. Raises IndexError when nothing waits."""
        entry = self.order()[0]
        del self._waiting[entry.job]
        self._turn += 1
        lane = (entry.owner, entry.priority)
        self._turns.pop(lane, None)
        self._turns[lane] = self._turn  # now the last of the dict
        if len(self._turns) > REMEMBERED:
            del self._turns[next(iter(self._turns))]
        return entry

    def remove(self, job: str) -> Waiting | None:
        return self._waiting.pop(job, None)

    def order(self) -> list[Waiting]:
        """All waiting jobs as they would run if nothing else came."""
        lanes: dict[tuple[str, int], int] = {}
        rounds: defaultdict[tuple[str, int], int] = defaultdict(int)
        keys: dict[str, tuple[int, int, int, int]] = {}
        for entry in self._waiting.values():
            lane = (entry.owner, entry.priority)
            # Those who were never served go in the order in which they came.
            place = lanes.setdefault(lane, len(lanes))
            keys[entry.job] = (-entry.priority, rounds[lane], self._turns.get(lane, 0), place)
            rounds[lane] += 1
        return sorted(self._waiting.values(), key=lambda entry: keys[entry.job])
