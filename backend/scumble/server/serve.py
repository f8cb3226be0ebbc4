"""`scumble serve`: puts the backend together and runs it until it is told to stop."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import logging.handlers
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import uvicorn

from ..home import Home
from ..lock import Locked, locked
from ..models.store import ModelStore
from ..protocol.errors import Internal, ScumbleError
from .app import create_app, server_config
from .executor import LocalExecutor
from .instance import listen, reachable, recorded
from .jobs import JobStore
from .redact import Formatter
from .security import known_hosts, load_token
from .session import Policy
from .work import Executor

PORT = 8737
LOG_BYTES = 1 << 20
OLD_LOGS = 3
ENDING_SECONDS = 20.0
"""That another backend may take to end."""


def serve(
    home: Home,
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    allow_remote: bool = False,
    names: Sequence[str] = (),
    origins: Sequence[str] = (),
    executor: Callable[[], Executor] = LocalExecutor,
) -> int:
    """Runs the backend of this home; returns the process's exit code: 0 done or running already, 1 cannot run, 2 bad use.

    host          an address of this machine; others than loopback only with `allow_remote`
    port          taken already: a free one is used instead, and the record says which; 0: any free one
    names         further Host headers to answer to ("studio.local:8737")
    origins       Origin headers to let in; none by default
    """
    if not (allow_remote or _is_loopback(host)):
        return _complain(f"{host} is not an address of this machine alone; say --allow-remote if that is meant.", 2)
    try:
        for folder in (home.root, home.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with only_one(home), _logging(home):
            return _run(home, host, port, names, origins, executor())
    except Locked:
        print("The backend runs already.", flush=True)
        return 0
    except ScumbleError as error:
        return _complain(f"{error.message} {error.hint}", 1)
    except sqlite3.DatabaseError:
        return _complain(f"The stored jobs cannot be read. Move the folder {home.jobs} away to start anew.", 1)
    except OSError as error:
        return _complain(f"The backend cannot start: {error.strerror or error}.", 1)


def _run(home: Home, host: str, port: int, names: Sequence[str], origins: Sequence[str], executor: Executor) -> int:
    listener, taker = listen(host, port)
    models = ModelStore(home)
    with contextlib.closing(listener):
        bound: int = listener.getsockname()[1]
        policy = Policy()
        app = create_app(
            store=JobStore(home.jobs),
            models=models,
            executor=executor,
            home=home,
            token=load_token(home.token),
            hosts=known_hosts(host, bound) | set(names),
            origins=origins,
            policy=policy,
        )
        if taker is not None:
            print(f"Port {port} is taken by {taker}.", flush=True)
        server = _Server(server_config(app, policy), home, (host, bound), executor, models)
        if threading.current_thread() is threading.main_thread():
            # uvicorn raises the signal again once it has stopped: that must not keep us from cleaning up.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, server.handle_exit)
        try:
            server.run(sockets=[listener])
        except SystemExit:
            raise getattr(app.state, "problem", None) or Internal("The backend cannot start.") from None
    return 0


class _Server(uvicorn.Server):
    """Announces itself when it listens, and takes that back when it stops."""

    def __init__(
        self, config: uvicorn.Config, home: Home, address: tuple[str, int], executor: Executor, models: ModelStore
    ) -> None:
        super().__init__(config)
        self._home = home
        self._address = address
        self._executor = executor
        self._models = models
        self._record = contextlib.ExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._address
        self._record.enter_context(recorded(self._home.record, reachable(host), port))
        print(f"The backend listens on {host}, port {port}.", flush=True)
        self._executor.warm_up()  # only now: clients are answered first

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._record.close()
        self._models.close()  # a client may be waiting for a long look at them
        await super().shutdown(sockets)


@contextlib.contextmanager
def only_one(home: Home) -> Iterator[None]:
    """In here no other backend of this home runs. Raises Locked where one does.

    One that is ending has taken its record back and may need seconds to give back a GPU: it is waited for. Clients that it
    has left ask for a new one at once.
    """
    deadline = time.monotonic() + ENDING_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(home.root / "backend.lock"))
                break
            except Locked:
                if home.record.exists() or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)
        yield


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _logging(home: Home) -> Iterator[None]:
    """The log file gets what Scumble reports, and the warnings of everything else."""
    file = home.logs / "backend.log"
    handler = logging.handlers.RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8")
    handler.setFormatter(Formatter())
    if os.name == "posix":
        os.chmod(file, 0o600)
    root, ours = logging.getLogger(), logging.getLogger("scumble")
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _complain(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code
