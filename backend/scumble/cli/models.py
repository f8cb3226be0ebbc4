"""`scumble models`: what the backend can paint with."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..client.client import Client
from ..client.events import Event, Received
from ..client.launcher import find_backend
from ..editing.adapters import WORDS
from ..home import Home, find_home
from ..protocol.errors import BadRequest, ModelMissing
from ..protocol.messages import AdapterInfo, ModelInfo, ModelList
from ..protocol.schema import to_json
from .service import PATIENCE, connected

if TYPE_CHECKING:
    from ..models.download import Progress
    from ..models.store import ModelStore

_FEW = 12
"""Lines on what a folder brought."""


def run(args: argparse.Namespace) -> int:
    home = find_home()
    if args.action == "list":
        return _list(args, home)
    if args.action == "pull" and args.file is not None and not _is_fill_model(args.id):
        raise BadRequest(
            "--file is for the fill model alone.", "Use a model that you have where it lies: scumble models add PATH"
        )
    if args.action == "pull" and args.id is None:
        return _suggest()
    if args.action == "pull":
        _pull(args, home)
    else:
        from ..models.store import ModelStore

        store = ModelStore(home)
        if args.action == "add":
            _add(store, args.path)
        elif store.forget(Path(args.id)):
            print("What was added by this name is off the list.")
        else:
            _remove(store, args.id)
    if find_backend(home) is not None:
        with connected(home, start=False) as (client, _):
            refresh(client)
    return 0


def _add(store: ModelStore, path: Path) -> None:
    before = _known(store)
    added = store.add(path)
    new = [info for id, info in _known(store).items() if id not in before] or [added.info]
    for info in new[:_FEW]:
        print(_line(info))
    if len(new) > _FEW:
        print(f"and {len(new) - _FEW} more: scumble models list")


def _known(store: ModelStore) -> dict[str, ModelInfo | AdapterInfo]:
    models = {model.info.id: model.info for model in store.list()}
    return {**models, **{adapter.info.id: adapter.info for adapter in store.adapters()}}


def _remove(store: ModelStore, id: str) -> None:
    try:
        store.remove(id)
    except ModelMissing as error:
        message = f"Nothing is listed by the id {id}, or was added by that name."
        raise ModelMissing(message, "Ids are in front of each line of: scumble models list") from error
    print("The model is off the list.")


def refresh(client: Client) -> ModelList:
    """What there is after the backend has looked at the folders again."""

    def pick(event: Event) -> ModelList | None:
        return event.message if isinstance(event, Received) and isinstance(event.message, ModelList) else None

    client.models(refresh=True)
    return client.wait_for(pick, PATIENCE)


def _list(args: argparse.Namespace, home: Home) -> int:
    with connected(home) as (client, _):
        found = refresh(client)
    if not args.all:
        _print(found, args.json)
        return 0
    from ..models.store import ModelStore

    _print_all(found, ModelStore(home), args.json)
    return 0


def _print(found: ModelList, as_json: bool) -> None:
    if as_json:
        print(json.dumps([to_json(info) for info in (*found.models, *found.adapters)], ensure_ascii=False))
        return
    for model in found.models:
        print(_line(model))
    for adapter in found.adapters:
        print(_line(adapter))
    if not found.models:
        print("No models yet. Add one with: scumble models add, or fetch one: scumble models pull")


def _line(info: ModelInfo | AdapterInfo) -> str:
    """One model or adapter, as lists show it."""
    if isinstance(info, AdapterInfo):
        kind = WORDS[info.kind] + (f" for {info.family}" if info.family else "")
    else:
        kind = info.family + (", inpainting" if info.inpaint and info.kind == "diffusion" else "")
    return f"{info.id}  {info.name} ({_described(kind, info.bytes, info.licence)})"


def _print_all(found: ModelList, store: ModelStore, as_json: bool) -> None:
    """Also what Scumble recognises and cannot use yet, and what it does not read and why."""
    from ..diffusion.kinds import TINY

    others, problems = store.others(), store.problems()
    if as_json:
        told = {
            "models": [to_json(model) for model in found.models],
            "adapters": [to_json(adapter) for adapter in found.adapters],
            "others": [
                {"name": other.name, "what": other.kind.what, "base": other.kind.base, "bytes": other.bytes}
                | ({"licence": other.licence} if other.licence else {})
                for other in others
            ],
            "unreadable": [{"name": name, "message": why.message, "hint": why.hint} for name, why in problems],
        }
        print(json.dumps(told, ensure_ascii=False))
        return
    _print(found, as_json=False)
    for other in others:
        use = "for previews  " if other.name.casefold() in TINY.values() else "not usable yet"
        print(f"{use}    {other.name} ({_described(str(other.kind), other.bytes, other.licence)})")
    for name, why in problems:
        print(f"not read          {name}: {why.message} {why.hint}")


def _described(kind: str, size: int, licence: str) -> str:
    return ", ".join(part for part in (kind, _size(size), licence) if part)


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _suggest() -> int:
    from ..models.catalogue import CATALOGUE

    for entry in CATALOGUE:
        print(f"{entry.id:17} {entry.name}: {entry.purpose}")
        print(f"{'':17} {_size(entry.bytes)}, {entry.licence} ({entry.licence_url})")
    print("Fetch one with: scumble models pull ID, or any other on the hub: scumble models pull owner/name")
    return 0


def _pull(args: argparse.Namespace, home: Home) -> None:
    from ..models.catalogue import FILL
    from ..models.download import fetch_fill_model
    from ..models.hub import Hub
    from ..models.pull import find_offer, pull
    from ..models.store import OtherFile
    from ..models.web import hub_endpoint

    if _is_fill_model(args.id):
        _announce(FILL.name, FILL.bytes, FILL.licence, FILL.licence_url)
        with _bar(FILL.name) as progress:
            fetch_fill_model(home, args.file, progress)
        print("The fill model is here.")
        return
    hub = Hub(hub_endpoint(), (os.environ.get("HF_TOKEN") or "").strip() or None)
    offer = find_offer(args.id, hub)
    _announce(offer.name, offer.bytes, offer.licence or "not told", offer.licence_url)
    with _bar(offer.name) as progress:
        found = pull(offer, home, hub, progress)
    if isinstance(found, OtherFile):
        print(f"{found.name} is here: {found.kind}.")
    else:
        print(f"{found.info.id}  {found.info.name} is here.")


def _is_fill_model(id: str | None) -> bool:
    from ..models.catalogue import FILL, find_entry

    return id is not None and find_entry(id) == FILL


def _announce(name: str, size: int, licence: str, url: str) -> None:
    print(f"{name}: {_size(size)}. Licence: {licence} ({url})", flush=True)


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """A progress bar with speed and time left, where somebody looks; what was there before does not count as speed."""
    from tqdm import tqdm

    bar: tqdm | None = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            hidden = not sys.stderr.isatty()
            bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=name, disable=hidden, leave=False)
        bar.update(done - bar.n)

    try:
        yield show
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        raise
    finally:
        if bar is not None:
            bar.close()
