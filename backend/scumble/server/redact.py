"""Logs that say what broke and where, and nothing of what the artist works on: texts of exceptions may quote prompts, paths
or tokens, so they are left out."""

from __future__ import annotations

import errno
import logging
import sqlite3
import traceback
from pathlib import PurePath
from types import TracebackType


def where(error: BaseException) -> str:
    """The kind of the error and the places it passed through, innermost first."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    places = " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}{_number(error)} at {places or 'an unknown place'}"


def _number(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"({errno.errorcode.get(error.errno, error.errno)})"
    if isinstance(error, sqlite3.Error):
        return f"({getattr(error, 'sqlite_errorname', '')})"
    return ""


class Formatter(logging.Formatter):
    """Lines with time, level and origin; exceptions as `where` describes them."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return "" if ei[1] is None else where(ei[1])
