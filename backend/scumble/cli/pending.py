"""Edits that were cut off: a command that is given again after it was killed takes up its job instead of a second one."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ..client.launcher import is_alive
from ..client.settings import write_private
from ..home import Home

KEPT_SECONDS = 7 * 24 * 3600.0


class Pending(NamedTuple):
    """A job under way: its session, its id, and the process that waits for it."""

    session: str
    job: str
    pid: int


def pending_file(home: Home, command: Mapping[str, object], inputs: Iterable[Path]) -> Path:
    """The note on this command, named for what it says and the files it reads, as they are now. Raises OSError."""
    said = {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in command.items()}
    states = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in inputs]
    digest = hashlib.sha256(json.dumps([said, states], sort_keys=True).encode())
    return home.root / "pending" / digest.hexdigest()[:32]


def read_pending(path: Path) -> Pending | None:
    """What the note says; None when there is none, it is old, or the process that wrote it still waits itself."""
    try:
        if time.time() - path.stat().st_mtime > KEPT_SECONDS:
            path.unlink()
            return None
        values = json.loads(path.read_text(encoding="ascii"))
        pending = Pending(str(values["session"]), str(values["job"]), int(values["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if pending.pid != os.getpid() and is_alive(pending.pid) else pending


def write_pending(path: Path, session: str, job: str) -> None:
    """Raises OSError."""
    write_private(path, json.dumps({"session": session, "job": job, "pid": os.getpid()}))
