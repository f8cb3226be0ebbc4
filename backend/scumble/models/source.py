"""Where a model that Scumble fetched is from: a small record in its folder, which also says that the folder is ours."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

_NAME = ".source"  # not *.json: a model's own descriptions are, and make its id


@dataclass(frozen=True)
class Source:
    """`commit` is the exact version; `file` is the one file that was asked for, "" for a whole repository."""

    repository: str
    commit: str
    file: str
    licence: str


def write_source(folder: Path, source: Source) -> None:
    (folder / _NAME).write_text(json.dumps(dataclasses.asdict(source)), encoding="utf-8")


def read_source(folder: Path) -> Source | None:
    """None where Scumble has not fetched what lies in the folder."""
    try:
        values = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        return Source(*(str(values[field.name]) for field in dataclasses.fields(Source)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_source(folder: Path) -> None:
    """After the one file that Scumble had fetched is gone: takes the folder away too, unless somebody uses it."""
    if read_source(folder):
        (folder / _NAME).unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()
