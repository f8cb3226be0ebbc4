"""`scumble models`: what the backend can paint with."""

from __future__ import annotations

import argparse
import json
import sys

from ..client.client import Client
from ..client.events import Event, Received
from ..client.launcher import find_backend
from ..home import Home, find_home
from ..protocol.errors import ModelMissing
from ..protocol.messages import ModelInfo, ModelList
from ..protocol.schema import to_json
from .service import PATIENCE, connected

FILL_NAMES = ("migan", "fill")
"""What the one model that can be fetched so far is called."""


def run(args: argparse.Namespace) -> int:
    home = find_home()
    if args.action == "list":
        with connected(home) as (client, _):
            _print(refresh(client), args.json)
        return 0
    if args.action == "pull":
        _pull(args, home)
    else:
        from ..models.store import ModelStore

        store = ModelStore(home)
        if args.action == "add":
            info = store.add(args.path).info
            print(f"{info.id}  {info.name} ({info.family})")
        else:
            store.remove(args.id)
            print("The model is off the list.")
    if find_backend(home) is not None:
        with connected(home, start=False) as (client, _):
            refresh(client)
    return 0


def refresh(client: Client) -> tuple[ModelInfo, ...]:
    """The models after the backend has looked at the folders again."""

    def pick(event: Event) -> ModelList | None:
        return event.message if isinstance(event, Received) and isinstance(event.message, ModelList) else None

    client.models(refresh=True)
    return client.wait_for(pick, PATIENCE).models


def _print(models: tuple[ModelInfo, ...], as_json: bool) -> None:
    if as_json:
        print(json.dumps([to_json(model) for model in models], ensure_ascii=False))
        return
    for model in models:
        kind = model.family + (", inpainting" if model.inpaint and model.kind == "diffusion" else "")
        print(f"{model.id}  {model.name} ({kind}, {model.bytes / 1e6:,.0f} MB)")
    if not models:
        print("No models yet. Add one with: scumble models add, or fetch the fill model: scumble models pull migan")


def _pull(args: argparse.Namespace, home: Home) -> None:
    from tqdm import tqdm

    from ..models.download import fetch_fill_model

    if args.id.lower() not in FILL_NAMES:
        raise ModelMissing(
            f"{args.id} cannot be fetched by itself yet; migan can.",
            "Download it as a folder or a .safetensors file, then: scumble models add PATH",
        )
    silent = not sys.stderr.isatty()
    with tqdm(total=None, unit="B", unit_scale=True, desc="migan", disable=silent, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        fetch_fill_model(home, args.file, show)
    print("The fill model is here.")
