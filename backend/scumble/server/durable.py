"""Files that are either complete or not there, also after a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..files import patiently
from ..protocol.errors import DiskFull

TEMPORARY = ".part"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DATABASE_NO_SPACE = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_SHMSIZE")


@contextlib.contextmanager
def disk_full_named() -> Iterator[None]:
    """Turns the operating system's and SQLite's ways to say that there is no space left into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull("There is no space left on the disk.") from error
        raise
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname in _DATABASE_NO_SPACE:
            raise DiskFull("There is no space left on the disk.") from error
        raise


@contextlib.contextmanager
def written(folder: Path, data: bytes) -> Iterator[Path]:
    """A temporary file with `data`, on the disk for good; deleted at the end unless it was renamed.

    Raises DiskFull.
    """
    path = folder / f"{secrets.token_hex(8)}{TEMPORARY}"
    try:
        with disk_full_named(), open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        remove(path)


def rename(source: Path, target: Path) -> None:
    """Puts the file there for good, in place of what was there. Raises DiskFull."""
    with disk_full_named():
        patiently(lambda: os.replace(source, target))
        sync_folder(target.parent)


def remove(path: Path) -> None:
    """Removes the file if there is one."""
    patiently(lambda: path.unlink(missing_ok=True))


def sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows writes folder entries through by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
