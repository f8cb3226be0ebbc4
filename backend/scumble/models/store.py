"""Which models there are: those that Scumble fetched, and those in files and folders that the user named."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..diffusion.kinds import FLUX2, Z_IMAGE
from ..editing.adapters import Adapter
from ..home import Home
from ..protocol.errors import BadRequest, DiskFull, ModelMissing, ModelUnreadable
from .examine import CAN_READ_AHEAD, ModelFile, OtherFile, examine, printable, read_ahead
from .folders import Fingerprint, Survey, fingerprint, is_model_folder, survey
from .seen import Outcome, Seen, read_seen, write_seen
from .source import forget_source

__all__ = ["Adapter", "ModelFile", "ModelStore", "OtherFile"]


_READERS = 1 if CAN_READ_AHEAD else 3
"""Files that are looked at side by side: thousands that come from a disk take two thirds of the time, and less than half
where the system has them ready."""
_AHEAD = 32
"""Files that the system is to have ready before they are looked at."""
_ORDER = ("fill", "diffusion", "upscaler")
_WHICH = "Add a Stable Diffusion 1.x model."


@dataclass(frozen=True)
class _Named:
    """What the user named: files and folders to look in, and the ids of models not to list."""

    paths: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


class ModelStore:
    """Finds models, remembers what they are as long as nobody touches them, and gives each an id that follows from its
    content. Methods may be called from any thread, and by several processes with the same home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._record = home.root / "models.json"
        self._cache = home.cache / "models.json"
        self._lock = threading.RLock()
        self._known: Seen | None = None
        self._written: Seen = {}
        self._survey = Survey()
        self._stamp: tuple[int, int] | None = None
        self._listed: tuple[ModelFile, ...] | None = None
        self._adapters: tuple[Adapter, ...] = ()
        self._looked = 0, 0
        self._closed = False

    def close(self) -> None:
        """Ends a look that is under way; what it has not come to is left for the next start."""
        self._closed = True

    @property
    def looked(self) -> tuple[int, int]:
        """How many of how many new files have been looked at, while a list is being made or after the last one."""
        return self._looked

    def list(self, refresh: bool = False) -> tuple[ModelFile, ...]:
        """All models that can be run, fill models first, upscalers last, then by name. Files that are none are left out.
        What has come or gone since shows by itself; `refresh` looks at every file again, for those that were changed in
        place."""
        with self._lock:
            if self._listed is None or refresh or not self._is_current():
                self._listed = self._scan()
            return self._listed

    def adapters(self) -> tuple[Adapter, ...]:
        """What can be added to models, by kind and name."""
        with self._lock:
            self.list()
            return self._adapters

    def others(self) -> tuple[OtherFile, ...]:
        """What Scumble recognises and cannot paint with yet, by kind and name."""
        with self._lock:
            self.list()
            others = [outcome for _, outcome in self._seen().values() if isinstance(outcome, OtherFile)]
            return tuple(sorted(others, key=lambda other: (other.kind, other.name.lower())))

    def get(self, id: str) -> ModelFile:
        """Raises ModelMissing where no model has this id, or its files are gone."""
        for refresh in (False, True):
            for model in self.list(refresh):
                if model.info.id == id and os.path.exists(model.path):
                    return model
        raise ModelMissing("There is no such model (any more).")

    def problems(self) -> tuple[tuple[str, ModelUnreadable], ...]:
        """What the user named or put into the folders and is not listed, by name, and why."""
        with self._lock:
            self.list(refresh=True)
            gone = [
                (path, ModelUnreadable("It is no longer there.", "Add it again where it is now: scumble models add"))
                for path in self._read().paths
                if not os.path.exists(path) and Path(path) not in self._survey.closed
            ]
            closed = [(printable(path), _closed()) for path in self._survey.closed]
            links = [(printable(path.name), _not_followed()) for path in self._survey.links]
            return (*gone, *closed, *((printable(path.name), why) for path, why in self._unreadable()), *links)

    def add(self, path: Path) -> ModelFile | Adapter:
        """Makes the file or folder of a model or an adapter, or all of them in a folder, part of the list; nothing is
        copied. Returns what it is, of a folder of models the first model.

        Raises ModelUnreadable, which says what is wrong with it; DiskFull.
        """
        path = path.expanduser().resolve()
        is_one = path.is_file() or is_model_folder(path)
        with self._lock:
            try:
                if not path.exists():
                    raise ModelUnreadable(
                        f"{path.name} is not there.", "Check its name, and that its disk is connected."
                    )
                inside = Survey() if is_one or not path.is_dir() else survey([path])
                found = self._examine_all(inside) if inside.changed else [examine(path)]
            except OSError as error:
                raise ModelUnreadable(f"{path.name} cannot be read: {error.strerror}.", "Check its name.") from error
            usable = [outcome for outcome in found if isinstance(outcome, (ModelFile, Adapter))]
            if not usable and inside.closed:
                raise _closed(printable(inside.closed[0].name))
            if not usable and inside.links:
                raise _not_followed(", ".join(link.name for link in inside.links))
            if not usable:
                raise _nothing_usable(path.name, [other for other in found if isinstance(other, OtherFile)])
            added = {each.info.id for each in usable}
            named = self._read()
            paths = named.paths if str(path) in named.paths else (*named.paths, str(path))
            self._write(_Named(paths, tuple(id for id in named.hidden if id not in added)))
            self._listed = None
        return self._find(min(usable, key=lambda each: isinstance(each, Adapter)).info.id)

    def remove(self, id: str) -> None:
        """Takes a model or an adapter off the list. Only in Scumble's own folder are its files deleted; the user's are
        never touched.

        Raises ModelMissing, BadRequest (its files cannot be deleted), DiskFull.
        """
        with self._lock:
            model = self._find(id)
            if model.path.is_relative_to(self._home.models.resolve()):
                _delete(model.path)
                forget_source(model.path.parent)
            else:
                named = self._read()
                paths = tuple(path for path in named.paths if path != str(model.path))
                self._write(_Named(paths, (*named.hidden, id) if paths == named.paths else named.hidden))
            self._listed = None
            # A copy may lie in one of the user's folders.
            if id in {model.info.id for model in self.list()} | {adapter.info.id for adapter in self.adapters()}:
                self.remove(id)

    def forget(self, path: Path) -> bool:
        """Takes back that `add` has named this file or folder, whether it is there or not; says whether it was named. No
        file is touched. Raises DiskFull."""
        with self._lock:
            named = self._read()
            paths = tuple(each for each in named.paths if each != str(path.expanduser().resolve()))
            if paths == named.paths:
                return False
            self._write(_Named(paths, named.hidden))
            self._listed = None
            return True

    def _find(self, id: str) -> ModelFile | Adapter:
        """As `get`, adapters too."""
        adapter = next((adapter for adapter in self.adapters() if adapter.info.id == id), None)
        return adapter if adapter and os.path.exists(adapter.path) else self.get(id)

    def _scan(self) -> tuple[ModelFile, ...]:
        self._stamp = _stamp(self._record)
        named = self._read()
        self._survey = survey([self._home.models, *(Path(path) for path in named.paths)])
        by_id: dict[str, ModelFile | Adapter] = {}
        for outcome in self._examine_all(self._survey):
            if isinstance(outcome, (ModelFile, Adapter)):
                by_id.setdefault(outcome.info.id, outcome)
        present = set(self._survey.candidates)
        self._known = {path: known for path, known in self._seen().items() if path in present}
        if self._known != self._written:
            write_seen(self._cache, self._known)
            self._written = dict(self._known)
        usable = [each for id, each in by_id.items() if id not in named.hidden]
        adapters = (each for each in usable if isinstance(each, Adapter))
        self._adapters = tuple(sorted(adapters, key=lambda each: (each.info.kind, each.info.name.lower())))
        models = (each for each in usable if isinstance(each, ModelFile))
        return tuple(sorted(models, key=lambda model: (_ORDER.index(model.info.kind), model.info.name.lower())))

    def _is_current(self) -> bool:
        """Whether what was listed is still so: nothing was named or taken off, no file has come or gone, and what could
        not be read (half copied, say) has not changed."""
        return (
            self._stamp == _stamp(self._record)
            and self._survey.is_current()
            and all(_fingerprint(path) == self._seen()[path][0] for path, _ in self._unreadable())
        )

    def _unreadable(self) -> Sequence[tuple[Path, ModelUnreadable]]:
        known = self._seen().items()
        return [(path, outcome) for path, (_, outcome) in known if isinstance(outcome, ModelUnreadable)]

    def _seen(self) -> Seen:
        if self._known is None:
            self._known = read_seen(self._cache)
            self._written = dict(self._known)
        return self._known

    def _examine_all(self, found: Survey) -> Sequence[Outcome]:
        """What each is, from memory where nobody has touched it."""
        known = self._seen()
        touched = {path: touch for path in found.candidates if (touch := _fingerprint(path))}
        new = [path for path, touch in touched.items() if path not in known or known[path][0] != touch]
        soon = iter(new)
        for path in islice(soon, _AHEAD):
            read_ahead(path)
        with ThreadPoolExecutor(_READERS) as readers:
            for done, (path, outcome) in enumerate(zip(new, readers.map(_examined, new), strict=True), 1):
                self._looked = done, len(new)
                for later in islice(soon, 1):
                    read_ahead(later)
                if self._closed:
                    break
                if outcome:
                    known[path] = (touched[path], outcome)
                else:
                    del touched[path]
        return [known[path][1] for path in touched if path in known]

    def _read(self) -> _Named:
        try:
            values = json.loads(self._record.read_text(encoding="utf-8"))
            return _Named(tuple(map(str, values["paths"])), tuple(map(str, values["hidden"])))
        except FileNotFoundError:
            return _Named()
        except (OSError, ValueError, KeyError, TypeError):
            # Damaged: the models are still where they are and can be named again.
            return _Named()

    def _write(self, named: _Named) -> None:
        part = self._record.with_suffix(".part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"paths": named.paths, "hidden": named.hidden}, indent=2), encoding="utf-8")
            os.replace(part, self._record)
        except OSError as error:
            raise DiskFull("The list of models could not be written.") from error


def _examined(path: Path) -> Outcome | None:
    """None: gone or locked since we saw its name."""
    try:
        return examine(path)
    except ModelUnreadable as error:
        return error
    except OSError:
        return None


def _fingerprint(path: Path) -> Fingerprint | None:
    try:
        return fingerprint(path)
    except OSError:
        return None


def _stamp(path: Path) -> tuple[int, int] | None:
    """Differs after each writing: every one makes a new file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _closed(name: str = "It") -> ModelUnreadable:
    return ModelUnreadable(f"{name} cannot be read.", "Check that you may read it and that its disk is connected.")


def _not_followed(links: str = "") -> ModelUnreadable:
    return ModelUnreadable(
        f"{printable(links)}: links to folders, and to files elsewhere, are not followed."
        if links
        else "Links to folders, and to files elsewhere, are not followed.",
        "Add what they lead to by its own path: scumble models add",
    )


def _nothing_usable(name: str, others: Sequence[OtherFile]) -> ModelUnreadable:
    if not others:
        return ModelUnreadable(
            f"In {name} lies no model of a kind that Scumble knows.",
            "Name a folder with Stable Diffusion models, in diffusers' layout or as .safetensors files.",
        )
    if len(others) == 1:
        as_folder = any(base in others[0].kind.base for base in (FLUX2, Z_IMAGE))
        hint = "FLUX.2 klein and Z-Image run as diffusers folders." if as_folder else _WHICH
        return ModelUnreadable(f"{name} is of the kind {others[0].kind}, which Scumble cannot use yet.", hint)
    kinds = Counter(str(other.kind) for other in others).most_common(3)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return ModelUnreadable(f"In {name} is nothing that Scumble can use yet: {told}.", _WHICH)


def _delete(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise BadRequest("The model's files cannot be deleted.", "Close what uses them and try again.") from error
