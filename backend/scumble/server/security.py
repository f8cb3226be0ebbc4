"""Who may talk to the backend. Programs of this kind without such checks could be driven by any web page through the
browser (CVE-2024-12029), or through a name that was made to point at 127.0.0.1 (DNS rebinding, CVE-2024-28224).
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from ..files import patiently

log = logging.getLogger(__name__)

TOKEN_BYTES = 32


def load_token(path: Path) -> str:
    """The token in the file, 64 hex digits; made when there is none.

    A file that others could read or change, or that holds something else, is replaced by a new token: whoever has read
    the old one is locked out, and honest clients read the file anew.
    """
    token = _read_private(path)
    if token is None:
        token = secrets.token_hex(TOKEN_BYTES)
        _write_private(path, token)
    return token


def _read_private(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError:
        log.warning("The token file cannot be read: a new token is made")
        return None
    with open(descriptor, encoding="ascii", errors="replace") as file:
        if os.name == "posix":  # elsewhere the user's own data folder is what keeps others out
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                log.warning("The token file was open to others: a new token is made")
                return None
        token = file.read(2 * TOKEN_BYTES + 2).strip()
    if len(token) != 2 * TOKEN_BYTES or not set(token) <= set("0123456789abcdef"):
        log.warning("The token file was damaged: a new token is made")
        return None
    return token


def _write_private(path: Path, token: str) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    # O_EXCL: nobody can have put a file or a link there before. Renamed when complete: no client reads half a token.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(token)
            file.flush()
            os.fsync(descriptor)
        patiently(lambda: os.replace(fresh, path))
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise


def same_token(given: str, token: str) -> bool:
    """Compared in constant time, so that an answer's delay tells nothing about it."""
    return hmac.compare_digest(given.encode(), token.encode())


def loopback_hosts(port: int) -> frozenset[str]:
    """The Host headers of a client on this machine."""
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))


def known_hosts(host: str, port: int) -> frozenset[str]:
    """Those, and the one of a client that calls the backend by the address on which it listens."""
    return loopback_hosts(port) | {f"[{host}]:{port}" if ":" in host else f"{host}:{port}"}


class Gate:
    """ASGI middleware that lets a request in only if it was made for this server, and not by a web page.

    - exactly one Host header, and it is one of `hosts` (a rebound DNS name arrives with its own name here)
    - no Origin header, or one of `origins`: browsers always send it with websockets, programs never; "null" is a page too
    - no query: nothing here takes one, and a token in a URL would end up in logs

    Everything else gets 403, a websocket before it is accepted.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._admits(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"9")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"Forbidden"})

    def _admits(self, scope: Scope) -> bool:
        hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name.lower() == b"host"]
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"origin"]
        return (
            len(hosts) == 1
            and hosts[0] in self._hosts
            and all(origin in self._origins for origin in origins)
            and not scope["query_string"]
        )
