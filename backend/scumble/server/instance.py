"""The port that a backend takes, and the record by which clients find it."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from .. import __version__
from ..files import patiently


def listen(host: str, port: int) -> tuple[socket.socket, str | None]:
    """A listening socket on `port` (0: any), or on a free port when that one is taken; then also who has taken it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return _listen(family, host, port), None
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
    taker = "another Scumble (of another user or data folder)" if is_scumble(host, port) else "another program"
    return _listen(family, host, 0), taker


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # a port that we have just left; on Windows this would share a port in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def reachable(host: str) -> str:
    """The address by which programs on this machine reach a backend that listens on `host`, which may be all addresses."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here


def is_scumble(host: str, port: int) -> bool:
    """Whether a backend of ours answers there."""
    connection = http.client.HTTPConnection(host, port, timeout=1.0)
    try:
        connection.request("GET", "/v1/health")
        response = connection.getresponse()
        return response.status == 200 and isinstance(json.loads(response.read(1000))["server"], str)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def recorded(path: Path, host: str, port: int) -> Iterator[None]:
    """While inside, the record says where this process can be reached."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fresh.write_text(json.dumps({"pid": os.getpid(), "host": host, "port": port, "version": __version__}))
    patiently(lambda: os.replace(fresh, path))  # clients may be reading the old one
    try:
        yield
    finally:
        patiently(lambda: path.unlink(missing_ok=True))
