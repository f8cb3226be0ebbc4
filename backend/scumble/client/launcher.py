"""Finds the running backend by its record, or starts one that outlives the program that asked for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Dict, Iterator, Mapping, NamedTuple, Optional, Sequence

from ..home import Home
from ..lock import try_lock
from ..protocol.errors import NotAuthorised
from .connection import Address, Unreachable

START_SECONDS = 30.0
POLL_SECONDS = 0.05
LEAST_FREE = 1 << 16
"""Bytes on the disk without which a backend cannot even write down why it has stopped."""
FLATPAK = Path("/.flatpak-info")
"""In a Flatpak no program of the host can be started, and its processes are not to be seen."""
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""What a painting program sets for its own Python and would break the backend's."""


class Record(NamedTuple):
    """What a running backend has written about itself."""

    pid: int
    host: str
    port: int
    version: str


def read_record(home: Home) -> Optional[Record]:
    """The record, None when there is none that can be read. The backend may be gone all the same."""
    try:
        values = json.loads(home.record.read_text(encoding="utf-8"))
        record = Record(*(values[name] for name in Record._fields))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    kinds = tuple(type(value) for value in record)
    return record if kinds == (int, str, int, str) and 0 < record.port < 65536 and record.pid > 0 else None


def read_token(home: Home) -> str:
    """The secret that the backend wants to hear. Raises NotAuthorised when it cannot be read."""
    try:
        return home.token.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        raise NotAuthorised("The backend's token cannot be read.", "Restart the backend as the same user.") from None


def find_backend(home: Home) -> Optional[Address]:
    """The address of the running backend, None when none runs. Takes a second at most. Raises NotAuthorised."""
    record = read_record(home)
    if record is None or not (FLATPAK.exists() or is_alive(record.pid)) or not _answers(record):
        return None
    return Address(record.host, record.port, read_token(home))


def _answers(record: Record) -> bool:
    """Whether it is that backend which listens there. After a power cut its process id may be another program's, and its
    port another user's backend's, who is not to be told our token."""
    import http.client  # on a thread of the client's: with all that it imports it would hold up a painting program's start

    connection = http.client.HTTPConnection(record.host, record.port, timeout=1.0)
    try:
        connection.request("GET", "/v1/health")
        answer = json.loads(connection.getresponse().read(1000))
        return isinstance(answer, dict) and answer.get("pid", record.pid) == record.pid  # older ones do not say it
    except socket.timeout:  # noqa: UP041 - another thing in Python 3.9
        return True  # stopped or busy, but there: connecting to it says so
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def start_backend(home: Home, command: Optional[Sequence[str]] = None, timeout: float = START_SECONDS) -> Address:
    """The address of the running backend, started where none ran. Blocks up to `timeout` seconds.

    `command` starts it; by default the Python that the installer noted, never the host's own. Programs that call this at
    the same time end with one backend. Raises Unreachable with what to do, NotAuthorised.
    """
    deadline = time.monotonic() + timeout
    address = find_backend(home)
    if address is not None:
        return address
    if FLATPAK.exists():
        raise Unreachable("This program runs in a Flatpak, which cannot start the backend.")
    if command is None:
        command = installed_command(home)
    try:
        home.logs.mkdir(parents=True, exist_ok=True)
        with _alone(home.root / "start.lock", deadline):
            address = find_backend(home)
            return address if address is not None else _start(home, command, deadline)
    except OSError as error:
        message = f"Scumble's folder cannot be written to: {error.strerror}."
        raise Unreachable(message, "Run: scumble doctor") from None


def installed_command(home: Home) -> Sequence[str]:
    """How the installer's Python starts the backend. Raises Unreachable when nothing is installed."""
    try:
        python = json.loads(home.installation.read_text(encoding="utf-8"))["python"]
    except (OSError, ValueError, KeyError, TypeError):
        python = None
    if not isinstance(python, str) or not os.path.exists(python):
        raise Unreachable("Scumble's backend is not installed.", "Run: python3 packaging/install.py")
    return [python, "-m", "scumble", "serve"]


def _start(home: Home, command: Sequence[str], deadline: float) -> Address:
    log = home.logs / "start.log"
    try:
        process = _spawn(home, command, log)
    except OSError:
        raise Unreachable("The backend could not be started.", "Run: scumble doctor") from None
    ended = False
    while not ended and time.monotonic() < deadline:
        # Asked before the record is looked at, so that one just written counts. 0: another one has been starting.
        ended = process.poll() not in (None, 0)
        address = find_backend(home)
        if address is not None:
            return address
        time.sleep(POLL_SECONDS)
    if ended:
        reason = _last_line(log)
        if not reason and shutil.disk_usage(home.root).free < LEAST_FREE:
            raise Unreachable("The backend cannot start: there is no space left on the disk.", "Free some disk space.")
        raise Unreachable(
            "The backend stopped while it started" + (f": {reason}" if reason else "."), "Run: scumble doctor"
        )
    raise Unreachable("The backend takes too long to start.", "Wait a little and try again, or run: scumble doctor")


def _spawn(home: Home, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """A process of its own: neither a closed terminal nor the end or a signal to the group of this program ends it."""
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    with open(log, "wb") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home.root,
            env=backend_environment(os.environ, home),
            start_new_session=True,
            creationflags=flags,
        )
    # While this program lives the process is its child, which somebody has to wait for.
    threading.Thread(target=process.wait, name="scumble-backend", daemon=True).start()
    return process


def backend_environment(environ: Mapping[str, str], home: Home) -> Dict[str, str]:
    """The environment for the backend: of the user, without what the painting program added for itself."""
    dropped = FOREIGN + (("LD_LIBRARY_PATH",) if "APPIMAGE" in environ else ())
    kept = {name: value for name, value in environ.items() if name not in dropped}
    return {**kept, "SCUMBLE_HOME": str(home.root)}


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:200] if lines else ""


@contextlib.contextmanager
def _alone(path: Path, deadline: float) -> Iterator[None]:
    """Only one process at a time is in this context; the system frees the lock of one that dies. Raises Unreachable."""
    with open(path, "a+b") as file:
        while not try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise Unreachable("Another program has been starting the backend for too long.", "Run: scumble doctor")
            time.sleep(POLL_SECONDS)
        yield


if sys.platform == "win32":
    import ctypes

    def is_alive(pid: int) -> bool:
        """True while the process runs (os.kill would end it on Windows)."""
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
        if not handle:
            return False
        try:
            return bool(kernel.WaitForSingleObject(handle, 0) == 0x102)  # WAIT_TIMEOUT
        finally:
            kernel.CloseHandle(handle)

else:

    def is_alive(pid: int) -> bool:
        """True while the process runs, whoever owns it."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            return True
        return True
