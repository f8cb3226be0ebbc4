"""The client: one object between a program's main thread and the backend.

No method blocks, apart from `next_event`, `wait` and `wait_for`, which are for programs without an event loop. A thread
of its own finds or starts the backend, connects, receives and unpacks; a second one, for as long as a connection lasts,
packs and sends, so that a long upload never delays what comes in. Whatever happens arrives as an event, in order.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections import deque
from dataclasses import replace
from typing import Callable, Deque, List, Optional, Sequence, TypeVar

from ..protocol.errors import (
    BadRequest,
    Internal,
    NotAuthorised,
    ScumbleError,
    UnsupportedVersion,
    error_from_code,
)
from ..protocol.frames import MAX_LISTS, decode
from ..protocol.messages import (
    PROTOCOL_VERSION,
    Acknowledge,
    Cancel,
    Cancelled,
    EditRequest,
    Failed,
    Hello,
    History,
    Limits,
    Looking,
    ModelList,
    Models,
    OnDisconnect,
    Progress,
    Result,
    Resume,
    Submit,
    Welcome,
)
from .connection import Address, Connection, Unreachable, open_connection
from .document import Pixels
from .events import Connected, Event, Finished, Lost, Received, replaces
from .ledger import Draft, Item, Ledger
from .payloads import Order, to_payload, to_raw

log = logging.getLogger("scumble.client")
T = TypeVar("T")

FIRST_RETRY, LAST_RETRY = 0.25, 10.0
"""Seconds between attempts to connect: doubled each time."""
STABLE_SECONDS = 5.0
"""A connection that lasted so long makes the next retry a first one."""


class JobCancelled(Exception):
    """Raised by `wait` when the job was cancelled, by whomever."""


class Client:
    """Talks to one backend on behalf of one program.

    name           how the backend calls this client, e.g. "krita"
    locate         gives the backend's address; may block and start it; runs on the client's thread at each attempt to
                   connect. Raises ScumbleError, usually Unreachable.
    session        of an earlier run (`Connected.welcome.session`): its unfinished jobs and undelivered results come back
    on_disconnect  what the backend does with unfinished jobs when this program vanishes
    wake           called from a thread of the client after each new event: must only post a note to the main loop
    order          of the bytes of a pixel in this program, "rgba" or "bgra"; the client's threads turn them round
    """

    def __init__(
        self,
        name: str,
        locate: Callable[[], Address],
        session: Optional[str] = None,
        on_disconnect: OnDisconnect = "keep",
        wake: Optional[Callable[[], None]] = None,
        order: Order = "rgba",
    ) -> None:
        self._order = order
        self._name, self._locate, self._session, self._on_disconnect = name, locate, session, on_disconnect
        self._wake = wake
        self._lock = threading.Condition()
        self._events: Deque[Event] = deque()
        self._ledger = Ledger()
        self._outbox: Optional[queue.SimpleQueue[Optional[Item]]] = None
        self._limits = Limits()
        self._welcome: Optional[Welcome] = None
        self._thread: Optional[threading.Thread] = None
        self._wanted = threading.Event()
        self._hurry = threading.Event()
        self._closing = False

    # ---- what the main thread calls ----------------------------------------------------------------------------------

    @property
    def welcome(self) -> Optional[Welcome]:
        """What the backend said when the present connection began, with the models and adapters that it has told of since;
        None without a connection."""
        return self._welcome

    def connect(self) -> None:
        """Begins to connect and stays connected until `close`. When waiting for a retry: tries now."""
        with self._lock:
            self._wanted.set()
            self._hurry.set()
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="scumble-client", daemon=True)
                self._thread.start()

    def submit(
        self,
        request: EditRequest,
        image: Pixels,
        mask: Optional[bytes] = None,
        job: Optional[str] = None,
        priority: int = 0,
        controls: Sequence[Pixels] = (),
        regions: Sequence[Pixels] = (),
        references: Sequence[Pixels] = (),
    ) -> str:
        """Sends an edit, at once or when there is a connection again, and returns its job id.

        `image` is rgba8 (or bgra8, see `order`) of request.image, `mask` gray8 of request.mask, `controls` like `image`,
        one for each of request.controls, `regions` like `mask` (their bytes may lie apart), one for each of
        request.regions, `references` like `image`, one for each of request.references. Raises BadRequest when they do
        not fit.
        """
        if len(image) != request.image.area * 4:
            raise BadRequest("The image's pixels do not fit its bounds.")
        if (None if mask is None else len(mask)) != (None if request.mask is None else request.mask.area):
            raise BadRequest("The mask's pixels do not fit its bounds.")
        if [len(pixels) for pixels in controls] != [control.image.area * 4 for control in request.controls]:
            raise BadRequest("The controls' pixels do not fit their bounds.")
        if [len(pixels) for pixels in regions] != [region.mask.area for region in request.regions]:
            raise BadRequest("The regions' pixels do not fit their bounds.")
        if [len(pixels) for pixels in references] != [reference.size.area * 4 for reference in request.references]:
            raise BadRequest("The references' pixels do not fit their sizes.")
        job = job or uuid.uuid4().hex
        submit = Submit(job, request, priority)
        self._ask(Draft(submit, image, mask, tuple(controls), tuple(regions), tuple(references)))
        return job

    def cancel(self, job: str) -> None:
        with self._lock:
            dropped = self._ledger.drop_unsent(job)
        if dropped:  # nobody else can say that it has ended
            self._emit(Received(Cancelled(job)))
        else:
            self._ask(Cancel(job))

    def acknowledge(self, job: str) -> None:
        """Says that the result is safe in a document: it will not come again unasked."""
        self._ask(Acknowledge(job))

    def resume(self, job: str) -> None:
        """Asks for a job as it is now; its result comes even when it has come before."""
        self._ask(Resume(job))

    def history(self, limit: int = 50, before: Optional[float] = None) -> None:
        self._ask(History(limit, before))

    def models(self, refresh: bool = False) -> None:
        self._ask(Models(refresh))

    def events(self) -> List[Event]:
        """All events since the last call, oldest first. Never blocks."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        return events

    def close(self, timeout: float = 0.0) -> None:
        """Sends what is waiting, then ends the connection; the backend goes on with unfinished jobs as `on_disconnect`
        says. Returns at once unless a `timeout` in seconds is given."""
        with self._lock:
            self._closing = True
            self._wanted.set()
            self._hurry.set()
            if self._outbox is not None:
                self._outbox.put(None)
        if self._thread is not None and timeout > 0:
            self._thread.join(timeout)

    # ---- for programs without an event loop --------------------------------------------------------------------------

    def next_event(self, timeout: Optional[float] = None) -> Optional[Event]:
        """Blocks until there is an event; None after `timeout` seconds."""
        with self._lock:
            self._lock.wait_for(lambda: self._events, timeout)
            return self._events.popleft() if self._events else None

    def wait_for(self, pick: Callable[[Event], Optional[T]], patience: float = 60.0) -> T:
        """Blocks until `pick` makes something of an event; other events are dropped.

        Raises the connection's error when there was no connection for `patience` seconds or trying again is useless.
        """
        alone_since = None if self._welcome else time.monotonic()
        error: ScumbleError = Unreachable("No backend answers.")
        while True:
            event = self.next_event(0.5)
            if isinstance(event, Connected):
                alone_since = None
            elif isinstance(event, Lost):
                error = event.error
                alone_since = alone_since or time.monotonic()
                if event.retry is None:
                    raise error
            elif isinstance(event, Received) and isinstance(event.message, Looking):
                alone_since = time.monotonic()
            if event is not None:
                picked = pick(event)
                if picked is not None:
                    return picked
            if alone_since is not None and time.monotonic() - alone_since > patience:
                raise error

    def wait(
        self, job: str, on_progress: Callable[[Progress], None] = lambda _: None, patience: float = 60.0
    ) -> Finished:
        """Blocks until the job is done.

        Raises what the job failed with, JobCancelled, or Unreachable after `patience` seconds without a backend.
        """

        def pick(event: Event) -> Optional[Finished]:
            if isinstance(event, Finished):
                return event if event.result.job == job else None
            message = event.message if isinstance(event, Received) else None
            if isinstance(message, Failed) and message.job in (job, None):
                raise error_from_code(message.code, message.message, message.hint)
            if isinstance(message, Cancelled) and message.job == job:
                raise JobCancelled
            if isinstance(message, Progress) and message.job == job:
                on_progress(message)
            return None

        return self.wait_for(pick, patience)

    # ---- the receiving thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        delay = FIRST_RETRY
        while True:
            self._wanted.wait()
            self._hurry.clear()
            if self._closing:
                return
            began = time.monotonic()
            error: ScumbleError
            try:
                hello = Hello(PROTOCOL_VERSION, self._name, "", self._session, self._on_disconnect)
                address = self._locate()
                hello = replace(hello, token=address.token)
                with open_connection(address, hello, self._looking) as (connection, welcome):
                    began = time.monotonic()
                    try:
                        self._begin(connection, welcome)
                        self._listen(connection)
                    finally:
                        self._end()
            except ScumbleError as problem:
                error = problem
            except Exception:
                log.exception("connecting or receiving failed")
                error = Internal("Something went wrong on the way to the backend.", "Look into the log.")
            if self._closing:
                return
            if isinstance(error, (NotAuthorised, UnsupportedVersion)):
                self._wanted.clear()
                self._emit(Lost(error, None))
                continue
            if time.monotonic() - began > STABLE_SECONDS:
                delay = FIRST_RETRY
            self._emit(Lost(error, delay))
            delay = FIRST_RETRY if self._hurry.wait(delay) else min(delay * 2, LAST_RETRY)

    def _looking(self, message: Looking) -> None:
        if self._closing:
            raise Unreachable("Nobody waits for it any more.")
        self._emit(Received(message))

    def _begin(self, connection: Connection, welcome: Welcome) -> None:
        outbox: queue.SimpleQueue[Optional[Item]] = queue.SimpleQueue()
        with self._lock:
            self._session, self._limits, self._welcome = welcome.session, welcome.limits, welcome
            items, failures = self._ledger.reconnect(welcome.session)
            for item in items:
                outbox.put(item)
            self._outbox = outbox
            if self._closing:
                outbox.put(None)
        self._emit(Connected(welcome))
        for failure in failures:
            self._emit(Received(failure))
        threading.Thread(target=self._send, args=(connection, outbox), name="scumble-sender", daemon=True).start()

    def _end(self) -> None:
        with self._lock:
            if self._outbox is not None:
                self._outbox.put(None)
            self._outbox = self._welcome = None

    def _listen(self, connection: Connection) -> None:
        while True:
            payload = connection.receive()
            try:
                message, buffers = decode(payload, MAX_LISTS)
                if isinstance(message, Failed) and message.job is None and message.code == NotAuthorised.code:
                    refusal = error_from_code(message.code, message.message, message.hint)
                    break  # another program took over our session: connecting again would take it back, and so on
                with self._lock:
                    if isinstance(message, ModelList) and self._welcome is not None:
                        self._welcome = replace(self._welcome, models=message.models, adapters=message.adapters)
                    told, answer = self._ledger.hear(message)
                    if answer is not None and self._outbox is not None:
                        self._outbox.put(answer)
                if told is not None:
                    pixels = to_raw(buffers, self._order)
                    self._emit(Finished(told, pixels) if isinstance(told, Result) else Received(told, pixels))
            except ScumbleError:
                log.exception("the backend sent something that cannot be read")
                hint = "Update Scumble so that plug-in and backend have the same version."
                self._emit(Received(Failed("internal", "The backend sent something that cannot be read.", hint)))
        raise refusal

    # ---- the sending thread ------------------------------------------------------------------------------------------

    def _send(self, connection: Connection, outbox: queue.SimpleQueue[Optional[Item]]) -> None:
        while True:
            item = outbox.get()
            try:
                if item is None:
                    connection.close()
                    return
                connection.send(to_payload(item, self._limits, self._order))
            except Unreachable:
                return  # the receiving thread notices by itself and connects again; the ledger knows what is open
            except ScumbleError as error:
                self._refuse(item, error)
            except Exception:
                log.exception("an edit could not be packed")
                self._refuse(item, Internal("The edit could not be sent.", "Select a smaller area."))

    def _refuse(self, item: Optional[Item], error: ScumbleError) -> None:
        failed = Failed(error.code, error.message, error.hint, item.submit.job if isinstance(item, Draft) else None)
        with self._lock:
            self._ledger.hear(failed)
        self._emit(Received(failed))

    # ---- both --------------------------------------------------------------------------------------------------------

    def _ask(self, item: Item) -> None:
        with self._lock:
            self._ledger.ask(item, sent=self._outbox is not None)
            if self._outbox is not None:
                self._outbox.put(item)

    def _emit(self, event: Event) -> None:
        with self._lock:
            if self._events and replaces(event, self._events[-1]):
                self._events.pop()
            self._events.append(event)
            self._lock.notify_all()
        if self._wake is not None:
            try:
                self._wake()
            except Exception:
                log.exception("the host's wake callback failed")
