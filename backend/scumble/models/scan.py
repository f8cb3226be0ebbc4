"""Looks for models in folders and says what each is, by content. Reads headers and samples, never whole weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..diffusion.contents import read_contents
from ..diffusion.families import find_family, identify
from ..diffusion.families.base import Identity
from ..protocol.errors import ModelUnreadable
from ..protocol.messages import ModelInfo
from .download import FILL_MODEL, is_complete

_SAMPLE = 1 << 16
_FILL_NATIVE = 512
"""Side in px of what MI-GAN looks at (fill.migan.VIEW; not imported, it would bring onnxruntime into the server)."""


@dataclass(frozen=True)
class ModelFile:
    """A model and where it is. `identity` is None for the fill model."""

    info: ModelInfo
    path: Path
    identity: Identity | None


def is_model_folder(path: Path) -> bool:
    """Whether a folder is one model in diffusers' layout, and not a folder of models."""
    return (path / "model_index.json").is_file()


def find_candidates(root: Path) -> Iterator[Path]:
    """Files and folders at or below `root` that may be models, in the order of their names. Hidden folders, links to
    folders, and links that lead out of `root` are left out."""
    root = root.resolve()
    if root.is_file() or is_model_folder(root):
        yield root
        return
    for folder, subfolders, files in os.walk(root):
        here = Path(folder)
        if is_model_folder(here):
            subfolders.clear()
            yield here
            continue
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            path = here / name
            if path.suffix.lower() in (".safetensors", ".onnx") and path.resolve().is_relative_to(root):
                yield path


def fingerprint(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and modification time of each of a model's files: equal as long as nobody touches it. Raises OSError."""
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in ((n, p.stat()) for n, p in _files(path)))


def examine(path: Path) -> ModelFile:
    """What the file or folder is. Raises ModelUnreadable where it is no model that Scumble can run, OSError."""
    if path.suffix.lower() == ".onnx" and path.is_file():
        return _examine_fill(path)
    identity = identify(read_contents(path))
    if identity is None:
        raise ModelUnreadable(
            f"{path.name} is no model of a kind that Scumble knows.",
            "Scumble runs Stable Diffusion 1.x models: a diffusers folder, or one .safetensors file with all parts.",
        )
    defaults = find_family(identity.family).defaults
    info = ModelInfo(
        id=content_id(path),
        name=readable_name(path),
        kind="diffusion",
        family=identity.family,
        inpaint=identity.inpaint,
        native=identity.native,
        bytes=sum(file.stat().st_size for _, file in _files(path)),
        steps=defaults.steps,
        guidance=defaults.guidance,
        sampler=defaults.sampler,
    )
    return ModelFile(info, path, identity)


def content_id(path: Path) -> str:
    """16 hexadecimal digits that follow from the content alone: the same for a copy elsewhere or under another name.

    Hashes each file's size, its beginning (the header with all names and shapes), and samples of its data.
    """
    digest = hashlib.sha256()
    for name, file in _files(path):
        size = file.stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        with file.open("rb") as data:
            for start in (0, size // 2, size - _SAMPLE):
                data.seek(max(start, 0))
                digest.update(data.read(_SAMPLE))
    return digest.hexdigest()[:16]


def readable_name(path: Path) -> str:
    """The name that its user knows it by: in the model hub's own cache the folder's name is only a commit."""
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return path.parent.parent.name.rpartition("--")[2]
    name = path.stem if path.is_file() else path.name
    return "".join(character for character in name if character.isprintable())


def _examine_fill(path: Path) -> ModelFile:
    if not is_complete(path, FILL_MODEL):
        raise ModelUnreadable(
            f"{path.name} is not the fill model as published.", "Fetch it with: scumble models pull migan"
        )
    info = ModelInfo(
        id=content_id(path),
        name="MI-GAN",
        kind="fill",
        family="migan",
        inpaint=True,
        native=_FILL_NATIVE,
        bytes=FILL_MODEL.size,
    )
    return ModelFile(info, path, None)


def _files(path: Path) -> list[tuple[str, Path]]:
    """The files that make a model what it is, by their names in its folder; a single file has no name of its own."""
    if not path.is_dir():
        return [("", path)]
    components = (file for pattern in ("*.json", "*/*.json", "*/*.safetensors") for file in path.glob(pattern))
    return sorted((file.relative_to(path).as_posix(), file) for file in components)
