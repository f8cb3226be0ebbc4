"""What a client is answered, and what it is told unasked."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from scumble.protocol.errors import DiskFull
from scumble.protocol.frames import MAX_HEADER, decode, encode
from scumble.protocol.messages import (
    Accepted,
    Acknowledge,
    Cancel,
    Cancelled,
    Failed,
    Hello,
    History,
    HistoryEntry,
    HistoryList,
    Looking,
    ModelList,
    Models,
    Progress,
    Queue,
    Result,
    Resume,
    Welcome,
)
from scumble.server.connection import PIECE
from scumble.server.session import Policy

from .harness import (
    CONTROL,
    EMBEDDING,
    FILL,
    INPAINT,
    LORA,
    PIXEL,
    PLAIN,
    REFERENCE,
    TOKEN,
    Backend,
    edit,
    new_job,
    running,
    state,
    wait_until,
)


def test_a_long_first_look_at_the_models_is_told_until_the_welcome(tmp_path: Path) -> None:
    with running(tmp_path, Policy(look_seconds=0.05)) as backend:
        backend.models.is_there.clear()
        backend.models.looked = 7, 3000
        with backend.stranger() as gone:
            gone.say(Hello(1, "test", TOKEN))
            assert gone.hear_any() == Looking(7, 3000)
        with backend.stranger() as peer:
            peer.say(Hello(1, "test", TOKEN))
            assert peer.hear_any() == Looking(7, 3000)
            backend.models.looked = 1234, 3000
            wait_until(lambda: peer.hear_any() == Looking(1234, 3000))
            backend.models.is_there.set()
            wait_until(lambda: isinstance(peer.hear_any(), Welcome))
            peer.works()
        assert [line for line in backend.log if "ERROR" in line] == []


def test_welcome(backend: Backend) -> None:
    with backend.stranger() as peer:
        welcome = peer.hello()
        assert welcome.models == (FILL.info, PLAIN.info, INPAINT.info)
        assert welcome.adapters == (LORA.info, CONTROL.info, EMBEDDING.info, REFERENCE.info)
        assert welcome.limits == backend.policy.limits
        assert "euler" in welcome.samplers
        assert "txt2img" in welcome.modes
        assert welcome.version == 1


def test_an_edit_from_submit_to_acknowledge(backend: Backend) -> None:
    with backend.peer() as peer:
        job = peer.submit(edit("a cat", seed=7))
        accepted = peer.hear_any()
        assert isinstance(accepted, Accepted)
        assert accepted.request == edit("a cat", model="sd-2", seed=7, steps=25, guidance=6.0, sampler="euler")
        assert accepted.position == 0
        heard = [peer.hear_any()]
        while isinstance(heard[-1], Progress):
            heard.append(peer.hear_any())
        result = heard.pop()
        assert isinstance(result, Result)
        assert (result.job, result.request) == (job, accepted.request)
        assert [message.step for message in heard if isinstance(message, Progress)] == sorted(
            message.step for message in heard if isinstance(message, Progress)
        )
        peer.say(Acknowledge(job))
        peer.works()
        assert state(backend, job) == "delivered"


def test_the_result_is_sent_as_it_was_made(backend: Backend) -> None:
    with backend.peer() as peer:
        job = peer.accepted()
        while isinstance(payload := peer.socket.recv(timeout=5), str):
            pass
        assert payload == backend.store.result(job)
        assert decode(payload)[1][0].data == PIXEL


def test_pings_pass_between_the_pieces_of_a_large_result(backend: Backend) -> None:
    with backend.peer() as peer:
        job = peer.accepted(edit("big"))
        pieces: list[Any] = []
        while sum(map(len, pieces)) < 1 << 24:
            pieces = list(peer.socket.recv_streaming())
        assert max(map(len, pieces)) == PIECE
        result = decode(b"".join(pieces))[0]
        assert isinstance(result, Result)
        assert result.job == job


def test_a_message_of_whole_pieces_has_an_end(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    with backend.peer() as peer:
        job = peer.accepted()
        peer.hear(Result)
        monkeypatch.setattr(backend.store, "result", lambda job: bytes(2 * PIECE))
        peer.say(Resume(job))
        assert len(peer.socket.recv(timeout=10)) == 2 * PIECE


def test_a_result_is_on_the_disk_before_it_is_told(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, complete = threading.Event(), backend.store.complete
    monkeypatch.setattr(backend.store, "complete", lambda *arguments: disk.wait(10) and complete(*arguments))
    with backend.peer() as peer:
        job = peer.accepted(edit(steps=2))
        while peer.hear(Progress).step < 2:
            pass
        peer.quiet()
        assert state(backend, job) == "running"
        disk.set()
        assert peer.hear(Result).job == job
        assert state(backend, job) == "done"


def test_a_result_that_cannot_be_kept_is_a_failure(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise DiskFull("There is no space left.")

    monkeypatch.setattr(backend.store, "complete", full)
    with backend.peer() as peer:
        job = peer.accepted()
        failed = peer.hear(Failed)
        assert (failed.job, failed.code) == (job, "disk_full")
        assert state(backend, job) == "failed"
        peer.quiet()


def test_models_are_listed(backend: Backend) -> None:
    with backend.peer() as peer:
        peer.say(Models(refresh=True))
        assert peer.hear(ModelList).models == (FILL.info, PLAIN.info, INPAINT.info)


def test_what_comes_and_goes_is_told_without_being_asked(tmp_path: Path) -> None:
    with running(tmp_path, Policy(watch_seconds=0.02)) as backend, backend.peer() as peer, backend.peer() as other:
        backend.models.models = (FILL,)
        assert peer.hear(ModelList).models == other.hear(ModelList).models == (FILL.info,)
        peer.quiet()  # nothing has changed since
        backend.models.models = (FILL, PLAIN)
        assert peer.hear(ModelList).models == (FILL.info, PLAIN.info)
        peer.say(Models())
        assert peer.hear(ModelList).models == (FILL.info, PLAIN.info)
        peer.quiet()


def test_the_memory_of_models_is_given_back_once_nobody_is_there(tmp_path: Path) -> None:
    with running(tmp_path, Policy(watch_seconds=0.01, rest_seconds=0.1)) as backend:
        executor = backend.executor
        wait_until(lambda: executor.rested == 1)
        with backend.peer() as peer:
            assert executor.warmed == 1
            job = peer.accepted(edit("hold"))
            time.sleep(0.3)
            assert executor.rested == 1
        time.sleep(0.3)
        assert executor.rested == 1  # nobody listens, but something is being done
        executor.release.set()
        wait_until(lambda: executor.rested == 2)
        time.sleep(0.3)
        assert executor.rested == 2
        with backend.peer(session=peer.session) as again:
            assert again.hear(Result).job == job
            assert executor.warmed == 2


def test_submitting_again_tells_the_state_and_runs_once(backend: Backend) -> None:
    with backend.peer() as peer:
        job = peer.accepted(edit("hold"))
        peer.submit(edit("hold"), job)
        assert peer.hear(Accepted).job == job
        backend.executor.release.set()
        peer.hear(Result)
        peer.submit(edit("hold"), job)
        assert peer.hear(Result).job == job
        peer.say(Acknowledge(job))
        peer.submit(edit("other", mode="fill"), job)
        assert peer.hear(Result).job == job
        assert backend.executor.ran.count(job) == 1


def test_positions_are_told_when_they_change(backend: Backend) -> None:
    with backend.peer() as ann, backend.peer() as bob:
        first = ann.accepted(edit("hold"))
        ann.submit()
        second = ann.hear(Accepted)
        bob.submit()
        third = bob.hear(Accepted)
        assert (second.position, third.position) == (1, 1)  # bob's turn comes before ann's second
        assert ann.hear(Queue).positions == {first: 0, second.job: 2}
        backend.executor.release.set()
        assert ann.hear(Result).job == first
        assert ann.hear(Result).job == second.job
        assert bob.hear(Result).job == third.job


def test_sessions_take_turns(backend: Backend) -> None:
    with backend.peer() as ann, backend.peer() as bob:
        jobs = [ann.accepted(edit("hold"))] + [ann.accepted() for _ in range(2)]
        jobs.insert(1, bob.accepted())
        backend.executor.release.set()
        for _ in range(3):
            ann.hear(Result)
        bob.hear(Result)
        assert backend.executor.ran[-4:] == jobs


def test_priorities(backend: Backend) -> None:
    with backend.peer() as peer:
        jobs = [peer.accepted(edit("hold"))]
        low, high = peer.accepted(priority=-1), peer.accepted(priority=3)
        backend.executor.release.set()
        for _ in range(3):
            peer.hear(Result)
        assert backend.executor.ran[-3:] == [*jobs, high, low]


# ---- cancel ----------------------------------------------------------------------------------------------------------


def test_cancel_of_a_waiting_job_is_immediate(backend: Backend) -> None:
    with backend.peer() as peer:
        peer.accepted(edit("hold"))
        waiting = peer.accepted()
        peer.say(Cancel(waiting))
        assert peer.hear(Cancelled).job == waiting
        assert state(backend, waiting) == "cancelled"
        backend.executor.release.set()
        peer.hear(Result)
        assert waiting not in backend.executor.ran


def test_cancel_of_a_running_job_frees_the_queue(backend: Backend) -> None:
    with backend.peer() as peer:
        job = peer.accepted(edit("hold"))
        peer.hear(Progress)
        following = peer.accepted()
        peer.say(Cancel(job))
        assert peer.hear(Cancelled).job == job
        assert peer.hear(Result).job == following
        assert state(backend, job) == "cancelled"
        peer.say(Cancel(job))
        assert peer.hear(Cancelled).job == job


def test_cancel_at_once_after_submit(backend: Backend) -> None:
    with backend.peer() as peer:
        job = peer.submit(edit("hold"))
        peer.say(Cancel(job))
        assert peer.hear(Cancelled).job == job


def test_cancel_of_a_job_that_is_just_being_begun(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, may_begin, begin = threading.Event(), threading.Event(), backend.store.begin

    def slow_begin(job: str) -> Any:
        reads.set()
        assert may_begin.wait(10)
        return begin(job)

    monkeypatch.setattr(backend.store, "begin", slow_begin)
    with backend.peer() as peer:
        job = peer.submit()
        assert reads.wait(10)
        peer.say(Cancel(job))
        peer.works()
        may_begin.set()
        assert peer.hear(Cancelled).job == job
        assert job not in backend.executor.ran


def test_cancel_of_a_finished_job_gives_its_result(backend: Backend) -> None:
    with backend.peer() as peer:
        job = peer.accepted()
        peer.hear(Result)
        peer.say(Cancel(job))
        assert peer.hear(Result).job == job


# ---- whose jobs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [Cancel, Resume, Acknowledge])
def test_a_client_touches_only_its_own_jobs(backend: Backend, ask: type) -> None:
    with backend.peer() as ann, backend.peer() as eve:
        job = ann.accepted(edit("hold"))
        answers = []
        for name in (job, new_job(), "../../token", "\0"):
            eve.say(ask(name))
            answers.append(eve.hear_any())
        assert all(isinstance(answer, Failed) and answer.code == "not_authorised" for answer in answers)
        assert len({(answer.message, answer.hint) for answer in answers}) == 1  # it does not tell whether there is one
        eve.submit(edit("mine"), job)
        stolen = eve.hear_any()
        assert isinstance(stolen, Failed)
        assert (stolen.code, stolen.job) == ("not_authorised", job)
        backend.executor.release.set()
        assert ann.hear(Result).request.prompt == "hold"
        eve.say(History())
        assert eve.hear(HistoryList).entries == ()


def test_history(backend: Backend) -> None:
    with backend.peer() as peer:
        jobs = []
        for prompt in ("one", "two", "three"):
            jobs.append(peer.accepted(edit(prompt)))
            peer.hear(Result)
        peer.say(Acknowledge(jobs[0]))
        peer.say(History(limit=2))
        newest = peer.hear(HistoryList).entries
        assert [(entry.job, entry.state) for entry in newest] == [(jobs[2], "done"), (jobs[1], "done")]
        peer.say(History(before=newest[-1].created))
        (oldest,) = peer.hear(HistoryList).entries
        assert (oldest.job, oldest.state, oldest.request.prompt) == (jobs[0], "delivered", "one")


def test_a_long_history_comes_in_parts_that_fit_a_message(tmp_path: Path) -> None:
    with running(tmp_path) as backend, backend.peer() as peer:
        jobs = {peer.accepted(edit("hold " + "€" * 7900)) for _ in range(48)}
        backend.executor.release.set()
        entries: list[HistoryEntry] = []
        while True:
            peer.say(History(limit=1000, before=entries[-1].created if entries else None))
            part = peer.hear(HistoryList).entries
            if not part:
                break
            assert len(str(encode(HistoryList(part))).encode()) <= MAX_HEADER
            entries += part
        assert len(entries) == 48
        assert {entry.job for entry in entries} == jobs


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_too_many_waiting_jobs(backend: Backend) -> None:
    with backend.peer() as peer, backend.peer() as other:
        for _ in range(5):
            peer.accepted(edit("hold"))
        peer.submit()
        message = peer.hear(Failed)
        assert message.code == "too_large"
        other.accepted()
        backend.executor.release.set()
        for _ in range(5):
            peer.hear(Result)
        peer.accepted()


def test_defects_are_named_but_not_described(backend: Backend) -> None:
    with backend.peer() as peer:
        peer.accepted(edit("bug in /home/ann/secret.png"))
        message = peer.hear(Failed)
        assert message.code == "internal"
        told = message.message + message.hint + "".join(backend.log)
        assert "secret" not in told
        assert TOKEN not in told
        assert any("ValueError at harness.py" in line for line in backend.log)


def test_missing_model_says_what_to_do(backend: Backend) -> None:
    installed = backend.models.models
    backend.models.models = (FILL,)
    try:
        with backend.peer() as peer:
            job = peer.submit(edit("a cat"))
            failed = peer.hear_any()
            assert isinstance(failed, Failed)
            assert (failed.code, failed.job) == ("model_missing", job)
            assert state(backend, job) is None
    finally:
        backend.models.models = installed


def test_a_model_that_has_just_come_is_looked_for(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.models, "list", lambda refresh=False: (FILL, PLAIN) if refresh else (FILL,))
    with backend.peer() as peer:
        peer.accepted(edit("a cat"))
        assert peer.hear(Result).request.model == PLAIN.info.id


def test_a_model_that_goes_away_while_the_job_waits(backend: Backend) -> None:
    installed = backend.models.models
    try:
        with backend.peer() as peer:
            first, second = peer.accepted(edit("hold", model="sd-1")), peer.accepted(edit("cat", model="sd-2"))
            peer.hear(Progress)
            backend.models.models = (FILL, PLAIN)
            backend.executor.release.set()
            assert peer.hear(Result).job == first
            failed = peer.hear(Failed)
            assert (failed.job, failed.code) == (second, "model_missing")
    finally:
        backend.models.models = installed


def test_two_slots_work_at_once(tmp_path: Path) -> None:
    with running(tmp_path, slots=2) as backend, backend.peer() as peer:
        held = peer.accepted(edit("hold"))
        assert [peer.hear(Result).job for _ in [peer.accepted() for _ in range(3)]]
        backend.executor.release.set()
        assert peer.hear(Result).job == held
