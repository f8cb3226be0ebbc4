"""One thing after the other: Krita 6 handles events inside of some of its calls (addChildNode, activeNode), so that a click
or a result may come in the middle of our work on a document."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


class Turns:
    """What waits until the one at work has done."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], Any]] = []
        self._working = False

    def take(self, call: Callable[[], Any]) -> Any:
        """Calls it now, and afterwards whatever came meanwhile; or, where one is at work, later. Returns what it returns,
        None for later. One that raises does not hold up the others: the first error is raised at the end."""
        if self._working:
            self._waiting.append(call)
            return None
        self._working = True
        result, error = None, None
        try:
            result = call()
        except Exception as problem:
            error = problem
        while self._waiting:
            try:
                self._waiting.pop(0)()
            except Exception as problem:
                error = error or problem
        self._working = False
        if error is not None:
            raise error
        return result


def in_turn(method: Method) -> Method:
    """A method of an object with `turns`, so that no two of them are at work at once."""

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **more: Any) -> Any:
        return self.turns.take(functools.partial(method, self, *arguments, **more))

    return call  # type: ignore[return-value]
