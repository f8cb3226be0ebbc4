"""A backend in this process that does what a test tells it, one script for each connection."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from scumble.client.client import Client
from scumble.client.connection import Address
from scumble.client.events import Event, Finished, Received
from scumble.protocol.frames import decode, encode, pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import (
    PROTOCOL_VERSION,
    Accepted,
    Buffer,
    EditRequest,
    Hello,
    Layer,
    Limits,
    Message,
    ModelInfo,
    Progress,
    Result,
    Submit,
    Welcome,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

TOKEN = "t" * 64
REQUEST = EditRequest("fill", Size(8, 8), Bounds(0, 0, 4, 3), Bounds(1, 1, 2, 1))
IMAGE, MASK = bytes(range(48)), b"\xff\x80"
FILL = ModelInfo("f1", "MI-GAN", "fill", "migan", True, 512, 28_079_181)


class Peer:
    """The backend's end of one connection."""

    def __init__(self, websocket: ServerConnection) -> None:
        self._websocket = websocket
        self.hello: Any = None

    def hear(self) -> tuple[Any, tuple[Buffer, ...]]:
        return decode(self._websocket.recv(10))

    def say(self, message: Message, *buffers: Buffer) -> None:
        self._websocket.send(encode(message, buffers))

    def say_raw(self, payload: Any) -> None:
        self._websocket.send(payload)

    def welcome(self, session: str = "s1", **changes: Any) -> None:
        self.hello = self.hear()[0]
        assert isinstance(self.hello, Hello)
        self.say(Welcome(PROTOCOL_VERSION, "0", session, changes.get("limits", Limits()), (FILL,), (), ()))

    def accept(self) -> Submit:
        """Hears a submit and accepts it."""
        submit = self.hear()[0]
        assert isinstance(submit, Submit), submit
        self.say(Accepted(submit.job, submit.request, 0))
        return submit

    def finish(self, submit: Submit) -> None:
        """Says the result: one pixel."""
        layer = pack("layer", 1, 1, "rgba8", b"\x01\x02\x03\xff", "zlib")
        result = Result(submit.job, submit.request, (Layer(Bounds(1, 1, 1, 1), 7),), submit.request.image, {}, 0.0)
        self.say(result, layer)

    def step(self, submit: Submit, step: int) -> None:
        self.say(Progress(submit.job, "denoising", step, 20))

    def drop(self) -> None:
        """The connection breaks without a word, if the client has not closed it already."""
        with contextlib.suppress(OSError):
            self._websocket.socket.shutdown(2)

    def wait_for_end(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._websocket.recv(10)


Script = Callable[[Peer], None]


class FakeBackend:
    def __init__(self, scripts: list[Script]) -> None:
        self._scripts = iter(scripts)
        self._errors: list[BaseException] = []
        self._server: Any = None
        self._handlers: list[threading.Thread] = []
        self.connections = 0

    def _handle(self, websocket: ServerConnection) -> None:
        self.connections += 1
        self._handlers.append(threading.current_thread())
        try:
            script = next(self._scripts, None)
            if script is not None:
                script(Peer(websocket))
        except ConnectionClosed:
            pass
        except BaseException as error:
            self._errors.append(error)

    @contextlib.contextmanager
    def running(self) -> Iterator[Address]:
        with serve(self._handle, "127.0.0.1", 0, compression=None, max_size=1 << 28, close_timeout=0.2) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield Address("127.0.0.1", server.socket.getsockname()[1], TOKEN)
            finally:
                for handler in self._handlers:  # what was sent last is heard, too
                    handler.join(2)
                server.shutdown()
                thread.join(5)
        assert not self._errors, self._errors


def idle(peer: Peer, session: str = "s1") -> None:
    peer.welcome(session)
    peer.wait_for_end()


@contextlib.contextmanager
def connected(*scripts: Script, **options: Any) -> Iterator[Client]:
    backend = FakeBackend(list(scripts))
    with backend.running() as address:
        client = Client("test", lambda: address, **options)
        client.connect()
        try:
            yield client
        finally:
            client.close(timeout=5)


def wait_for(client: Client, kind: type[Any]) -> Any:
    """The next event or message of this kind; others are dropped."""
    while True:
        event: Event | None = client.next_event(5)
        assert event is not None, f"No {kind.__name__} came."
        if isinstance(event, kind):
            return event
        if isinstance(event, Received) and isinstance(event.message, kind):
            return event.message


def all_messages(client: Client, seconds: float = 0.2) -> list[Any]:
    """What still comes within a short while."""
    messages = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        event = client.next_event(0.02)
        if isinstance(event, Finished):
            messages.append(event.result)
        elif isinstance(event, Received):
            messages.append(event.message)
    return messages
