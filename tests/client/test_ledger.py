"""What the client must not forget, ask twice or deliver twice."""

from __future__ import annotations

from typing import Any

from scumble.client.events import Received, replaces
from scumble.client.ledger import Draft, Ledger
from scumble.protocol.geometry import Bounds
from scumble.protocol.messages import (
    Accepted,
    Acknowledge,
    Buffer,
    Cancel,
    Cancelled,
    Failed,
    Layer,
    Looking,
    Progress,
    Result,
    Submit,
)

from .fake_backend import IMAGE, MASK, REQUEST

JOB = "0" * 32
ACCEPTED = Accepted(JOB, REQUEST, 0)
PROGRESS = Progress(JOB, "denoising", 1, 20)
RESULT = Result(JOB, REQUEST, (Layer(Bounds(0, 0, 1, 1), 7),), REQUEST.image, {}, 0.0)
FAILED = Failed("out_of_memory", "Too much.", "Take less.", JOB)


def ledger(*heard: Any) -> Ledger:
    """Of a client that is connected, has sent one edit and has heard this."""
    ledger = Ledger()
    ledger.reconnect("s")
    ledger.ask(Draft(Submit(JOB, REQUEST), IMAGE, MASK), sent=True)
    for message in heard:
        ledger.hear(message)
    return ledger


def test_a_result_that_is_in_no_document_yet_is_not_acknowledged_when_it_comes_again() -> None:
    kept = ledger(ACCEPTED, RESULT)
    assert kept.hear(RESULT) == (None, None)
    kept.ask(Acknowledge(JOB), sent=True)
    assert kept.hear(RESULT) == (None, Acknowledge(JOB))


def test_nothing_is_told_of_a_job_that_has_ended() -> None:
    kept = ledger(ACCEPTED, RESULT)
    assert [kept.hear(message) for message in (PROGRESS, ACCEPTED, FAILED)] == [(None, None)] * 3


def test_a_failure_is_a_cancel_only_where_the_backend_never_knew_the_job() -> None:
    for heard, told in (((), Cancelled(JOB)), ((ACCEPTED,), FAILED)):
        kept = ledger(*heard)
        kept.ask(Cancel(JOB), sent=True)
        assert kept.hear(FAILED) == (told, None)


def test_a_cancel_is_said_at_each_welcome_until_the_job_has_ended() -> None:
    kept = ledger(ACCEPTED)
    kept.ask(Cancel(JOB), sent=True)
    assert kept.reconnect("s") == ([Cancel(JOB)], [])
    kept.hear(Cancelled(JOB))
    assert kept.reconnect("s") == ([], [])


def test_news_gives_way_only_to_news_of_the_same_and_a_preview_only_to_the_next() -> None:
    preview = (Buffer("preview", 1, 1, "rgba8", "raw", bytes(4)),)
    plain, shown = Received(PROGRESS), Received(PROGRESS, preview)
    other = Received(Progress("1" * 32, "denoising", 1, 20))
    assert replaces(plain, plain)
    assert replaces(shown, plain)
    assert replaces(shown, shown)
    assert not replaces(plain, shown)
    assert not replaces(other, plain)
    assert not replaces(Received(Looking(1, 2)), plain)
    assert not replaces(plain, Received(ACCEPTED))
