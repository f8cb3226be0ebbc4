"""No exception may leave a slot: Krita shows it in a modal box that blocks everything."""

from __future__ import annotations

import functools
import logging
import logging.handlers
from collections.abc import Callable
from typing import Any, TypeVar

from .lib.scumble.home import find_home
from .lib.scumble.protocol.errors import Internal, ScumbleError

Function = TypeVar("Function", bound=Callable[..., Any])

log = logging.getLogger("scumble.krita")
listeners: list[Callable[[ScumbleError], None]] = []
"""Who shows an error to the artist."""


def guarded(function: Function) -> Function:
    """The function, but what it raises goes to the panel and into the log, and None comes back."""

    @functools.wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        try:
            return function(*arguments, **more)
        except Exception as error:
            report(error)

    return call  # type: ignore[return-value]


def connect(signal: Any, function: Callable[[], object]) -> None:
    """Calls the function, guarded, when the signal comes. The signal's own values are dropped."""
    call = guarded(function)
    signal.connect(lambda *_: call())


def report(error: Exception) -> None:
    """Shows an error in one sentence; what the artist cannot have caused goes into the log too."""
    if not isinstance(error, ScumbleError):
        write_log()
        log.error("in the plug-in", exc_info=error)
        error = Internal(
            "Something went wrong in the plug-in.", "Try again; logs/krita.log in Scumble's folder says more."
        )
    for listener in list(listeners):
        try:
            listener(error)
        except Exception:
            log.exception("an error could not be shown")


@functools.cache
def write_log() -> None:
    """From now on there is a log file; before the first error there is no need of one."""
    folder = find_home().logs
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            folder / "krita.log", maxBytes=1 << 19, backupCount=1, encoding="utf-8"
        )
    except OSError:
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("scumble")
    ours.addHandler(handler)
    ours.propagate = False
