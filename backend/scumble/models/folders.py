"""Walks through folders of models, of whichever program: what may be a model, and how to notice that something changed.

Content says what a file is, so the folders of A1111, ComfyUI and InvokeAI need no rules of their own. The model hub's
cache does: its snapshots hold links into `blobs/` beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_WEIGHTS = (".safetensors", ".onnx", ".gguf")
_PICKLES = (".ckpt", ".pt", ".pth", ".bin")  # never opened as such; listed with the reason
_NO_MODELS = (
    *("venv", "site-packages", "node_modules", "__pycache__"),
    *("$RECYCLE.BIN", "System Volume Information", "lost+found"),  # of Windows and Linux, on every disk
)
_SETTLED = 2.0
"""Seconds after which the clock of every file system has moved on, so that a further change shows in the time."""
_UNSETTLED = -1
"""Equals no time: what changed only now is looked at again."""

Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass
class Survey:
    """Files and folders that may be models, in the order of their names; links to folders and to models elsewhere, which
    are not followed; folders that are there and cannot be looked into; and when each folder on the way last changed (in
    ns; None: it is not there)."""

    candidates: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)
    changed: dict[Path, int | None] = field(default_factory=dict)

    def is_current(self) -> bool:
        """Whether no file has come, gone or been renamed since. Costs one look at each folder, none at the files."""
        return all(_changed(path) == mtime for path, mtime in self.changed.items())


def is_model_folder(path: Path) -> bool:
    """Whether a folder is one model in diffusers' layout, and not a folder of models."""
    return (path / "model_index.json").is_file()


def survey(roots: Iterable[Path]) -> Survey:
    """Looks at and below each root. What is hidden, links to folders, and links that lead out of their root are left out;
    so are folders that hold programs, or what was thrown away."""
    found = Survey()
    unsettled = time.time_ns() - int(_SETTLED * 1e9)
    for root in roots:
        _look(Path(os.path.realpath(root)), found)
    for path, mtime in found.changed.items():
        if mtime is not None and mtime > unsettled:
            found.changed[path] = _UNSETTLED
    return found


def files_of(path: Path) -> list[tuple[str, Path]]:
    """The files that make a model what it is, by their names in its folder; a single file has no name of its own."""
    if not path.is_dir():
        return [("", path)]
    components = (file for pattern in ("*.json", "*/*.json", "*/*.safetensors") for file in path.glob(pattern))
    return sorted((file.relative_to(path).as_posix(), file) for file in components)


def fingerprint(path: Path) -> Fingerprint:
    """Name, size and modification time of each of a model's files: equal as long as nobody touches it. Raises OSError."""
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in ((n, p.stat()) for n, p in files_of(path)))


def repository_of(path: Path) -> Path | None:
    """The folder of a repository in the hub's cache that `path` lies in, if any."""
    return next((folder for folder in (path, *path.parents) if folder.name.startswith("models--")), None)


def _look(root: Path, found: Survey) -> None:
    inside = repository_of(root) or root
    if os.path.isfile(root):  # unlike Path's, never raises: the disk of the user's folder may be away, or out of order
        found.changed[root] = _changed(root)
        found.candidates.append(root)
        return

    def closed(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            found.closed.append(Path(error.filename))

    for folder, subfolders, files in os.walk(root, onerror=closed):
        here = Path(folder)
        found.changed[here] = _changed(here)
        if "model_index.json" in files:
            subfolders.clear()
            (found.candidates if _stays_inside(here, inside) else found.links).append(here)
            continue
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name not in _NO_MODELS)
        found.links += (here / name for name in subfolders if os.path.islink(f"{folder}{os.sep}{name}"))
        for name in sorted(files):
            # A Mac writes a small "._NAME" beside each file on disks of other systems.
            if name.lower().endswith(_WEIGHTS + _PICKLES) and not name.startswith("."):
                stays = _link_stays_inside(f"{folder}{os.sep}{name}", inside)
                (found.candidates if stays else found.links).append(here / name)
    found.changed.setdefault(root, None)


def _stays_inside(folder: Path, root: Path) -> bool:
    walk = ((here, name) for here, folders, files in os.walk(folder) for name in (*folders, *files))
    return all(_link_stays_inside(os.path.join(here, name), root) for here, name in walk)


def _link_stays_inside(path: str, root: Path) -> bool:
    return not os.path.islink(path) or Path(os.path.realpath(path)).is_relative_to(root)


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
