"""What files turned out to be, remembered from one start to the next as long as nobody touches them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any, get_args

from .. import __version__
from ..diffusion.families import FAMILIES
from ..diffusion.families.base import Defaults, Identity
from ..diffusion.kinds import Kind
from ..editing.adapters import Adapter
from ..protocol.errors import ModelUnreadable
from ..protocol.messages import AdapterInfo, AdapterKind, ModelInfo
from ..protocol.schema import from_json
from .examine import ModelFile, OtherFile
from .folders import Fingerprint

Outcome = ModelFile | Adapter | OtherFile | ModelUnreadable
Seen = dict[Path, tuple[Fingerprint, Outcome]]

_RULES = 6  # counted up whenever a file may turn out to be something else than before
_KNOWLEDGE = [
    __version__,
    _RULES,
    *get_args(AdapterKind),
    *(field.name for info in (ModelInfo, AdapterInfo) for field in dataclasses.fields(info)),
    *(family.name for family in FAMILIES),
]
"""A Scumble that knows more looks at everything again."""


def read_seen(record: Path) -> Seen:
    """Nothing where it is missing, damaged or of another version: everything can be looked at again."""
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        if values["knowledge"] != _KNOWLEDGE:
            return {}
        return {
            Path(path): (_fingerprint(touched), _outcome(Path(path), told)) for path, touched, told in values["files"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_seen(record: Path, seen: Seen) -> None:
    """Does nothing where it cannot be written: it only saves time."""
    part = record.with_suffix(f".{os.getpid()}.part")
    files = [(str(path), touched, _told(outcome)) for path, (touched, outcome) in seen.items()]
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        # By `vars` what is nested too: dataclasses.asdict takes a tenth of the time of a first list.
        part.write_text(json.dumps({"knowledge": _KNOWLEDGE, "files": files}, default=vars), encoding="utf-8")
        os.replace(part, record)
    except OSError:
        with contextlib.suppress(OSError):  # what keeps us from writing may keep us from this too
            part.unlink()


def _fingerprint(values: Any) -> Fingerprint:
    return tuple((str(name), int(size), int(mtime)) for name, size, mtime in values)


def _told(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, ModelUnreadable):
        return {"message": outcome.message, "hint": outcome.hint}
    return {name: value for name, value in vars(outcome).items() if name != "path"}


def _outcome(path: Path, told: dict[str, Any]) -> Outcome:
    if "message" in told:
        return ModelUnreadable(told["message"], told["hint"])
    if "kind" in told:
        return OtherFile(**{**told, "path": path, "kind": Kind(*told["kind"])})
    if "identity" not in told:
        return Adapter(AdapterInfo(**told["info"]), path, told["alias"])
    return ModelFile(from_json(ModelInfo, told["info"]), path, told["identity"] and _identity(told["identity"]))


def _identity(told: dict[str, Any]) -> Identity:
    return Identity(**{**told, "suits": told["suits"] and Defaults(**told["suits"])})
