"""What is on the disk, and what is still there after the process was killed at the worst moment."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scumble.protocol.errors import DiskFull, OutOfMemory
from scumble.protocol.frames import decode
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest, Submit
from scumble.server import durable
from scumble.server.jobs import UNCLAIMED_SECONDS, AlreadyThere, JobStore

from .harness import buffers_of, edit, new_job


class Kept(JobStore):
    """A store with shorter words for tests."""

    def put(self, owner: str = "ann", prompt: str = "", created: float | None = None) -> str:
        request = edit(prompt)
        submit = Submit(new_job(), request)
        self.add(owner, submit, buffers_of(request), time.time() if created is None else created)
        return submit.job

    def done(self, owner: str = "ann", result: bytes = b"result") -> str:
        job = self.put(owner)
        self.begin(job)
        self.complete(job, result)
        return job

    def state(self, job: str) -> str | None:
        found = self.find(job)
        return found.state if found else None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def store(folder: Path) -> Iterator[Kept]:
    store = Kept(folder)
    yield store
    store.close()


def files(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if not name.startswith("jobs.sqlite")}


def reopened(store: Kept, folder: Path) -> Kept:
    store.close()
    return Kept(folder)


def test_a_jobs_way(store: Kept, folder: Path) -> None:
    job = store.put(prompt="a cat")
    assert store.state(job) == "queued"
    found, frame = store.begin(job)
    submit, buffers = decode(frame)
    assert isinstance(submit, Submit)
    assert submit.request == found.request == edit("a cat")
    assert list(buffers) == buffers_of(found.request)
    assert store.state(job) == "running"
    store.complete(job, b"frame")
    assert store.state(job) == "done"
    assert store.result(job) == b"frame"
    assert files(folder) == {f"{job}.result"}
    assert store.unclaimed("ann") == [job]
    store.claim(job)
    assert store.state(job) == "delivered"
    assert store.unclaimed("ann") == []
    assert store.result(job) == b"frame"


def test_failed_and_cancelled_jobs_leave_no_pixels(store: Kept, folder: Path) -> None:
    failed, cancelled = store.put(), store.put()
    store.begin(failed)
    store.fail(failed, OutOfMemory("Too big.", "Smaller."))
    store.cancel(cancelled)
    assert files(folder) == set()
    found = store.find(failed)
    assert found is not None
    assert isinstance(found.error, OutOfMemory)
    assert (found.state, found.error.message, found.error.hint) == ("failed", "Too big.", "Smaller.")
    assert store.unclaimed("ann") == [failed, cancelled]
    store.claim(failed)
    assert store.state(failed) == "failed"
    assert store.unclaimed("ann") == [cancelled]


def test_a_job_whose_result_could_not_be_written_down_leaves_nothing(store: Kept, folder: Path) -> None:
    job = store.put()
    store.begin(job)
    (folder / f"{job}.result").write_bytes(b"the row did not fit any more")
    store.fail(job, DiskFull("Full."))
    assert files(folder) == set()


def test_claiming_an_unfinished_job_does_nothing(store: Kept) -> None:
    job = store.put()
    store.claim(job)
    assert store.state(job) == "queued"
    assert store.unclaimed("ann") == [job]


def test_the_same_id_again_leaves_the_first_untouched(store: Kept, folder: Path) -> None:
    job = store.put("ann", "a cat")
    before = (folder / f"{job}.submit").read_bytes()
    for owner in ("ann", "bob"):
        with pytest.raises(AlreadyThere):
            store.add(owner, Submit(job, edit("a dog")), buffers_of(edit("a dog")), 1.0)
    assert (folder / f"{job}.submit").read_bytes() == before
    assert files(folder) == {f"{job}.submit"}


def test_history_is_of_one_owner_and_newest_first(store: Kept) -> None:
    jobs = [store.put("ann", created=float(moment)) for moment in (1, 2, 3)]
    store.put("bob", created=2.5)
    assert [job.id for job in store.history("ann", 50, None)] == jobs[::-1]
    assert [job.id for job in store.history("ann", 1, None)] == jobs[2:]
    assert [job.id for job in store.history("ann", 50, 3.0)] == [jobs[1], jobs[0]]
    assert store.knows("bob")
    assert not store.knows("eve")


# ---- after a restart -------------------------------------------------------------------------------------------------


def test_everything_is_there_after_a_restart(store: Kept, folder: Path) -> None:
    queued, running, done = store.put(), store.put(), store.done()
    store.begin(running)
    again = reopened(store, folder)
    assert [job.id for job in again.recover()] == [queued, running]
    assert again.state(running) == "queued"
    assert again.result(done) == b"result"
    assert decode(again.begin(queued)[1])[0].job == queued  # type: ignore[union-attr]
    again.close()


def test_a_job_that_killed_the_backend_twice_is_given_up(store: Kept, folder: Path) -> None:
    job = store.put()
    for _ in range(2):
        store.begin(job)
        store = reopened(store, folder)
        waiting = store.recover()
    assert waiting == []
    found = store.find(job)
    assert found is not None
    assert (found.state, found.error and found.error.code) == ("failed", "worker_crashed")
    assert files(folder) == set()
    store.close()


def test_an_orderly_stop_is_no_attempt(store: Kept, folder: Path) -> None:
    job = store.put()
    for _ in range(5):
        store.begin(job)
        store.put_back(job)
        store = reopened(store, folder)
        assert [waiting.id for waiting in store.recover()] == [job]
    store.close()


def test_killed_between_result_and_row(store: Kept, folder: Path) -> None:
    job = store.put()
    store.begin(job)
    (folder / f"{job}.result").write_bytes(b"complete, as it was renamed")
    assert store.recover() == []
    assert store.state(job) == "done"
    assert files(folder) == {f"{job}.result"}


def test_what_a_killed_process_left_is_removed(store: Kept, folder: Path) -> None:
    done, queued = store.done(), store.put()
    for name in ("0123.part", f"{new_job()}.submit", f"{new_job()}.result", f"{done}.submit"):
        (folder / name).write_bytes(b"left")
    store.recover()
    assert files(folder) == {f"{done}.result", f"{queued}.submit"}


def test_a_job_whose_pixels_are_gone_fails(store: Kept, folder: Path) -> None:
    job = store.put()
    (folder / f"{job}.submit").unlink()
    assert store.recover() == []
    assert store.state(job) == "failed"


def test_files_are_synced_before_they_are_promised(store: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that makes a power cut harmless: pixels, then their name, then the row."""
    events: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        events.append("sync folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "sync file")
        real_fsync(descriptor)

    def replace(source: Any, target: Any) -> None:
        events.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    job = store.put()
    assert [event.split()[0] for event in events] == ["sync", "rename", "sync"]
    assert store.state(job) == "queued"
    events.clear()
    store.complete(job, b"result")
    assert [event.split()[0] for event in events] == ["sync", "rename", "sync"]


def test_a_commit_is_on_the_disk_when_it_returns(store: Kept) -> None:
    assert store._database.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert store._database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


# ---- bounds ----------------------------------------------------------------------------------------------------------


def test_the_history_forgets_the_oldest_delivered_first(folder: Path) -> None:
    store = Kept(folder, history_bytes=10_000)
    old = [store.done(result=bytes(3000)) for _ in range(3)]
    for job in old:
        store.claim(job)
    assert store.state(old[0]) is None
    assert [store.state(job) for job in old[1:]] == ["delivered", "delivered"]
    assert files(folder) == {f"{job}.result" for job in old[1:]}
    store.close()


def test_unclaimed_and_unfinished_jobs_are_not_forgotten(folder: Path) -> None:
    store = Kept(folder, history_bytes=10_000)
    done, queued = store.done("bob", bytes(9000)), store.put("bob")
    for _ in range(5):
        store.claim(store.done("ann", bytes(9000)))
    assert (store.state(done), store.state(queued)) == ("done", "queued")
    store.close()


def test_who_never_fetches_results_gets_no_more_jobs(folder: Path) -> None:
    store = Kept(folder, history_bytes=10_000)
    jobs = [store.done("ann", bytes(6000)) for _ in range(2)]
    with pytest.raises(DiskFull, match="fetched"):
        store.put("ann")
    assert files(folder) == {f"{job}.result" for job in jobs}
    store.put("bob")
    store.claim(jobs[0])
    store.put("ann")
    store.close()


def test_a_refused_job_that_is_there_already_keeps_its_pixels(folder: Path) -> None:
    store = Kept(folder, history_bytes=10_000)
    job = store.put("ann")
    for _ in range(2):
        store.done("ann", bytes(6000))
    with pytest.raises(DiskFull, match="fetched"):
        store.add("ann", Submit(job, edit()), buffers_of(edit()), 1.0)
    assert decode(store.begin(job)[1])[0].job == job  # type: ignore[union-attr]
    store.close()


def test_results_that_nobody_fetched_for_a_month_go(store: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    job, later = store.done(), time.time() + UNCLAIMED_SECONDS + 1
    store.trim()
    assert store.state(job) == "done"
    monkeypatch.setattr(time, "time", lambda: later)
    store.trim()
    assert store.state(job) is None


# ---- a full disk -----------------------------------------------------------------------------------------------------


def no_space(*_: Any, code: int = errno.ENOSPC) -> None:
    raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_at_submit_leaves_nothing(
    store: Kept, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(durable.os, call, partial(no_space, code=code))
        with pytest.raises(DiskFull):
            store.put()
    assert files(folder) == set()
    assert store.history("ann", 10, None) == []
    assert store.state(store.put()) == "queued"


def test_full_database_at_submit_leaves_nothing(store: Kept, folder: Path) -> None:
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull):  # noqa: PT012
        for _ in range(100):
            store.put(prompt="x" * 2000)
    assert len(files(folder)) == len(store.history("ann", 1000, None))
    store._database.execute("PRAGMA max_page_count = 100000")
    assert store.state(store.put()) == "queued"


def test_full_disk_at_a_large_result_keeps_the_job(store: Kept, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = store.put()
    store.begin(job)
    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fsync", no_space)
        with pytest.raises(DiskFull):
            store.complete(job, bytes(10_000))
    assert store.state(job) == "running"
    assert files(folder) == {f"{job}.submit"}


def test_other_trouble_is_not_called_a_full_disk(store: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fsync", broken)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            store.put()
    with pytest.raises(sqlite3.OperationalError), store._transaction() as database:
        database.execute("SELECT nonsense")


def test_a_virus_scanner_does_not_cost_a_result(store: Kept, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where nothing can be done to a file for as long as somebody looks at it."""
    looks = iter([True, True])

    def looked_at(do: Any) -> Any:
        def act(*arguments: Any, **named: Any) -> None:
            if next(looks, False):
                error = PermissionError(errno.EACCES, "Access is denied")
                error.winerror = 5  # type: ignore[attr-defined, unused-ignore]
                raise error
            do(*arguments, **named)

        return act

    job = store.put()
    store.begin(job)
    monkeypatch.setattr(os, "replace", looked_at(os.replace))
    monkeypatch.setattr(Path, "unlink", looked_at(Path.unlink))
    store.complete(job, b"result")
    assert store.state(job) == "done"
    assert files(folder) == {f"{job}.result"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("A small disk cannot be mounted here (needs root).")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # a test that failed may hold files open


def test_a_really_full_disk(small_disk: Path) -> None:
    """Nothing half-written, and all is well again once there is space."""
    ballast = small_disk / "something else"
    ballast.write_bytes(bytes(500_000))
    store = Kept(small_disk / "jobs")
    kept = [store.put(prompt="x" * 5000)]
    with pytest.raises(DiskFull):  # noqa: PT012
        for _ in range(1000):
            kept.append(store.put(prompt="x" * 5000))
    assert len(kept) > 3
    assert files(small_disk / "jobs") == {f"{job}.submit" for job in kept}
    with pytest.raises(DiskFull):
        store.complete(kept[0], bytes(1 << 20))
    store.close()
    store = Kept(small_disk / "jobs")
    assert [job.id for job in store.recover()] == kept
    ballast.unlink()
    store.complete(kept[0], b"result")
    for job in kept[1:]:
        store.cancel(job)
    assert store.result(kept[0]) == b"result"
    assert store.state(store.put()) == "queued"
    store.close()


def test_a_jobs_own_pixels_make_room_for_its_result(small_disk: Path) -> None:
    store, job = Kept(small_disk / "jobs"), new_job()
    request = EditRequest("img2img", Size(100, 100), Bounds(0, 0, 100, 100))
    store.add("ann", Submit(job, request), buffers_of(request), time.time())
    store.begin(job)
    with (small_disk / "something else").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    assert shutil.disk_usage(small_disk).free == 0
    store.complete(job, b"pixels" * 3000)
    assert store.state(job) == "done"
    assert store.result(job) == b"pixels" * 3000
    store.close()
