"""LoRAs, controls and references on the command line: `--lora NAME:WEIGHT`; `--control FILE` and `--reference FILE`, each
with the options that follow it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from ..client.editor import ControlLayer, ReferenceLayer
from ..editing.adapters import WORDS
from ..home import Home
from ..protocol.errors import BadRequest, ModelMissing
from ..protocol.messages import AdapterInfo, AdapterKind, LoraUse, Preprocessor


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--lora", action="append", default=[], metavar="NAME[:WEIGHT]", help="name, id or file; may be given again"
    )
    command.add_argument(
        "--control", action=_PictureOption, default=[], metavar="FILE", help="picture to follow; may be given again"
    )
    part: dict[str, Any] = {"dest": "control", "action": _PictureOption, "default": []}
    command.add_argument("--control-model", metavar="NAME", **part, help="its ControlNet: name, id or file")
    command.add_argument("--control-preprocessor", choices=get_args(Preprocessor), **part, help="made of it first")
    command.add_argument("--control-weight", type=float, metavar="W", **part, help="how strictly it is followed (1)")
    command.add_argument("--control-start", type=float, metavar="0..1", **part, help="part of the steps: from here (0)")
    command.add_argument("--control-end", type=float, metavar="0..1", **part, help="to here (1)")
    command.add_argument(
        "--reference", action=_PictureOption, default=[], metavar="FILE", help="picture to take up; may be given again"
    )
    part = {"dest": "reference", "action": _PictureOption, "default": []}
    command.add_argument("--reference-adapter", metavar="NAME", **part, help="its IP-Adapter: name, id or file")
    command.add_argument("--reference-weight", type=float, metavar="W", **part, help="how much it counts (1)")
    command.add_argument("--reference-start", type=float, metavar="0..1", **part, help="part of the steps: from (0)")
    command.add_argument("--reference-end", type=float, metavar="0..1", **part, help="to here (1)")


class _PictureOption(argparse.Action):
    """`--control` and `--reference` begin one; what follows belongs to it, up to the next one."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        uses = list(getattr(namespace, self.dest))
        name = str(option).removeprefix(f"--{self.dest}").removeprefix("-") or "file"
        if name == "file":
            uses.append({name: values})
        elif not uses:
            parser.error(f"{option} needs a --{self.dest} FILE before it")
        else:
            uses[-1] = {**uses[-1], name: values}
        setattr(namespace, self.dest, uses)


def picture_files(args: argparse.Namespace) -> list[Path]:
    """Those of the controls and the references."""
    return [Path(use["file"]) for use in (*args.control, *args.reference)]


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


def chosen_references(args: argparse.Namespace, known: Sequence[AdapterInfo], home: Home) -> tuple[ReferenceLayer, ...]:
    """As `chosen_controls`."""
    layers = []
    for use in args.reference:
        if "adapter" not in use:
            raise BadRequest(
                "A reference needs an IP-Adapter.", "Name it with --reference-adapter; scumble models list"
            )
        settings = {name: value for name, value in use.items() if name not in ("file", "adapter")}
        layers.append(ReferenceLayer(_find(use["adapter"], "reference", known, home).id, use["file"], **settings))
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
