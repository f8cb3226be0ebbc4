"""One client's connection: who is asking, may they; messages in, answers out; errors become messages."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from dataclasses import dataclass, field

from fastapi import WebSocket, WebSocketDisconnect

from .. import __version__
from ..diffusion.samplers import SAMPLERS
from ..protocol.errors import BadRequest, Internal, NotAuthorised, ScumbleError
from ..protocol.frames import MAX_HEADER, decode, encode
from ..protocol.messages import (
    PROTOCOL_VERSION,
    Accepted,
    Acknowledge,
    Buffer,
    Cancel,
    Failed,
    Hello,
    History,
    HistoryEntry,
    HistoryList,
    Limits,
    Message,
    ModelList,
    Models,
    Queue,
    Resume,
    Submit,
    Welcome,
)
from .connection import Connection
from .dispatcher import Dispatcher
from .limits import check_submit
from .outbox import Close, Outbox, Outcome, Payload
from .redact import where
from .resolve import modes
from .security import same_token

log = logging.getLogger(__name__)

CLOSE_REFUSED = 1008
CLOSE_SERVER_STOPS = 1012


@dataclass(frozen=True)
class Policy:
    """What a client may ask for, and how long the server is patient.

    hello_seconds   until the hello must have come
    stall_seconds   that a client may take nothing of what waits for it
    watch_seconds   between two looks whether models have come or gone (one at each folder, none at the files)
    rest_seconds    without a client and a job, after which the memory of loaded models is given back
    look_seconds    between two words on a first look at the models, for which the welcome waits
    """

    limits: Limits = field(default_factory=Limits)
    hello_seconds: float = 10.0
    stall_seconds: float = 30.0
    watch_seconds: float = 3.0
    rest_seconds: float = 600.0
    look_seconds: float = 1.0


class Session:
    """Implements dispatcher.Listener."""

    def __init__(self, websocket: WebSocket, dispatcher: Dispatcher, token: str, policy: Policy) -> None:
        self._websocket = websocket
        self._connection: Connection = websocket.scope["state"]["connection"]
        self._dispatcher = dispatcher
        self._token = token
        self._policy = policy
        self._outbox = Outbox()
        self._owner = ""
        self._gone = True
        self._told: dict[str, int] = {}
        self._listed = ModelList(())

    async def run(self) -> None:
        """From accept to the end of the connection."""
        await self._websocket.accept()
        try:
            async with asyncio.timeout(self._policy.hello_seconds):
                payload = await self._receive()
            if payload is None:
                return
            hello = self._check_hello(payload)
        except TimeoutError:
            await self._refuse(NotAuthorised("No hello came in time."))
            return
        except ScumbleError as error:
            await self._refuse(error)
            return
        self._connection.trust()
        await self._welcome(hello)
        helpers = [asyncio.create_task(self._send_all()), asyncio.create_task(self._watch())]
        try:
            gone = await self._listen()
        finally:
            for task in helpers:
                task.cancel()
            last = self._dispatcher.detach(self._owner, self)
        if gone and last and hello.on_disconnect == "cancel":
            await self._dispatcher.cancel_all(self._owner)

    # ---- hello -------------------------------------------------------------------------------------------------------

    def _check_hello(self, payload: Payload) -> Hello:
        message = decode(payload)[0] if isinstance(payload, str) else None
        if not isinstance(message, Hello):
            raise NotAuthorised("The first message must be a hello.")
        if not same_token(message.token, self._token):
            raise NotAuthorised("The token is not the one of this backend.")
        return message

    async def _refuse(self, error: ScumbleError) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.send_text(str(encode(Failed(error.code, error.message, error.hint))))
            await self._websocket.close(CLOSE_REFUSED)

    async def _welcome(self, hello: Hello) -> None:
        session = hello.session
        if session is None or not await self._dispatcher.knows(_owner(session)):
            session = secrets.token_hex(32)
        self._owner = _owner(session)
        unclaimed = await self._dispatcher.unclaimed(self._owner)
        self._listed = await self._look()
        welcome = Welcome(
            version=PROTOCOL_VERSION,
            server=__version__,
            session=session,
            limits=self._policy.limits,
            models=self._listed.models,
            samplers=SAMPLERS,
            modes=modes(self._listed.models),
            adapters=self._listed.adapters,
        )
        self._dispatcher.attach(self._owner, self)
        self._outbox.answer(encode(welcome))
        for job in unclaimed:
            self._outbox.outcome(job)

    async def _look(self) -> ModelList:
        """A first look at thousands of files on a slow disk takes a minute: until then the client hears how far it is."""
        looking = asyncio.create_task(self._dispatcher.model_list())
        while not (await asyncio.wait([looking], timeout=self._policy.look_seconds))[0]:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # gone: what it says first will tell
                await self._websocket.send_text(str(encode(self._dispatcher.looking())))
        return looking.result()

    # ---- from the client ---------------------------------------------------------------------------------------------

    async def _listen(self) -> bool:
        """True when the client is gone, False when the server is about to stop."""
        while True:
            await self._outbox.room()
            payload = await self._receive()
            if payload is None:
                return self._gone
            await self._answer(payload)

    async def _receive(self) -> Payload | None:
        """The next message, None when the connection has ended."""
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            self._gone = event.get("code") != CLOSE_SERVER_STOPS
            return None
        text: str | None = event.get("text")
        data: bytes | None = event.get("bytes")
        return text if text is not None else data

    async def _answer(self, payload: Payload) -> None:
        job: str | None = None
        try:
            # Pixels are copied out of their frame: not on the event loop, where others wait.
            message, buffers = decode(payload) if isinstance(payload, str) else await asyncio.to_thread(decode, payload)
            job = getattr(message, "job", None)
            # Shielded: a job is either not taken in or taken in wholly, also when this connection is ended meanwhile.
            await asyncio.shield(self._handle(message, buffers))
        except ScumbleError as error:
            self._fail(job, error)
        except Exception as error:
            log.error("A message could not be handled: %s", where(error))
            self._fail(job, Internal("The backend could not handle this message."))

    async def _handle(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        match message:
            case Submit():
                check_submit(message.request, buffers, self._policy.limits)
                await self._dispatcher.submit(self._owner, message, buffers)
            case Cancel():
                await self._dispatcher.cancel(self._owner, message.job)
            case Acknowledge():
                await self._dispatcher.acknowledge(self._owner, message.job)
            case Resume():
                await self._dispatcher.owned(self._owner, message.job)
                self._outbox.outcome(message.job)
            case History():
                self._outbox.answer(await self._history(message))
            case Models():
                self._listed = await self._dispatcher.model_list(message.refresh)
                self._outbox.answer(encode(self._listed))
            case Hello():
                raise BadRequest("The hello was said already.")
            case _:
                raise BadRequest("This message is for a client, not for the server.")

    async def _history(self, question: History) -> Payload:
        """As many of the entries as fit into one text message; the client asks on with `before`."""
        entries: list[HistoryEntry] = []
        size = 0
        for job in await self._dispatcher.history(self._owner, question.limit, question.before):
            entry = HistoryEntry(job.id, job.state, job.created, job.request)
            size += len(str(encode(HistoryList((entry,)))).encode())
            if size > MAX_HEADER:
                break
            entries.append(entry)
        return encode(HistoryList(tuple(entries)))

    # ---- from the dispatcher -----------------------------------------------------------------------------------------

    def accepted(self, message: Accepted) -> None:
        self._told[message.job] = message.position
        self._outbox.answer(encode(message))

    def progress(self, job: str, payload: Payload) -> None:
        self._outbox.progress(job, payload)

    def outcome(self, job: str, result: bytes | None = None) -> None:
        self._outbox.outcome(job, result)

    def failed(self, job: str, error: ScumbleError) -> None:
        self._fail(job, error)

    def positions(self, positions: dict[str, int]) -> None:
        known = {job: position for job, position in self._told.items() if job in positions}
        if positions != known:
            self._outbox.queue(encode(Queue(positions)))
        self._told = positions

    def models(self, message: ModelList) -> None:
        if message != self._listed:
            self._outbox.models(encode(message))
            self._listed = message

    def replaced(self) -> None:
        self._fail(None, NotAuthorised("A newer connection has taken over this session.", "Go on there."))
        self._outbox.close()

    # ---- to the client -----------------------------------------------------------------------------------------------

    def _fail(self, job: str | None, error: ScumbleError) -> None:
        self._outbox.answer(encode(Failed(error.code, error.message, error.hint, job)))

    async def _send_all(self) -> None:
        try:
            while True:
                entry = await self._outbox.get()
                if isinstance(entry, Close):
                    await self._websocket.close(CLOSE_REFUSED)
                    return
                if isinstance(entry, Outcome):
                    await self._send_outcome(entry.job)
                else:
                    await self._send(entry)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the listening side notices too, and ends the session
        finally:
            self._outbox.abandon()

    async def _send_outcome(self, job: str) -> None:
        try:
            payload, claimed = await self._dispatcher.answer(self._owner, job)
        except ScumbleError as error:
            self._fail(job, error)
            return
        except Exception as error:
            log.error("The outcome of job %s could not be read: %s", job, where(error))
            self._fail(job, Internal("What became of this job could not be read."))
            return
        await self._send(payload)
        if claimed:
            await self._dispatcher.claim(job)

    async def _send(self, payload: Payload) -> None:
        if isinstance(payload, str):
            await self._websocket.send_text(payload)
        else:
            await self._websocket.send_bytes(payload)

    async def _watch(self) -> None:
        """Ends the connection of a client that takes nothing; its jobs are on the disk."""
        most, since = -1, time.monotonic()
        while True:
            await asyncio.sleep(self._policy.stall_seconds / 4)
            taken = self._connection.taken()
            if self._connection.unsent() == 0 or taken > most:
                most, since = taken, time.monotonic()
            elif time.monotonic() - since >= self._policy.stall_seconds:
                log.warning("A client has read nothing for %g s and is disconnected", self._policy.stall_seconds)
                self._connection.abort()
                return


def _owner(session: str) -> str:
    """What is written down of a session: who reads the disk cannot pose as it."""
    return hashlib.sha256(session.encode()).hexdigest()
