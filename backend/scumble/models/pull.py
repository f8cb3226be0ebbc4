"""Brings a model from the hub into Scumble's folder, whole or not at all. Only ever at the user's word."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..diffusion.contents import MAX_HEADER, parse_header, read_configs
from ..diffusion.families import identify
from ..diffusion.families.base import Contents
from ..diffusion.kinds import adapter, recognise
from ..editing.adapters import Adapter
from ..home import Home
from ..lock import Locked, locked
from ..protocol.errors import BadRequest, ModelMissing, ModelUnreadable
from .catalogue import CATALOGUE, find_entry
from .choice import choose
from .download import Progress, Published, check_space, fetch, is_complete, not_written, part_of
from .examine import ANY_NAME, ModelFile, OtherFile, examine
from .folders import is_model_folder
from .hub import Hub
from .source import Source, read_source, write_source

_LOCK = ".lock"  # two that write into the same parts would spoil them
_DIGESTS = ".digests"  # of which files the parts are, by name: a later version of the repository may hold the same
_PULLING = ".pulling"  # in the folder of models, so that the last step is a rename; hidden, so that nobody lists it


@dataclass(frozen=True)
class Offer:
    """What would be fetched, to be shown before it is. `suggested` models are known to be of use."""

    name: str
    repository: str
    commit: str
    file: str
    licence: str
    licence_url: str
    files: tuple[Published, ...]
    suggested: bool

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


def find_offer(wanted: str, hub: Hub) -> Offer:
    """What `wanted` stands for: an id of the catalogue, or owner/name[:FILE.safetensors] of any repository, or the address
    of either in a browser.

    Raises BadRequest, ModelMissing, ModelUnreadable.
    """
    wanted = hub.named(wanted.strip())
    entry = find_entry(wanted)
    repository, _, file = (entry.repository, "", entry.file) if entry else wanted.partition(":")
    if "/" not in repository:
        ids = ", ".join(entry.id for entry in CATALOGUE)
        raise ModelMissing(
            f"{wanted} is not on Scumble's short list.", f"It holds {ids}. Or name a model on the hub: owner/name."
        )
    found = hub.look_up(repository, entry.revision if entry else "main")
    files = choose(found.files, file)
    weights = [published.name for published in files if published.name.endswith(".safetensors")]
    is_single = len(files) == 1
    stem = PurePosixPath(weights[0]).stem
    own_name = stem if is_single and not ANY_NAME.match(stem) else repository.partition("/")[2]
    return Offer(
        name=entry.name if entry else own_name,
        repository=repository,
        commit=found.commit,
        file=weights[0] if is_single else "",
        licence=entry.licence if entry else found.licence,
        licence_url=entry.licence_url if entry else hub.page(repository),
        files=files,
        suggested=entry is not None,
    )


def pull(offer: Offer, home: Home, hub: Hub, progress: Progress | None = None) -> ModelFile | Adapter | OtherFile:
    """Fetches what is offered, going on where an earlier try ended. Until everything is there and checked it lies where
    no list looks.

    Raises ModelMissing (out of reach, broken off: what came is kept for the next try), ModelUnreadable (damaged, or
    nothing that Scumble can use), DiskFull, BadRequest (a folder is in the way, or another process fetches the same).
    """
    destination, parts = _destination(home, offer), _parts(home, offer)
    source = Source(offer.repository, offer.commit, offer.file, offer.licence)
    if read_source(destination) == source and all(is_complete(_at(destination, offer, f), f) for f in offer.files):
        return examine(_model(destination, offer))
    try:
        parts.mkdir(parents=True, exist_ok=True)
        with locked(parts / _LOCK):
            _take_over(parts, offer)
            check_space(parts, sum(_missing(_at(parts, offer, file), file) for file in offer.files))
            _fetch_all(offer, parts, hub, progress)
            with _swept_when_useless(parts):
                examine(_model(parts, offer))
            write_source(parts, source)
        for note in (_LOCK, _DIGESTS):
            (parts / note).unlink()
        _move(parts, destination)
        return examine(_model(destination, offer))
    except Locked:
        raise BadRequest(
            f"{offer.name} is being fetched already, by another command.", "Wait until it is done."
        ) from None
    except OSError as error:
        raise not_written(error, offer.name) from error


def _fetch_all(offer: Offer, parts: Path, hub: Hub, progress: Progress | None) -> None:
    missing = [_missing(_at(parts, offer, file), file) for file in offer.files]
    done = offer.bytes - sum(missing)
    is_of_use = offer.suggested
    for file, still in zip(offer.files, missing, strict=True):
        if file.name.endswith(".safetensors") and not is_of_use:  # by now everything small is here
            if still == file.size:  # else an earlier try has asked
                with _swept_when_useless(parts):
                    _require_use(offer, file, parts, hub)
            is_of_use = True
        before = done - (file.size - still)
        if still or not _at(parts, offer, file).is_file():
            _fetch(offer, file, _at(parts, offer, file), hub, _shifted(progress, before, offer.bytes))
        done += still


def _fetch(offer: Offer, file: Published, destination: Path, hub: Hub, progress: Progress) -> None:
    """Tries again as long as each try brings something: connections of an hour break."""
    url = hub.url(offer.repository, offer.commit, file.name)
    while True:
        before = _size(part_of(destination))
        try:
            fetch(url, destination, file, progress, hub.token, hub.page(offer.repository))
            return
        except ModelMissing:
            if _size(part_of(destination)) <= before:
                raise


def _require_use(offer: Offer, file: Published, parts: Path, hub: Hub) -> None:
    """Before gigabytes come: what is this? A folder's descriptions are here by now; of a single file we ask the start.

    Raises ModelUnreadable where it is of no use.
    """
    if (parts / "model_index.json").is_file():
        contents = Contents("diffusers", {}, read_configs(parts), {})
    else:
        start = hub.read_start(offer.repository, offer.commit, file.name, 8)
        length = min(8 + int.from_bytes(start, "little"), 8 + MAX_HEADER, file.size)
        header = hub.read_start(offer.repository, offer.commit, file.name, length)
        tensors, metadata = parse_header(io.BytesIO(header), file.size)
        contents = Contents("single", tensors, {}, metadata)
    if identify(contents) is None and adapter(contents) is None:
        kind = recognise(contents)
        what = f"is of the kind {kind}, which Scumble cannot use yet" if kind else "is of no kind that Scumble knows"
        raise ModelUnreadable(f"{offer.name} {what}.", "Nothing was fetched. What can be: scumble models pull")


@contextmanager
def _swept_when_useless(parts: Path) -> Iterator[None]:
    try:
        yield
    except ModelUnreadable:
        shutil.rmtree(parts, ignore_errors=True)
        raise


def _shifted(progress: Progress | None, done: int, total: int) -> Progress:
    def report(of_file: int, _: int) -> None:
        if progress:
            progress(done + of_file, total)

    return report


def _destination(home: Home, offer: Offer) -> Path:
    """A free folder, or the one where an earlier version of the same lies. Raises BadRequest."""
    for name in (offer.name, f"{offer.name} ({offer.repository.replace('/', ', ')})"):
        folder = home.models / name
        source = read_source(folder)
        if not folder.exists() or (source and (source.repository, source.file) == (offer.repository, offer.file)):
            return folder
    raise BadRequest(f"A folder {offer.name} is already there.", "Rename it in Scumble's folder of models.")


def _parts(home: Home, offer: Offer) -> Path:
    name = f"{offer.repository}@{offer.commit[:12]}" + (f"@{offer.file}" if offer.file else "")
    return home.models / _PULLING / name.replace("/", "--")


def _at(folder: Path, offer: Offer, file: Published) -> Path:
    """Where a file lies in the model's folder: as in the repository; the only one of it at the top."""
    return folder / (PurePosixPath(file.name).name if offer.file else file.name)


def _model(folder: Path, offer: Offer) -> Path:
    """What is the model there: the folder in diffusers' layout, or the weights."""
    return folder if is_model_folder(folder) else _at(folder, offer, offer.files[-1])


def _take_over(parts: Path, offer: Offer) -> None:
    """What came of another version of this repository goes on here, where the file is the same in both, as after most
    commits; the rest of it is forgotten."""
    repository, commit = parts.name.split("@")[:2]
    for other in parts.parent.glob(f"{repository}@*"):
        if other.name.split("@")[1] == commit:
            continue
        theirs = _read_digests(other)
        for file in offer.files:
            old, new = _at(other, offer, file), _at(parts, offer, file)
            for source, target in ((old, new), (part_of(old), part_of(new))):
                if theirs.get(file.name) == file.digest and source.is_file() and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source.replace(target)
        shutil.rmtree(other, ignore_errors=True)
    (parts / _DIGESTS).write_text(json.dumps({file.name: file.digest for file in offer.files}), encoding="utf-8")


def _read_digests(parts: Path) -> dict[str, object]:
    try:
        digests = json.loads((parts / _DIGESTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return digests if isinstance(digests, dict) else {}


def _missing(path: Path, file: Published) -> int:
    """Bytes that are still to be fetched. What has its final name was checked before it got it."""
    return 0 if path.is_file() and _size(path) == file.size else max(file.size - _size(part_of(path)), 0)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _move(parts: Path, destination: Path) -> None:
    aside = parts.with_name(parts.name + ".old")
    if destination.exists():
        destination.replace(aside)
    parts.replace(destination)
    shutil.rmtree(aside, ignore_errors=True)
