"""The order in which jobs run."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble.server.job_queue import JobQueue, Waiting


def queue_of(*entries: str) -> JobQueue:
    """ "a1" is owner a's job 1 of priority 0, "a1+5" of priority 5."""
    queue = JobQueue()
    for entry in entries:
        push(queue, entry)
    return queue


def push(queue: JobQueue, entry: str) -> None:
    name, _, priority = entry.partition("+")
    queue.push(Waiting(name, name[0], int(priority or 0)))


def drain(queue: JobQueue) -> list[str]:
    return [queue.pop().job for _ in range(len(queue))]


def test_one_owner_is_served_in_order_of_arrival() -> None:
    assert drain(queue_of("a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_owners_take_turns() -> None:
    assert drain(queue_of("a1", "a2", "a3", "b1", "b2", "c1")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_higher_priority_goes_first_whoever_it_is() -> None:
    assert drain(queue_of("a1", "b1+-1", "a2+5", "b2+5", "a3+5")) == ["a2", "b2", "a3", "a1", "b1"]


def test_who_has_just_been_served_waits() -> None:
    queue = queue_of("a1", "a2", "a3")
    assert queue.pop().job == "a1"
    push(queue, "b1")
    assert drain(queue) == ["b1", "a2", "a3"]


def test_one_who_always_asks_again_does_not_starve_another() -> None:
    queue = queue_of("a1", "b1", "b2")
    served = []
    for number in range(2, 6):
        served.append(queue.pop().job)
        push(queue, f"a{number}")
    assert served.index("b2") <= 3


def test_removed_jobs_do_not_run() -> None:
    queue = queue_of("a1", "a2")
    assert queue.remove("a1") == Waiting("a1", "a", 0)
    assert queue.remove("a1") is None
    assert drain(queue) == ["a2"]
    with pytest.raises(IndexError):
        queue.pop()


owners = st.sampled_from("abc")
arrivals = st.lists(st.tuples(owners, st.integers(-2, 2)), max_size=30)


@given(arrivals, st.integers(0, 10))
def test_the_foretold_order_is_kept(coming: list[tuple[str, int]], served: int) -> None:
    queue = JobQueue()
    for number, (owner, priority) in enumerate(coming):
        queue.push(Waiting(f"{owner}{number}", owner, priority))
    for _ in range(min(served, len(queue))):
        queue.pop()
    foretold = [entry.job for entry in queue.order()]
    assert drain(queue) == foretold


@given(arrivals)
def test_fairness(coming: list[tuple[str, int]]) -> None:
    """Within one priority, no owner is served twice more often than another who waits as long."""
    queue = JobQueue()
    for number, (owner, priority) in enumerate(coming):
        queue.push(Waiting(f"{number}", owner, priority))
    left = defaultdict(int)
    for owner, priority in coming:
        left[owner, priority] += 1
    turns: defaultdict[tuple[str, int], int] = defaultdict(int)
    last: dict[str, int] = {}
    while len(queue):
        entry = queue.pop()
        assert entry.priority == max(priority for (_, priority), count in left.items() if count)
        assert last.get(f"{entry.owner}{entry.priority}", -1) < int(entry.job)
        last[f"{entry.owner}{entry.priority}"] = int(entry.job)
        left[entry.owner, entry.priority] -= 1
        turns[entry.owner, entry.priority] += 1
        for (owner, priority), count in left.items():
            if count and priority == entry.priority:
                assert turns[entry.owner, priority] - turns[owner, priority] <= 1


def test_who_was_served_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scumble.server.job_queue.REMEMBERED", 2)
    queue = JobQueue()
    for entry in ("a1", "b1", "a2", "c1"):
        push(queue, entry)
        queue.pop()
    for entry in ("a3", "b2"):
        push(queue, entry)
    assert drain(queue) == ["b2", "a3"]
