"""Takes jobs in, has them done in order, and tells their owners. Runs on the event loop; disk work runs beside it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ..editing.adapters import Adapter
from ..editing.plan import Cancelled
from ..home import Home
from ..protocol import messages
from ..protocol.errors import Internal, ModelMissing, NotAuthorised, ScumbleError, TooLarge
from ..protocol.frames import encode
from ..protocol.messages import Accepted, Buffer, Failed, Looking, ModelList, Submit
from .job_queue import JobQueue, Waiting
from .jobs import AlreadyThere, Job, JobStore
from .outbox import Payload
from .redact import where
from .resolve import complete, listed
from .work import Executor, Work

if TYPE_CHECKING:
    from ..models.store import ModelFile

log = logging.getLogger(__name__)


class Models(Protocol):
    """What the server needs of models.store.ModelStore; may block."""

    @property
    def looked(self) -> tuple[int, int]: ...

    def list(self, refresh: bool = False) -> tuple[ModelFile, ...]: ...

    def adapters(self) -> tuple[Adapter, ...]: ...

    def get(self, id: str) -> ModelFile: ...


class Listener(Protocol):
    """The connection of an owner. Must not block."""

    def accepted(self, message: Accepted) -> None: ...

    def progress(self, job: str, payload: Payload) -> None: ...

    def outcome(self, job: str, result: bytes | None = None) -> None:
        """The job is over and written down: `Dispatcher.answer` says how. `result` is that answer, where it is at hand."""

    def failed(self, job: str, error: ScumbleError) -> None:
        """The job is over, and even that could not be written down."""

    def positions(self, positions: dict[str, int]) -> None: ...

    def models(self, message: ModelList) -> None:
        """What there is now, whether or not that is news."""

    def replaced(self) -> None:
        """Another connection of the same owner listens from now on."""


class Dispatcher:
    """An owner is whoever may see a job: a session, by the hash of its secret id. `watch_seconds`, `rest_seconds`: see
    session.Policy."""

    def __init__(
        self,
        store: JobStore,
        models: Models,
        executor: Executor,
        home: Home,
        max_queued: int,
        watch_seconds: float,
        rest_seconds: float,
    ) -> None:
        self._store = store
        self._watch_seconds = watch_seconds
        self._rest_seconds = rest_seconds
        self._needed = time.monotonic()
        self._rests = False
        self._watching: asyncio.Task[None] | None = None
        self._models = models
        self._executor = executor
        self._home = home
        self._max_queued = max_queued
        self._queue = JobQueue()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._owners: dict[str, str] = {}
        self._cancelled: set[str] = set()
        self._listeners: dict[str, Listener] = {}
        self._stopping = False

    async def start(self) -> None:
        """Takes up what an earlier process has left."""
        for job in await asyncio.to_thread(self._store.recover):
            self._owners[job.id] = job.owner
            self._queue.push(Waiting(job.id, job.owner, job.priority))
        self._pump()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Ends the executor; jobs under way wait for the next start."""
        self._stopping = True
        if self._watching is not None:
            self._watching.cancel()
        await self._executor.close()
        if self._running:
            await asyncio.wait(self._running.values())

    # ---- who listens -------------------------------------------------------------------------------------------------

    def attach(self, owner: str, listener: Listener) -> None:
        before = self._listeners.get(owner)
        self._listeners[owner] = listener
        if self._rests:
            self._rests = False
            self._executor.warm_up()
        if before is not None:
            before.replaced()

    def detach(self, owner: str, listener: Listener) -> bool:
        """False when another connection has taken its place."""
        if self._listeners.get(owner) is not listener:
            return False
        del self._listeners[owner]
        return True

    async def knows(self, owner: str) -> bool:
        return owner in self._listeners or await asyncio.to_thread(self._store.knows, owner)

    # ---- what clients ask --------------------------------------------------------------------------------------------

    async def submit(self, owner: str, submit: Submit, buffers: Sequence[Buffer]) -> None:
        """Takes the job in and tells the owner's listener; of a job that is there already, its state.

        Raises ScumbleError; then nothing of the job is kept.
        """
        if await asyncio.to_thread(self._store.find, submit.job) is None:
            if sum(one == owner for one in self._owners.values()) >= self._max_queued:
                raise TooLarge(f"{self._max_queued} jobs wait already.", "Wait until some are done, or cancel them.")
            try:
                await self._add(owner, submit, buffers)
                return
            except AlreadyThere:  # the same submit on two connections at once
                pass
        await self.owned(owner, submit.job)
        self._tell(owner, lambda listener: listener.outcome(submit.job))

    async def _add(self, owner: str, submit: Submit, buffers: Sequence[Buffer]) -> None:
        try:
            request, _ = complete(submit.request, await self.models(), await self.adapters())
        except ModelMissing:  # perhaps it has come since we looked
            request, _ = complete(submit.request, await self.models(refresh=True), await self.adapters())
        submit = Submit(submit.job, request, submit.priority)
        await asyncio.to_thread(self._store.add, owner, submit, buffers, time.time())
        self._owners[submit.job] = owner
        self._queue.push(Waiting(submit.job, owner, submit.priority))
        self._pump()
        accepted = Accepted(submit.job, request, self._positions(owner)[submit.job])
        self._tell(owner, lambda listener: listener.accepted(accepted))
        self._tell_positions()

    async def cancel(self, owner: str, job: str) -> None:
        """A job that waits is over at once, one that runs when the executor says so; one that is over stays as it is."""
        await self.owned(owner, job)
        if job in self._running:
            self._cancelled.add(job)
            self._executor.cancel(job)
            return
        if self._queue.remove(job) is None:
            self._tell(owner, lambda listener: listener.outcome(job))
            return
        await self._settle(job, owner, partial(self._store.cancel, job))
        self._tell_positions()

    async def cancel_all(self, owner: str) -> None:
        """Cancels what of this owner's jobs is not over."""
        for job in [job for job, other in self._owners.items() if other == owner]:
            await self.cancel(owner, job)

    async def acknowledge(self, owner: str, job: str) -> None:
        await self.owned(owner, job)
        await asyncio.to_thread(self._store.claim, job)

    async def owned(self, owner: str, job: str) -> Job:
        """Raises NotAuthorised, and does not say whether somebody else has such a job."""
        found = await asyncio.to_thread(self._store.find, job)
        if found is None or found.owner != owner:
            raise NotAuthorised("This session has no such job.", "Send the edit again.")
        return found

    async def unclaimed(self, owner: str) -> list[str]:
        return await asyncio.to_thread(self._store.unclaimed, owner)

    async def history(self, owner: str, limit: int, before: float | None) -> list[Job]:
        return await asyncio.to_thread(self._store.history, owner, limit, before)

    async def models(self, refresh: bool = False) -> tuple[ModelFile, ...]:
        return await asyncio.to_thread(self._models.list, refresh)

    async def adapters(self) -> tuple[Adapter, ...]:
        """As they were found with the models."""
        return await asyncio.to_thread(self._models.adapters)

    def looking(self) -> Looking:
        """How far a list is that takes a while. Does not wait for it."""
        return Looking(*self._models.looked)

    async def model_list(self, refresh: bool = False) -> ModelList:
        """What clients are told of both."""
        return listed(await self.models(refresh), await self.adapters())

    async def _watch(self) -> None:
        """Looks which models and adapters there are, as long as somebody listens; gives back their memory some time after
        the last one has gone."""
        while True:
            await asyncio.sleep(self._watch_seconds)
            await self._rest()
            if self._listeners:
                try:
                    now = await self.model_list()
                except Exception as error:
                    log.error("The models could not be looked through: %s", where(error))
                    continue
                for listener in self._listeners.values():
                    listener.models(now)

    async def _rest(self) -> None:
        now = time.monotonic()
        if self._listeners or self._running:
            self._needed = now
        elif not self._rests and now - self._needed > self._rest_seconds:
            self._rests = True
            await self._executor.rest()

    async def answer(self, owner: str, job: str) -> tuple[Payload, bool]:
        """The job as it is now: an accepted, result, failed or cancelled message; and whether sending it is all that the
        client need know of the job (a result is only claimed by its acknowledge)."""
        found = await self.owned(owner, job)
        if found.state in ("done", "delivered"):
            return await asyncio.to_thread(self._store.result, job), False
        if found.error is not None:
            return encode(Failed(found.error.code, found.error.message, found.error.hint, job)), True
        if found.state == "cancelled":
            return encode(messages.Cancelled(job)), True
        return encode(Accepted(job, found.request, self._positions(owner).get(job, 0))), False

    async def claim(self, job: str) -> None:
        await asyncio.to_thread(self._store.claim, job)

    # ---- doing the jobs ----------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        while len(self._queue) and len(self._running) < self._executor.slots and not self._stopping:
            entry = self._queue.pop()
            self._running[entry.job] = asyncio.create_task(self._do(entry))

    async def _do(self, entry: Waiting) -> None:
        job, owner = entry.job, entry.owner
        result: bytes | None = None
        try:
            work = await asyncio.to_thread(self._begin, job)
            if job in self._cancelled:
                raise Cancelled
            result = await self._executor.run(work, partial(self._progress, job, owner))
            end = partial(self._store.complete, job, result)
        except Cancelled:
            end = partial(self._store.cancel, job)
        except asyncio.CancelledError:  # the executor closed
            end = partial(self._store.put_back, job)
        except ScumbleError as error:
            log.warning("Job %s failed: %s", job, error.code)
            end = partial(self._store.fail, job, error)
        except Exception as error:
            log.error("Job %s failed: %s", job, where(error))
            end = partial(self._store.fail, job, Internal("The job failed through a defect of the backend."))
        await self._settle(job, owner, end, result)
        self._cancelled.discard(job)
        del self._running[job]
        self._pump()
        self._tell_positions()

    def _begin(self, job: str) -> Work:
        found, frame = self._store.begin(job)
        model = self._models.get(found.request.model or "")
        return Work(
            job=job,
            submit=frame,
            model_path=str(model.path),
            kind=model.info.kind,
            identity=model.identity,
            adapters=self._models.adapters() if model.identity else (),
            home=self._home,
            queued=max(time.time() - found.created, 0.0),
            created=found.created,
        )

    async def _settle(self, job: str, owner: str, end: Callable[[], None], result: bytes | None = None) -> None:
        """Writes down how the job ended, and only then tells (C4)."""
        try:
            try:
                await asyncio.to_thread(end)
            except ScumbleError as error:
                log.warning("Job %s failed: %s", job, error.code)
                result = None
                await asyncio.to_thread(self._store.fail, job, error)
        except Exception as error:
            log.error("The end of job %s could not be written down: %s", job, where(error))
            reason = error if isinstance(error, ScumbleError) else Internal("The job could not be written down.")
            self._tell(owner, lambda listener: listener.failed(job, reason))
        else:
            self._tell(owner, lambda listener: listener.outcome(job, result))
        self._owners.pop(job, None)

    def _progress(self, job: str, owner: str, payload: Payload) -> None:
        self._tell(owner, lambda listener: listener.progress(job, payload))

    def _tell(self, owner: str, say: Callable[[Listener], None]) -> None:
        listener = self._listeners.get(owner)
        if listener is not None:
            say(listener)

    def _tell_positions(self) -> None:
        for owner, listener in self._listeners.items():
            listener.positions(self._positions(owner))

    def _positions(self, owner: str) -> dict[str, int]:
        running = {job: 0 for job in self._running if self._owners.get(job) == owner}
        order = enumerate(self._queue.order(), start=1)
        return running | {entry.job: position for position, entry in order if entry.owner == owner}
