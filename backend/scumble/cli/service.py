"""`scumble serve`, `status` and `stop`."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

from ..client.client import Client
from ..client.connection import Address, Unreachable
from ..client.events import Connected, Event, Received
from ..client.launcher import find_backend, read_record, start_backend
from ..client.names import looking_words
from ..home import Home, find_home
from ..lock import Locked, locked
from ..protocol.messages import Looking, OnDisconnect, Welcome

STOP_SECONDS = 15.0
PATIENCE = 30.0
"""Seconds without a backend, which is started again all the time, after which a command gives up."""


def run(args: argparse.Namespace) -> int:
    home = find_home()
    if args.command == "serve":
        from ..server.serve import serve

        return serve(home, args.host, args.port, allow_remote=args.allow_remote, names=args.name)
    return status(home) if args.command == "status" else stop(home)


def status(home: Home) -> int:
    address = find_backend(home)
    if address is None:
        raise Unreachable("No backend runs.")
    with connected(home, start=False) as (_, welcome):
        count = f"{len(welcome.models)} model" + ("" if len(welcome.models) == 1 else "s")
        print(f"Scumble {welcome.server} runs on {address.host}, port {address.port}, with {count}.")
    return 0


def stop(home: Home) -> int:
    """Stops the backend and waits until it is gone. Queued jobs go on when it is started again."""
    record = read_record(home)
    # An answer on its port as well: a process id alone may long be that of another program.
    if record is None or find_backend(home) is None:
        print("No backend runs.")
        return 0
    os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        # Its lock and not its id: a process that has ended keeps that until its parent looks.
        with contextlib.suppress(Locked), locked(home.root / "backend.lock"):
            print("The backend has stopped.")
            return 0
        time.sleep(0.05)
    raise Unreachable("The backend does not stop.", f"End the process {record.pid}.")


@contextlib.contextmanager
def connected(
    home: Home, start: bool = True, session: str | None = None, on_disconnect: OnDisconnect = "keep"
) -> Iterator[tuple[Client, Welcome]]:
    """A client that has been welcomed, by a backend that is started where none runs. Raises Unreachable and others."""

    def locate() -> Address:
        address = find_backend(home)
        if address is None and start:
            address = start_backend(home, [sys.executable, "-m", "scumble", "serve"])
        if address is None:
            raise Unreachable("No backend runs.")
        return address

    client = Client("scumble command line", locate, session, on_disconnect)
    client.connect()
    try:
        yield client, _welcomed(client)
    finally:
        client.close(timeout=5.0)


def _welcomed(client: Client) -> Welcome:
    """Waits for the welcome; on a terminal it says why that takes a while."""
    told = False

    def pick(event: Event) -> Welcome | None:
        nonlocal told
        if isinstance(event, Received) and isinstance(event.message, Looking) and sys.stderr.isatty():
            print(f"\r{looking_words(event.message)} ", end="", file=sys.stderr, flush=True)
            told = True
        return event.welcome if isinstance(event, Connected) else None

    try:
        return client.wait_for(pick, PATIENCE)
    finally:
        if told:
            print(file=sys.stderr)
