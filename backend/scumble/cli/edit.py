"""`scumble inpaint`, `outpaint`, `img2img`, `txt2img` and `upscale`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..client.client import Client, JobCancelled
from ..client.connection import Unreachable
from ..client.document import Edges
from ..client.editor import Editor, EditSettings, RegionLayer, prepare
from ..client.events import Finished
from ..home import Home, find_home
from ..protocol.checks import check_within
from ..protocol.errors import BadRequest, ModelMissing
from ..protocol.geometry import Size
from ..protocol.messages import MAX_COUNT, Mode, ModelInfo, Progress, Result
from ..protocol.schema import to_json
from .adapters import chosen_controls, chosen_loras, chosen_references, picture_files
from .models import refresh
from .pending import pending_file, read_pending, write_pending
from .picture import PictureDocument, left_out
from .service import PATIENCE, connected

MODES: dict[str, Mode] = {"img2img": "img2img", "txt2img": "txt2img", "outpaint": "outpaint", "upscale": "upscale"}
"""Commands that say their mode; that of an inpaint follows from the mask, the strength and the prompt."""

PHASES = ("queue", "load", "plan", "denoise", "decode", "composite")
"""Timings that `--json` always names; 0 where an engine has no such phase."""


def run(args: argparse.Namespace) -> int:
    home = find_home()
    outputs = numbered(args.output, args.count)
    layers = numbered(args.layer, args.count) if args.layer else []
    for path in (*outputs, *layers):
        _check_output(path)
    if args.layer and args.layer.resolve() == args.output.resolve():
        raise BadRequest("The layer and the picture have the same name.", "Give them two.")
    document = _open(args)
    for words in left_out(args.image) if "image" in args else ():
        print(f"scumble: {words}", file=sys.stderr)
    model = _added_model(args, home)
    inputs = [*(getattr(args, name) for name in ("image", "mask") if name in args), *picture_files(args)]
    inputs += [Path(mask) for mask, _ in args.region]
    _check_inputs(inputs)
    note = pending_file(home, vars(args), inputs)
    before = read_pending(note)
    with connected(home, session=before.session if before else None) as (client, welcome):
        if model is not None:
            refresh(client)
        elif args.model is not None:
            # Perhaps it has come since the backend looked.
            model = _named(args.model, welcome.models) or _named(args.model, refresh(client).models)
            if model is None:
                raise ModelMissing(f"There is no model {args.model}.", "See what there is: scumble models list")
        editor = Editor(client)
        settings = replace(
            _settings(args, model),
            loras=chosen_loras(args, welcome.adapters, home),
            controls=chosen_controls(args, welcome.adapters, home),
            references=chosen_references(args, welcome.adapters, home),
        )
        edges = Edges(args.left, args.top, args.right, args.bottom) if args.command == "outpaint" else None
        edit = prepare(document, settings, model.kind if model else editor.model_kind(settings), edges)
        began = time.perf_counter()
        job = editor.submit(document, edit, before.job if before and before.session == welcome.session else None)
        with _noted(note, welcome.session, job):
            finished = _wait(client, job)
            seconds = time.perf_counter() - began
            editor.finish(finished)
            outputs = outputs[: len(finished.layers)]  # fewer where all would be the same
            for index in range(len(finished.layers)):
                variant = document.copy() if args.command != "upscale" else document.enlarged(args.factor)
                editor.insert(job, index, variant)
                variant.save(outputs[index])
                if layers:
                    variant.save_layers(layers[index])
    if args.json:
        print(json.dumps(report(finished.result, seconds, outputs), ensure_ascii=False))
    else:
        for path, layer in zip(outputs, finished.result.layers, strict=True):
            print(f"{path} (seed {layer.seed})")
    return 0


@contextlib.contextmanager
def _noted(note: Path, session: str, job: str) -> Iterator[None]:
    """Keeps a note on the job as long as giving the command again could bring its result."""
    write_pending(note, session, job)
    try:
        yield
    except (Unreachable, OSError):
        raise  # no backend, or no place for the pictures: the result is there all the same, or will be
    except BaseException:
        note.unlink(missing_ok=True)
        raise
    note.unlink(missing_ok=True)


def _wait(client: Client, job: str) -> Finished:
    """Ctrl+C cancels the job."""
    try:
        with _bar() as show:
            return client.wait(job, show, PATIENCE)
    except KeyboardInterrupt:
        _cancel(client, job)
        raise


def _cancel(client: Client, job: str) -> None:
    client.cancel(job)
    with contextlib.suppress(Exception, JobCancelled):  # the artist wants to be gone: two seconds for the goodbye
        client.wait(job, patience=2.0)


def _open(args: argparse.Namespace) -> PictureDocument:
    if args.command == "txt2img":
        return PictureDocument.blank(Size(args.width, args.height))
    return PictureDocument.open(args.image, args.mask if args.command == "inpaint" else None)


def _check_inputs(paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise BadRequest(f"There is no file {path}.", "Check its name.")


def _added_model(args: argparse.Namespace, home: Home) -> ModelInfo | None:
    """The model that `--model` names by its file or folder, put into the store; None for an id or a name. Raises
    BadRequest."""
    if args.model is None or not Path(args.model).expanduser().exists():
        return None
    from ..models.store import ModelStore

    info = ModelStore(home).add(Path(args.model)).info
    if not isinstance(info, ModelInfo):
        raise BadRequest(
            f"{info.name} is no model, but something that is added to one.",
            "Use --lora, --control-model or --reference-adapter.",
        )
    return info


def _named(name: str, models: Iterable[ModelInfo]) -> ModelInfo | None:
    """The one with this id, or with this name in capitals or not."""
    return next((model for model in models if name == model.id or name.casefold() == model.name.casefold()), None)


def _settings(args: argparse.Namespace, model: ModelInfo | None) -> EditSettings:
    return EditSettings(
        mode=MODES.get(args.command),
        prompt=args.prompt,
        negative=args.negative,
        model=model.id if model else args.model,
        strength=args.strength,
        steps=args.steps,
        guidance=args.guidance,
        sampler=args.sampler,
        seed=args.seed,
        count=args.count,
        grow=args.grow,
        feather=args.feather,
        context=args.context,
        prefill=args.prefill,
        resolution=args.resolution,
        clip_skip=args.clip_skip,
        transparent=args.transparent,
        factor=getattr(args, "factor", 2),
        regions=tuple(RegionLayer(prompt, mask) for mask, prompt in args.region),
    )


def numbered(path: Path, count: int) -> list[Path]:
    """The path itself for one picture; NAME-1.png, NAME-2.png, ... for several."""
    check_within("count", count, 1, MAX_COUNT)
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{index + 1}") for index in range(count)]


def _check_output(path: Path) -> None:
    """Before any work is done: a result that cannot be written helps nobody."""
    if path.suffix.lower() != ".png" or path.is_dir():
        raise BadRequest(f"{path} is not the name of a .png file.", "Only PNG keeps every pixel and the request.")
    if not path.parent.is_dir():
        raise BadRequest(f"There is no folder {path.parent}.", "Make it first.")
    if not os.access(path.resolve().parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise BadRequest(f"{path} may not be written.", "Name another folder.")


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal; silence elsewhere."""
    from tqdm import tqdm

    layout = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
    silent = not sys.stderr.isatty()
    with tqdm(total=1, desc="waiting", disable=silent, leave=False, bar_format=layout) as bar:

        def show(progress: Progress) -> None:
            bar.set_description_str(progress.stage, refresh=False)
            bar.total = max(progress.steps, 1)
            bar.n = progress.step
            left = progress.seconds_left
            bar.set_postfix_str("" if left is None else f"{left:.0f} s left", refresh=False)
            bar.refresh()

        yield show


def report(result: Result, seconds: float, outputs: list[Path]) -> dict[str, Any]:
    """What `--json` prints. Seconds by phase; `transfer` is what of the whole the backend was not busy with: coding,
    the way there and back."""
    busy = sum(value for name, value in result.timings.items() if name != "generate")
    timings = {**dict.fromkeys(PHASES, 0.0), **result.timings, "transfer": max(seconds - busy, 0.0), "total": seconds}
    return {
        "job": result.job,
        "mode": result.request.mode,
        "model": result.request.model,
        "seed": result.request.seed,
        "crop": list(result.crop),
        "bounds": list(result.layers[0].bounds),
        "timings": {name: round(value, 4) for name, value in timings.items()},
        "layers": [
            {"output": str(path), "bounds": list(layer.bounds), "seed": layer.seed}
            for layer, path in zip(result.layers, outputs, strict=True)
        ],
        "request": to_json(result.request),
    }
