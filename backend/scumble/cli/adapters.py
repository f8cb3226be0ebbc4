"""LoRAs and controls on the command line: `--lora NAME:WEIGHT`, and `--control FILE` with the options that follow it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from ..client.editor import ControlLayer
from ..editing.adapters import WORDS
from ..home import Home
from ..protocol.errors import BadRequest, ModelMissing
from ..protocol.messages import AdapterInfo, AdapterKind, LoraUse, Preprocessor


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--lora", action="append", default=[], metavar="NAME[:WEIGHT]", help="name, id or file; may be given again"
    )
    command.add_argument(
        "--control", action=_ControlOption, default=[], metavar="FILE", help="picture to follow; may be given again"
    )
    part: dict[str, Any] = {"dest": "control", "action": _ControlOption, "default": []}
    command.add_argument("--control-model", metavar="NAME", **part, help="its ControlNet: name, id or file")
    command.add_argument("--control-preprocessor", choices=get_args(Preprocessor), **part, help="made of it first")
    command.add_argument("--control-weight", type=float, metavar="W", **part, help="how strictly it is followed (1)")
    command.add_argument("--control-start", type=float, metavar="0..1", **part, help="part of the steps: from here (0)")
    command.add_argument("--control-end", type=float, metavar="0..1", **part, help="to here (1)")


class _ControlOption(argparse.Action):
    """`--control` begins a control; what follows belongs to it, up to the next one."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        controls = list(namespace.control)
        name = str(option).removeprefix("--control").removeprefix("-") or "file"
        if name == "file":
            controls.append({name: values})
        elif not controls:
            parser.error(f"{option} needs a --control FILE before it")
        else:
            controls[-1] = {**controls[-1], name: values}
        namespace.control = controls


def control_files(args: argparse.Namespace) -> list[Path]:
    return [Path(control["file"]) for control in args.control]


def chosen_loras(args: argparse.Namespace, known: Sequence[AdapterInfo], home: Home) -> tuple[LoraUse, ...]:
    """Raises ModelMissing, BadRequest."""
    named = [_weighted(text) for text in args.lora]
    return tuple(LoraUse(_find(name, "lora", known, home).id, weight) for name, weight in named)


def chosen_controls(args: argparse.Namespace, known: Sequence[AdapterInfo], home: Home) -> tuple[ControlLayer, ...]:
    """A picture's file stands for a layer (`PictureDocument.read_layer`). Raises ModelMissing, BadRequest."""
    layers = []
    for control in args.control:
        if "model" not in control:
            raise BadRequest("A control needs a ControlNet.", "Name it with --control-model; scumble models list")
        settings = {name: value for name, value in control.items() if name not in ("file", "model")}
        layers.append(ControlLayer(_find(control["model"], "control", known, home).id, control["file"], **settings))
    return tuple(layers)


def _weighted(text: str) -> tuple[str, float]:
    """NAME or NAME:WEIGHT; a name may have colons of its own."""
    name, colon, weight = text.rpartition(":")
    try:
        return (name, float(weight)) if colon else (text, 1.0)
    except ValueError:
        return text, 1.0


def _find(name: str, kind: AdapterKind, known: Sequence[AdapterInfo], home: Home) -> AdapterInfo:
    if Path(name).expanduser().is_file():
        from ..models.store import ModelStore

        info = ModelStore(home).add(Path(name)).info
        if not isinstance(info, AdapterInfo) or info.kind != kind:
            raise BadRequest(f"{info.name} is no {WORDS[kind]}.", "Name another file.")
        return info
    for info in known:
        if info.kind == kind and name.casefold() in (info.id, info.name.casefold()):
            return info
    raise ModelMissing(f"There is no {WORDS[kind]} with the name {name}.", "See what there is: scumble models list")
