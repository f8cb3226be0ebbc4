"""Worker processes on this machine. Whatever happens to one of them, the server lives and the job gets an answer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from ..editing.plan import Cancelled, DeviceLost
from ..protocol.errors import OutOfMemory, WorkerCrashed
from . import worker
from .shared import discard, new_name, offer, take
from .work import Work

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait sleep, and leave the cores to the artist's programs
    "HF_HUB_OFFLINE": "1",  # nothing leaves the machine, and nothing is waited for (C9)
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class LocalExecutor:
    """Implements work.Executor with `slots` worker processes, each started for its first job or by `warm_up`.

    A process that dies, loses the GPU, or is silent for `hang_after` seconds (loading a model included), is replaced and
    its job tried once more; thriftily where it was ended from outside, as the kernel does when memory runs out. One that
    has not obeyed a cancel after `grace` seconds is ended. `engines`: see worker.main.
    """

    def __init__(
        self,
        engines: str = "scumble.server.engines",
        slots: int = 1,
        hang_after: float = 600.0,
        grace: float = 15.0,
    ) -> None:
        self.slots = slots
        self._grace = grace
        self._closed = False
        self._jobs: dict[str, _Job] = {}
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="scumble-worker")
        self._processes = [_Process(engines, hang_after) for _ in range(slots)]
        self._idle: asyncio.LifoQueue[_Process] = asyncio.LifoQueue()  # the last one used has the model loaded
        for process in reversed(self._processes):
            self._idle.put_nowait(process)

    def warm_up(self) -> None:
        """Starts the processes now, so that the first job need not wait for them."""
        for process in self._processes:
            self._threads.submit(process.start)

    async def rest(self) -> None:
        """Ends the processes that have nothing to do: only that gives back all memory of a GPU."""
        free = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
        try:
            await asyncio.gather(*(asyncio.to_thread(process.end) for process in free))
        finally:
            for process in reversed(free):
                self._idle.put_nowait(process)

    async def run(self, work: Work, on_progress: Callable[[bytes | str], None]) -> bytes:
        loop = asyncio.get_running_loop()
        job = self._jobs[work.job] = _Job(work.job)

        def tell(payload: bytes | str) -> None:
            loop.call_soon_threadsafe(lambda: on_progress(payload) if self._jobs.get(work.job) is job else None)

        try:
            process = await self._idle.get()
            doing = loop.run_in_executor(self._threads, process.do, job, work, tell)
            doing.add_done_callback(lambda _: self._idle.put_nowait(process))
            return await asyncio.shield(doing)
        except asyncio.CancelledError:  # the caller gave up: the process is free once it has stopped
            self.cancel(work.job)
            raise
        except Cancelled:
            if self._closed:
                raise asyncio.CancelledError from None
            raise
        finally:
            del self._jobs[work.job]

    def cancel(self, job: str) -> None:
        running = self._jobs.get(job)
        if running is not None:
            running.cancel()
            asyncio.get_running_loop().call_later(self._grace, running.kill)

    async def close(self) -> None:
        self._closed = True
        for job in self._jobs.values():
            job.cancel()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        for process in self._processes:
            process.close()
        self._threads.shutdown()
        for process in self._processes:
            process.bury()


class _Job:
    """Whether a job is cancelled, and the process that does it: what event loop and worker thread both must know."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cancelled = False
        self._process: _Process | None = None
        self._lock = threading.Lock()

    def begin(self, process: _Process, start: worker.Start) -> None:
        with self._lock:
            if self.cancelled:
                raise Cancelled
            process.send(start)
            self._process = process

    def end(self) -> None:
        with self._lock:
            self._process = None

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            if self._process is not None:
                with contextlib.suppress(OSError):  # a dead process: the thread finds out by itself
                    self._process.send(worker.Stop(self.name))

    def kill(self) -> None:
        """Ends the process if it is still busy with this job."""
        with self._lock:
            if self._process is not None:
                self._process.kill()


class _Died(Exception):
    """The process is gone; the text completes "The process that computes ...". `starved`: memory ran out, it seems."""

    def __init__(self, reason: str, starved: bool) -> None:
        super().__init__(reason)
        self.starved = starved


class _Process:
    """The place of one worker process, and the talk with it. `do` is called from one thread at a time."""

    def __init__(self, engines: str, hang_after: float) -> None:
        self._engines = engines
        self._hang_after = hang_after
        self._lock = threading.Lock()  # over starting and ending
        self._closed = False
        self._process: SpawnProcess | None = None
        self._connection: Connection

    def start(self) -> None:
        """Starts the process unless it lives. Raises Cancelled once closed."""
        with self._lock:
            if self._closed:
                raise Cancelled
            if self._process is not None:
                if self._process.is_alive() and not wait([self._connection], 0):
                    return
                self.bury()  # it died while it had nothing to do: all that it can say now is that its pipe is closed
            context = multiprocessing.get_context("spawn")  # fork would copy the server's threads and locks
            self._connection, theirs = context.Pipe()
            process = context.Process(target=worker.main, args=(theirs, self._engines), daemon=True)
            with theirs, _environment(ENVIRONMENT):
                process.start()
            self._process = process

    def end(self) -> None:
        """Ends the process, which has nothing to do; the next job starts another."""
        with self._lock:
            self.bury()

    def do(self, job: _Job, work: Work, tell: Callable[[bytes | str], None]) -> bytes:
        """The job's Result frame. Raises what the job raised, Cancelled, or after two dead processes WorkerCrashed or
        OutOfMemory."""
        try:
            return self._try(job, work, tell)
        except _Died as death:
            log.warning("Job %s is tried again: the process that computes %s", job.name, death)
            starved = death.starved
        try:
            return self._try(job, work, tell, thrifty=starved)
        except _Died as death:
            error = OutOfMemory if death.starved else WorkerCrashed
            raise error(f"The process that computes {death}, also on a second try.") from None

    def _try(self, job: _Job, work: Work, tell: Callable[[bytes | str], None], thrifty: bool = False) -> bytes:
        submit, result = new_name(), new_name()
        try:
            self.start()
            with offer(submit, work.submit) as parcel:
                job.begin(self, worker.Start(dataclasses.replace(work, submit=b""), parcel, result, thrifty))
                reply = self._receive()  # the first word says that the worker has the frame
            discard(submit)
            while not isinstance(reply, worker.Done):
                if isinstance(reply, worker.Undone):
                    if reply.details:
                        log.error("Job %s failed through %s", job.name, reply.details)
                    raise reply.error
                tell(reply)
                reply = self._receive()
            if job.cancelled:
                raise Cancelled
            return take(reply.result)
        except (EOFError, OSError, DeviceLost) as broken:
            death = self._death(broken)
            job.end()
            self.bury()
            if job.cancelled:
                raise Cancelled from None
            raise death from None
        finally:
            job.end()
            discard(submit)
            discard(result)

    def send(self, command: worker.Start | worker.Stop) -> None:
        self._connection.send(command)

    def _receive(self) -> worker.Reply:
        if not wait([self._connection], self._hang_after):
            raise TimeoutError
        reply: worker.Reply = self._connection.recv()
        return reply

    def _death(self, broken: Exception) -> _Died:
        """Why the process is of no more use."""
        if isinstance(broken, TimeoutError):
            return _Died("stopped answering", False)
        if isinstance(broken, DeviceLost):
            return _Died("has lost the GPU", False)
        if self._process is None:
            return _Died("could not be started", False)
        self._process.join(5)  # it may need a moment to end
        code = self._process.exitcode
        log.warning("A worker process ended with exit code %s", code)
        if code == -9:  # by SIGKILL, as the kernel does when memory runs out
            return _Died("was ended from outside, probably because memory ran out", True)
        return _Died("crashed", False)

    def bury(self) -> None:
        """Makes sure that the process is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
            self._connection.close()

    def kill(self) -> None:
        """Ends the process; whoever talks with it finds out. From any thread."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.kill()


_spawning = threading.Lock()  # there is one environment to inherit


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    with _spawning:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
