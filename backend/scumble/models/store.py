"""Which models there are: those that Scumble fetched, and those in files and folders that the user named."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..home import Home
from ..protocol.errors import BadRequest, DiskFull, ModelMissing, ModelUnreadable
from .scan import ModelFile, examine, find_candidates, fingerprint, is_model_folder

__all__ = ["ModelFile", "ModelStore"]


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
        self._lock = threading.RLock()
        self._known: dict[Path, tuple[object, ModelFile | ModelUnreadable]] = {}
        self._listed: tuple[ModelFile, ...] | None = None

    def list(self, refresh: bool = False) -> tuple[ModelFile, ...]:
        """All models that can be run, fill models first, then by name. Files that are none are left out; `refresh` looks
        at the disk again."""
        with self._lock:
            if self._listed is None or refresh:
                self._listed = self._scan()
            return self._listed

    def get(self, id: str) -> ModelFile:
        """Raises ModelMissing where no model has this id, or its files are gone."""
        for refresh in (False, True):
            for model in self.list(refresh):
                if model.info.id == id and model.path.exists():
                    return model
        raise ModelMissing("There is no such model (any more).")

    def problems(self) -> tuple[tuple[str, ModelUnreadable], ...]:
        """What the user named or put into the folders and is not listed, by name, and why."""
        with self._lock:
            self.list(refresh=True)
            gone = [
                (path, ModelUnreadable("It is no longer there.", "Add it again where it is now: scumble models add"))
                for path in self._read().paths
                if not Path(path).exists()
            ]
            unread = [(path.name, why) for path, (_, why) in self._known.items() if isinstance(why, ModelUnreadable)]
            return (*gone, *unread)

    def add(self, path: Path) -> ModelFile:
        """Makes a model's file or folder, or all models in a folder, part of the list; nothing is copied. Returns the
        model, the first one of a folder of models.

        Raises ModelUnreadable, which says what is wrong with it; DiskFull.
        """
        path = path.expanduser().resolve()
        try:
            if path.is_dir() and not is_model_folder(path):
                models = self._examine_all(find_candidates(path))
                if not models:
                    raise ModelUnreadable(
                        f"In {path.name} lies no model of a kind that Scumble knows.",
                        "Name a folder with Stable Diffusion 1.x models, in diffusers' layout or as .safetensors files.",
                    )
            else:
                models = (examine(path),)
        except OSError as error:
            raise ModelUnreadable(f"{path.name} cannot be read: {error.strerror}.", "Check its name.") from error
        added = {model.info.id for model in models}
        with self._lock:
            named = self._read()
            paths = named.paths if str(path) in named.paths else (*named.paths, str(path))
            self._write(_Named(paths, tuple(id for id in named.hidden if id not in added)))
            self._listed = None
        return self.get(models[0].info.id)

    def remove(self, id: str) -> None:
        """Takes a model off the list. Only in Scumble's own folder are its files deleted; the user's are never touched.

        Raises ModelMissing, BadRequest (its files cannot be deleted), DiskFull.
        """
        with self._lock:
            model = self.get(id)
            if model.path.is_relative_to(self._home.models.resolve()):
                _delete(model.path)
            else:
                named = self._read()
                paths = tuple(path for path in named.paths if path != str(model.path))
                self._write(_Named(paths, (*named.hidden, id) if paths == named.paths else named.hidden))
            self._listed = None
            if any(other.info.id == id for other in self.list()):  # a copy lies in one of the user's folders
                self.remove(id)

    def _scan(self) -> tuple[ModelFile, ...]:
        named = self._read()
        roots = [self._home.models, *(Path(path) for path in named.paths)]
        candidates = [path for root in roots if root.exists() for path in find_candidates(root)]
        self._known = {path: self._known[path] for path in candidates if path in self._known}
        by_id: dict[str, ModelFile] = {}
        for model in self._examine_all(candidates):
            by_id.setdefault(model.info.id, model)
        models = (model for id, model in by_id.items() if id not in named.hidden)
        return tuple(sorted(models, key=lambda model: (model.info.kind != "fill", model.info.name.lower())))

    def _examine_all(self, candidates: Iterable[Path]) -> tuple[ModelFile, ...]:
        """What each is, from memory where nobody has touched it; those that are no models are left out."""
        models = []
        for path in candidates:
            try:
                touched = fingerprint(path)
                if path not in self._known or self._known[path][0] != touched:
                    self._known[path] = (touched, _examined(path))
            except OSError:  # gone or locked since we saw its name
                continue
            model = self._known[path][1]
            if isinstance(model, ModelFile):
                models.append(model)
        return tuple(models)

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


def _examined(path: Path) -> ModelFile | ModelUnreadable:
    try:
        return examine(path)
    except ModelUnreadable as error:
        return error


def _delete(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise BadRequest("The model's files cannot be deleted.", "Close what uses them and try again.") from error
