"""Jobs that outlive the process: a row for each in SQLite, its pixels in files beside it.

From `add` on a job is on the disk for good, and so is a result from `complete` on (C4). What is where:

  jobs.sqlite       states, owners, requests, errors
  <job>.submit      the Submit frame, from `add` until the job is over
  <job>.result      the Result frame as it is sent, from `complete` until the history forgets it

Bounds: jobs whose outcome the client has got are the history; the oldest are forgotten once all of them together take more
than `history_bytes`. A result that nobody has fetched is kept for UNCLAIMED_SECONDS, whatever its size; an owner whose
unfetched results take more than `history_bytes` gets no new jobs until some are fetched.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ..protocol.errors import DiskFull, Internal, ScumbleError, WorkerCrashed, error_from_code
from ..protocol.frames import encode
from ..protocol.messages import Buffer, EditRequest, State, Submit
from ..protocol.schema import from_json, to_json
from .durable import TEMPORARY, disk_full_named, remove, rename, sync_folder, written

HISTORY_BYTES = 2 << 30
UNCLAIMED_SECONDS = 30 * 86400.0
MAX_ATTEMPTS = 2
"""A job during which the whole backend died this often is not tried again."""
SCHEMA_VERSION = 1
_ROW_BYTES = 512
_SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival
    job TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created REAL NOT NULL,                     -- seconds since 1970
    finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0,       -- how often it was begun
    claimed INTEGER NOT NULL DEFAULT 0,        -- 1: the client has got the outcome
    bytes INTEGER NOT NULL,                    -- that it takes in the history
    request TEXT NOT NULL,
    code TEXT, message TEXT, hint TEXT         -- of its error
);
CREATE INDEX by_owner ON jobs (owner, created);
"""


@dataclass(frozen=True)
class Job:
    """What is written down of a job. `error` only when it failed."""

    id: str
    owner: str
    state: State
    priority: int
    created: float
    claimed: bool
    request: EditRequest
    error: ScumbleError | None = None


class AlreadyThere(Exception):
    """A job of this id is already written down."""


class JobStore:
    """Blocking, and safe to call from several threads at once."""

    def __init__(self, folder: Path, history_bytes: int = HISTORY_BYTES) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._history_bytes = history_bytes
        self._lock = threading.Lock()
        with disk_full_named():
            self._database = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None, check_same_thread=False)
            self._database.row_factory = sqlite3.Row
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
            self._prepare()

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            sync_folder(self._folder)
        elif version != SCHEMA_VERSION:
            raise Internal("The stored jobs were written by another version of Scumble.", "Update Scumble.")

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, disk_full_named():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite has rolled back by itself where the disk is full
                    self._database.execute("ROLLBACK")
                raise

    # ---- a job's way -------------------------------------------------------------------------------------------------

    def add(self, owner: str, submit: Submit, buffers: Sequence[Buffer], created: float) -> None:
        """Writes the job down, state queued. Raises AlreadyThere, DiskFull (then nothing of it is left)."""
        frame = cast(bytes, encode(submit, buffers))
        request = json.dumps(to_json(submit.request), ensure_ascii=False)
        target = self._submit(submit.job)
        ours = False
        with written(self._folder, frame) as file:
            try:
                with self._transaction() as database:
                    self._check_unclaimed(database, owner)
                    database.execute(
                        "INSERT INTO jobs (job, owner, state, priority, created, bytes, request) VALUES (?,?,?,?,?,?,?)",
                        (submit.job, owner, "queued", submit.priority, created, len(request) + _ROW_BYTES, request),
                    )
                    ours = True
                    rename(file, target)  # before the commit: no job without its pixels
            except sqlite3.IntegrityError:
                raise AlreadyThere from None
            except BaseException:
                if ours:
                    remove(target)
                raise

    def _check_unclaimed(self, database: sqlite3.Connection, owner: str) -> None:
        (held,) = database.execute(
            "SELECT COALESCE(SUM(bytes), 0) FROM jobs WHERE owner = ? AND state = 'done'", (owner,)
        ).fetchone()
        if held > self._history_bytes:
            raise DiskFull("Too many finished results wait to be fetched.", "Insert or discard them first.")

    def begin(self, job: str) -> tuple[Job, bytes]:
        """The job runs from now on; returns it and its Submit frame."""
        with self._transaction() as database:
            row = database.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1 WHERE job = ? RETURNING *", (job,)
            ).fetchone()
        return _job(row), self._submit(job).read_bytes()

    def put_back(self, job: str) -> None:
        """The job was interrupted and waits again; this attempt does not count."""
        with self._transaction() as database:
            database.execute("UPDATE jobs SET state = 'queued', attempts = attempts - 1 WHERE job = ?", (job,))

    def complete(self, job: str, result: bytes) -> None:
        """The job is done, its Result frame kept. Raises DiskFull; then the job is as it was, or its pixels are gone."""
        try:
            self._keep(job, result)
        except DiskFull:
            # Its own pixels can make the room: minutes of painting are worth more than being able to begin again.
            if self._submit(job).stat().st_size < len(result):
                raise
            remove(self._submit(job))
            self._keep(job, result)
        self._done(job, len(result))

    def _keep(self, job: str, result: bytes) -> None:
        with written(self._folder, result) as file:
            rename(file, self._result(job))

    def _done(self, job: str, size: int) -> None:
        # Pixels first: they may make the room for the row. After a crash in between, `recover` knows the job by its result.
        remove(self._submit(job))
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET state = 'done', finished = ?, bytes = bytes + ? WHERE job = ?",
                (time.time(), size, job),
            )

    def fail(self, job: str, error: ScumbleError) -> None:
        self._end(job, "failed", (error.code, error.message, error.hint))

    def cancel(self, job: str) -> None:
        self._end(job, "cancelled", (None, None, None))

    def _end(self, job: str, state: State, error: tuple[str | None, str | None, str | None]) -> None:
        # Pixels first: on a full disk that makes the room for the row. What a crash in between leaves, `recover` mends.
        remove(self._submit(job))
        remove(self._result(job))
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET state = ?, finished = ?, code = ?, message = ?, hint = ? WHERE job = ?",
                (state, time.time(), *error, job),
            )

    def claim(self, job: str) -> None:
        """The client has got the outcome: done becomes delivered, and the job part of the history."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET claimed = 1, state = IIF(state = 'done', 'delivered', state)"
                " WHERE job = ? AND finished IS NOT NULL",
                (job,),
            )
        self.trim()

    # ---- questions ---------------------------------------------------------------------------------------------------

    def find(self, job: str) -> Job | None:
        with self._lock:
            row = self._database.execute("SELECT * FROM jobs WHERE job = ?", (job,)).fetchone()
        return None if row is None else _job(row)

    def result(self, job: str) -> bytes:
        """The Result frame of a job that is done or delivered."""
        return self._result(job).read_bytes()

    def unclaimed(self, owner: str) -> list[str]:
        """The owner's jobs whose outcome has not reached the client, in order of arrival."""
        with self._lock:
            rows = self._database.execute(
                "SELECT job FROM jobs WHERE owner = ? AND claimed = 0 ORDER BY number", (owner,)
            ).fetchall()
        return [row["job"] for row in rows]

    def knows(self, owner: str) -> bool:
        with self._lock:
            row = self._database.execute("SELECT 1 FROM jobs WHERE owner = ? LIMIT 1", (owner,)).fetchone()
        return row is not None

    def history(self, owner: str, limit: int, before: float | None) -> list[Job]:
        """The owner's jobs, newest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT * FROM jobs WHERE owner = ? AND created < ? ORDER BY created DESC, number DESC LIMIT ?",
                (owner, 1e300 if before is None else before, limit),
            ).fetchall()
        return [_job(row) for row in rows]

    # ---- keeping house -----------------------------------------------------------------------------------------------

    def recover(self) -> list[Job]:
        """Mends what a killed process has left; returns the jobs that wait, in order of arrival. Called once, at start."""
        with self._lock:
            rows = self._database.execute("SELECT * FROM jobs WHERE finished IS NULL ORDER BY number").fetchall()
        waiting: list[Job] = []
        for row in rows:
            job = _job(row)
            if self._result(job.id).exists():  # killed between the file and the row
                self._done(job.id, self._result(job.id).stat().st_size)
            elif not self._submit(job.id).exists():
                self.fail(job.id, Internal("The job was interrupted and could not be taken up again."))
            elif job.state == "running" and row["attempts"] >= MAX_ATTEMPTS:
                self.fail(job.id, WorkerCrashed("The backend ended twice during this job."))
            else:
                waiting.append(replace(job, state="queued"))
        with self._transaction() as database:
            database.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")
        self.trim()
        self._remove_orphans()
        return waiting

    def _remove_orphans(self) -> None:
        with self._lock:
            rows = self._database.execute("SELECT job, finished FROM jobs").fetchall()
        wanted = {(self._submit if row["finished"] is None else self._result)(row["job"]) for row in rows}
        for entry in os.scandir(self._folder):
            path = self._folder / entry.name
            if path.suffix in (".submit", ".result", TEMPORARY) and path not in wanted:
                remove(path)

    def trim(self) -> None:
        """Forgets what goes beyond the bounds of the history (see above)."""
        with self._transaction() as database:
            rows = database.execute(
                "SELECT job FROM (SELECT job, SUM(bytes) OVER (ORDER BY finished DESC, number DESC) AS total"
                " FROM jobs WHERE claimed = 1) WHERE total > ?"
                " UNION ALL SELECT job FROM jobs WHERE claimed = 0 AND finished < ?",
                (self._history_bytes, time.time() - UNCLAIMED_SECONDS),
            ).fetchall()
            database.executemany("DELETE FROM jobs WHERE job = ?", [(row["job"],) for row in rows])
        for row in rows:
            remove(self._result(row["job"]))

    def _submit(self, job: str) -> Path:
        return self._folder / f"{job}.submit"

    def _result(self, job: str) -> Path:
        return self._folder / f"{job}.result"


def _job(row: sqlite3.Row) -> Job:
    error = error_from_code(row["code"], row["message"], row["hint"]) if row["code"] else None
    request = from_json(EditRequest, json.loads(row["request"]), "request")
    return Job(
        row["job"], row["owner"], row["state"], row["priority"], row["created"], bool(row["claimed"]), request, error
    )
