"""One websocket to the backend, from the handshake to the end. Blocking; used by the client's threads only."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from typing import Callable, Iterator, Optional, Sequence, Tuple, Union

from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from ..protocol.errors import BadRequest, NotAuthorised, ScumbleError, error_from_code
from ..protocol.frames import MAX_LISTS, decode
from ..protocol.messages import Failed, Hello, Limits, Looking, Welcome
from .payloads import to_text

CONNECT_SECONDS = 5.0
HANDSHAKE_SECONDS = 10.0
FRAGMENT = 1 << 20
"""Bytes of one websocket frame. Without the C extension, masking a frame holds the interpreter lock all along: one frame
of 64 MiB would freeze the painting program's own Python for a quarter of a second."""


class Unreachable(ScumbleError):
    """No backend answers. Never crosses the wire."""

    code = "unreachable"
    default_hint = "Start the backend with: scumble serve"


@dataclass(frozen=True)
class Address:
    """Where a backend listens, and the token that it wants to hear."""

    host: str
    port: int
    token: str = field(repr=False)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ws://{host}:{self.port}/v1/ws"


class Connection:
    """An open websocket after its handshake. One thread may send while another receives."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket

    def send(self, payload: Union[str, Sequence[bytes]]) -> None:
        """A text, or a binary message in pieces. Raises Unreachable when the connection is lost."""
        try:
            self._websocket.send(payload if isinstance(payload, str) else _fragments(payload))
        except (WebSocketException, OSError, EOFError):
            raise _lost() from None

    def receive(self, timeout: Optional[float] = None) -> Union[str, bytes]:
        """The next payload. Raises Unreachable when the connection is lost, TimeoutError after `timeout` seconds."""
        try:
            return self._websocket.recv(timeout)
        except TimeoutError:
            raise
        except (WebSocketException, OSError, EOFError):
            raise _lost() from None

    def close(self) -> None:
        self._websocket.close()


@contextlib.contextmanager
def open_connection(
    address: Address, hello: Hello, looking: Callable[[Looking], None] = lambda _: None
) -> Iterator[Tuple[Connection, Welcome]]:
    """Connects, says hello and hears the welcome; closes the websocket at the end of the `with` block. `looking` is told
    what the backend says as long as the welcome has to wait.

    Raises Unreachable, NotAuthorised, UnsupportedVersion, or what else the backend answers.
    """
    try:
        # The socket is opened here, so that websockets follows no redirect and asks no proxy.
        link = socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS)
    except OSError:
        raise Unreachable("No backend answers at this address.") from None
    with contextlib.ExitStack() as stack:
        stack.callback(link.close)
        link.settimeout(None)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            websocket = stack.enter_context(
                connect(
                    address.url,
                    sock=link,
                    proxy=None,
                    compression=None,  # on loopback six times slower than none
                    max_size=Limits().max_frame_bytes,
                    open_timeout=HANDSHAKE_SECONDS,
                    ping_timeout=60.0,  # a busy machine may be slow; a dead backend closes the socket at once
                    close_timeout=1.0,
                    user_agent_header=None,
                )
            )
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                hint = f"Start it there with: scumble serve --name {address.host}:{address.port}"
                raise NotAuthorised("The backend does not go by this name.", hint) from None
            raise Unreachable("Another program answers at the backend's address.") from None
        except (InvalidHandshake, WebSocketException):
            raise Unreachable("Another program answers at the backend's address.") from None
        except (OSError, EOFError):
            raise Unreachable("The backend does not answer.", "Stop it and start it again.") from None
        connection = Connection(websocket)
        yield connection, _greet(connection, hello, looking)


def _greet(connection: Connection, hello: Hello, looking: Callable[[Looking], None]) -> Welcome:
    connection.send(to_text(hello))
    try:
        message, _ = decode(connection.receive(HANDSHAKE_SECONDS), MAX_LISTS)
        while isinstance(message, Looking):
            looking(message)
            message, _ = decode(connection.receive(HANDSHAKE_SECONDS), MAX_LISTS)
    except TimeoutError:
        raise Unreachable("The backend does not answer.", "Stop it and start it again.") from None
    if isinstance(message, Failed):
        raise error_from_code(message.code, message.message, message.hint)
    if not isinstance(message, Welcome):
        raise BadRequest("The backend did not answer with a welcome.", "Update Scumble.")
    return message


def _fragments(pieces: Sequence[bytes]) -> Iterator[memoryview]:
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), FRAGMENT):
            yield view[start : start + FRAGMENT]


def _lost() -> Unreachable:
    return Unreachable("The connection to the backend was lost.", "Nothing is lost: it connects again by itself.")
