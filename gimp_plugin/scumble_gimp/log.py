"""What goes wrong in the plug-in's processes is written down beside the backend's logs; no prompts, no tokens."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from types import TracebackType

from scumble.home import Home

LOG_BYTES = 1 << 18
log = logging.getLogger("scumble.gimp")


def log_to(home: Home) -> None:
    """Warnings of the client and whatever a callback raises go to gimp.log."""
    try:
        home.logs.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            home.logs / "gimp.log", maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", delay=True
        )
    except OSError:
        return  # a full or read-only disk is no reason to do nothing at all
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.getLogger("scumble").addHandler(handler)
    sys.excepthook = _write_down


def _write_down(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.error("a callback failed", exc_info=(kind, error, trace))
    sys.__excepthook__(kind, error, trace)
