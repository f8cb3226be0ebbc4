"""One thing after the other, also where one of them lets Krita's event loop come round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import fakes


class Loop:
    """Krita's event loop: what is to be called when it comes round, and after how many milliseconds."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Callable[[], object]]] = []

    def come_round(self) -> int:
        delay, call = self.waiting.pop(0)
        call()
        return delay


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(fakes.QTimer, "singleShot", lambda delay, call: loop.waiting.append((delay, call)))
    return loop


@pytest.fixture
def turns(loop: Loop) -> Any:
    from scumble_krita.turns import Turns

    return Turns()


def test_what_comes_between_the_steps_waits_until_they_are_done(turns: Any, loop: Loop) -> None:
    done = []

    def steps() -> Iterator[int | None]:
        done.append("first")
        yield None
        done.append("second")
        yield 20
        done.append("third")

    turns.take(steps)
    turns.take(lambda: done.append("other"))
    assert done == ["first"]
    assert loop.come_round() == 0
    assert done == ["first", "second"]
    assert loop.come_round() == 20
    assert done == ["first", "second", "third", "other"]
    assert loop.waiting == []


def test_a_turn_gives_what_it_returns_and_one_without_steps_is_done_at_once(turns: Any, loop: Loop) -> None:
    assert turns.take(lambda: 7) == 7
    turns.take(lambda: iter(()))
    assert turns.take(lambda: 8) == 8
    assert loop.waiting == []


def test_an_error_in_a_step_ends_that_turn_and_no_other(turns: Any, loop: Loop) -> None:
    done = []

    def steps() -> Iterator[None]:
        yield
        raise ValueError("between")

    turns.take(steps)
    turns.take(lambda: done.append("other"))
    with pytest.raises(ValueError, match="between"):
        loop.come_round()
    assert done == ["other"]
    assert turns.take(lambda: 7) == 7


def test_of_several_errors_the_first_is_raised(turns: Any, loop: Loop) -> None:
    def fail(word: str) -> None:
        raise ValueError(word)

    def both() -> None:
        turns.take(lambda: fail("second"))
        fail("first")

    with pytest.raises(ValueError, match="first"):
        turns.take(both)
    assert turns.take(lambda: 7) == 7


def test_an_error_that_came_before_the_steps_is_raised(turns: Any, loop: Loop) -> None:
    def fail() -> None:
        turns.take(lambda: iter((None,)))
        raise ValueError("before")

    with pytest.raises(ValueError, match="before"):
        turns.take(fail)
    loop.come_round()
    assert turns.take(lambda: 7) == 7
