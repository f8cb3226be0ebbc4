"""The models that stay loaded, as many as the memory holds: going back to one costs nothing then. In the worker."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Sequence

from ..editing.plan import Engine
from ..protocol.errors import OutOfMemory
from .work import Work

RESERVE = 3 << 30
"""Bytes to leave free for what a model does with a picture."""


def surplus(held: Sequence[int], needed: int, free: int) -> int:
    """How many models must go, the first ones of `held` (bytes each), before one of `needed` bytes is loaded where `free`
    bytes are free."""
    count = 0
    while count < len(held) and free < needed + RESERVE:
        free += held[count]
        count += 1
    return count


class Warm:
    """Engines by the model that they run, the least recently used first."""

    def __init__(self, load: Callable[[Work], Engine], needed: Callable[[Work], int]) -> None:
        """`needed`: bytes that a job's model is going to take once it is loaded."""
        self._load, self._needed = load, needed
        self._engines: OrderedDict[tuple[str | None, str], Engine] = OrderedDict()

    def get(self, work: Work, model: str | None) -> Engine:
        """The engine for the job's model; `model` is the id in its request. Others go where it needs their memory.

        Raises ModelUnreadable, OutOfMemory.
        """
        key = (model, work.model_path)
        if key not in self._engines:
            if self._engines:
                engines = list(self._engines.values())
                held = [engine.bytes for engine in engines]
                self._drop(surplus(held, self._needed(work), engines[-1].free()))
            self._engines[key] = self._loaded(work)
        self._engines.move_to_end(key)
        return self._engines[key]

    def keep_only_latest(self) -> bool:
        """Lets go of all but the engine that was asked for last. False where there are no others."""
        if len(self._engines) < 2:
            return False
        self._drop(len(self._engines) - 1)
        return True

    def _loaded(self, work: Work) -> Engine:
        try:
            return self._load(work)
        except OutOfMemory:
            if not self._engines:
                raise
        self._drop(len(self._engines))
        return self._load(work)

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._engines.popitem(last=False)
        gc.collect()  # modules and their hooks hold each other
