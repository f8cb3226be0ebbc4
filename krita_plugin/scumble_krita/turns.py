"""One thing after the other: Krita 6 handles events inside of some of its calls (addChildNode, activeNode), so that a click
or a result may come in the middle of our work on a document."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .qt import QtCore
from .slots import guarded

Method = TypeVar("Method", bound=Callable[..., Any])


class Turns:
    """What waits until the one at work has done."""

    _DONE = object()

    def __init__(self) -> None:
        self._waiting: list[Callable[[], Any]] = []
        self._working = False

    def take(self, call: Callable[[], Any]) -> Any:
        """Calls it now, and afterwards whatever came meanwhile; or, where one is at work, later. Returns what it returns,
        None for later. One that raises does not hold up the others: the first error is raised at the end.

        A call that returns an iterator is at work until that has ended: at each step Krita's event loop has its turn, for
        as many milliseconds as it gives (None: once).
        """
        self._waiting.append(call)
        return None if self._working else self._work()

    def _work(self) -> Any:
        self._working = True
        results, error, rest = [], None, self._DONE
        while self._waiting and rest is self._DONE:
            call = self._waiting.pop(0)
            try:
                results.append(call())
                if isinstance(results[-1], Iterator):
                    rest = next(results[-1], self._DONE)
            except Exception as problem:
                error = error or problem
        if rest is self._DONE:
            self._working = False
        else:
            self._waiting.insert(0, lambda: results[-1])
            QtCore.QTimer.singleShot(rest or 0, guarded(self._work))
        if error is not None:
            raise error
        return results[0] if results else None


def in_turn(method: Method) -> Method:
    """A method of an object with `turns`, so that no two of them are at work at once."""

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **more: Any) -> Any:
        return self.turns.take(functools.partial(method, self, *arguments, **more))

    return call  # type: ignore[return-value]
