"""Connections come and go; jobs stay."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import WebSocketDisconnect
from scumble.protocol.messages import Accepted, Acknowledge, Cancel, Cancelled, Failed, Progress, Result, Resume
from scumble.server.session import Session

from .harness import Backend, edit, running, state, wait_until


def test_a_job_goes_on_without_its_client_and_is_handed_over_later(backend: Backend) -> None:
    with backend.peer() as peer:
        job, session = peer.accepted(edit("hold")), peer.session
        peer.vanish()
    backend.executor.release.set()
    wait_until(lambda: state(backend, job) == "done")
    with backend.peer(session=session) as peer:
        assert peer.session == session
        assert peer.hear(Result).job == job
        peer.say(Acknowledge(job))
        peer.works()
    with backend.peer(session=session) as peer:
        peer.quiet()
        peer.say(Resume(job))
        assert peer.hear(Result).job == job


def test_resuming_a_session_tells_of_every_open_job(backend: Backend) -> None:
    with backend.peer() as peer:
        session = peer.session
        running, waiting = peer.accepted(edit("hold")), peer.accepted()
        peer.vanish()
    with backend.peer(session=session) as peer:
        first, second = peer.hear(Accepted), peer.hear(Accepted)
        assert {first.job: first.position, second.job: second.position} == {running: 0, waiting: 1}
        backend.executor.release.set()
        assert [peer.hear(Result).job, peer.hear(Result).job] == [running, waiting]


def test_failures_and_cancels_are_told_once(backend: Backend) -> None:
    with backend.peer() as peer:
        session = peer.session
        running, failing, waiting = peer.accepted(edit("hold")), peer.accepted(edit("oom")), peer.accepted()
        peer.say(Cancel(waiting))
        peer.hear(Cancelled)
        peer.vanish()
    backend.executor.release.set()
    wait_until(lambda: state(backend, failing) == "failed")
    with backend.peer(session=session) as peer:
        assert peer.hear(Result).job == running
        failed = peer.hear_any()
        assert isinstance(failed, Failed)
        assert (failed.job, failed.code) == (failing, "out_of_memory")
        assert failed.hint
        peer.say(Acknowledge(running))
        peer.works()
        wait_until(lambda: not backend.store.unclaimed(backend.store.find(failing).owner))  # type: ignore[union-attr]
    with backend.peer(session=session) as peer:
        peer.quiet()


def test_a_failure_that_did_not_arrive_is_told_again(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, send = threading.Event(), Session._send

    async def broken(session: Session, payload: Any) -> None:
        if '"type":"failed"' in str(payload):
            lost.set()
            raise WebSocketDisconnect
        await send(session, payload)

    with monkeypatch.context() as patch, backend.peer() as peer:
        patch.setattr(Session, "_send", broken)
        job = peer.accepted(edit("oom"))
        assert lost.wait(10)
        peer.vanish()
    with backend.peer(session=peer.session) as peer:
        assert peer.hear(Failed).job == job


def test_on_disconnect_cancel_ends_what_is_unfinished(backend: Backend) -> None:
    with backend.peer(on_disconnect="cancel") as peer:
        done = peer.accepted()
        peer.hear(Result)
        running, waiting = peer.accepted(edit("hold")), peer.accepted()
        peer.hear(Progress)
        peer.vanish()
    wait_until(lambda: state(backend, running) == "cancelled" and state(backend, waiting) == "cancelled")
    assert state(backend, done) == "done"


def test_a_server_that_stops_is_no_client_that_has_gone(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack, running(tmp_path) as backend:
        peer = stack.enter_context(backend.peer(on_disconnect="cancel"))
        jobs = [peer.accepted(edit("hold")), peer.accepted()]
    assert backend.executor.ran == jobs[:1], "something was begun while it stopped"
    with running(tmp_path) as backend, backend.peer(session=peer.session) as peer:
        backend.executor.release.set()
        assert [peer.hear(Result).job, peer.hear(Result).job] == jobs


def test_who_comes_back_in_time_keeps_its_jobs(backend: Backend) -> None:
    """The old connection is not known to be dead when the new one comes: it must not take the jobs with it."""
    with backend.peer(on_disconnect="cancel") as old:
        job = old.accepted(edit("hold"))
        with backend.peer(session=old.session, on_disconnect="cancel") as new:
            assert new.session == old.session
            assert old.hear(Failed).code == "not_authorised"
            old.socket.close()
            assert new.hear(Accepted).job == job
            backend.executor.release.set()
            assert new.hear(Result).job == job
