"""The command line: the same client and websocket as the plug-ins. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

from .. import __version__
from ..client.client import JobCancelled
from ..client.connection import Unreachable
from ..home import find_home
from ..protocol.errors import BadRequest, NotAuthorised, ScumbleError, UnsupportedVersion
from ..protocol.messages import Prefill
from .adapters import add_options as add_adapter_options

DONE, BAD_USE, UNREACHABLE, FAILED, INTERRUPTED = 0, 2, 3, 4, 130
"""Exit codes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code. Errors are one plain sentence on stderr, never a traceback."""
    args = make_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file or a pipe on Windows has room for 256 characters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = run_command(args.module, args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except JobCancelled:
        return _complain("The edit was cancelled.", FAILED)
    except (Unreachable, NotAuthorised, UnsupportedVersion) as error:
        return _complain(f"{error.message} {error.hint}", UNREACHABLE)
    except BadRequest as error:
        return _complain(f"{error.message} {error.hint}", BAD_USE)
    except ScumbleError as error:
        return _complain(f"{error.message} {error.hint}", FAILED)
    except BrokenPipeError:  # who was to read it has gone: scumble doctor | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at the end
        return FAILED
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _complain(f"{name}{error.strerror or error}.", FAILED)
    except Exception:
        return _complain(f"Something went wrong that should not. {_write_down()}", FAILED)
    return code


def run_command(module: str, args: argparse.Namespace) -> int:
    """Each command is a module of this package with a function `run`."""
    run = cast("Callable[[argparse.Namespace], int]", importlib.import_module(f".{module}", __name__).run)
    return run(args)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "scumble", description="Stable Diffusion inside Krita and GIMP: the local backend, and edits from the shell."
    )
    parser.add_argument("--version", action="version", version=f"scumble {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="run the backend until it is told to stop")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (this machine alone by default)")
    serve.add_argument("--port", type=_whole(0, 65535), default=8737)
    serve.add_argument("--allow-remote", action="store_true", help="let other machines in (they need the token)")
    serve.add_argument("--name", action="append", default=[], help="further name:port that clients may call it by")
    serve.set_defaults(module="service")
    for name, words in (("status", "say whether a backend runs, and where"), ("stop", "stop the backend")):
        commands.add_parser(name, help=words).set_defaults(module="service")
    doctor = commands.add_parser("doctor", help="check everything, and say how to mend it")
    doctor.set_defaults(module="doctor")
    doctor.add_argument("--fix", action="store_true", help="mend what can be mended")
    doctor.add_argument("--json", action="store_true", help="one line of JSON")
    bench = commands.add_parser("bench", help="measure speed, memory and understanding")
    bench.set_defaults(module="bench")
    bench.add_argument(
        "suite",
        choices=["edit", "models", "memory", "semantic"],
        help="edit: speed, memory and loading, beside diffusers; models: the list of thousands of files; "
        "memory: what pictures take on a GPU, beside diffusers; "
        "semantic: what prompts and edits do, seen in pictures; exits 1 below a goal (in a clone)",
    )
    bench.add_argument("--scratch", type=Path, metavar="DIR", help="6 GB for the time being")
    steps = _whole(2, 20)
    bench.add_argument("--reference-steps", type=steps, default=20, metavar="N", help="of diffusers' 20, counted up")
    bench.add_argument("--json", action="store_true", help="one line of JSON")

    inpaint = commands.add_parser("inpaint", help="fill, refine or remove what a mask selects")
    inpaint.add_argument("image", type=Path, metavar="IMAGE")
    inpaint.add_argument("--mask", type=Path, required=True, help="picture of the same size; white = change")
    _add_edit(inpaint)
    outpaint = commands.add_parser("outpaint", help="grow the picture and fill the new area")
    outpaint.add_argument("image", type=Path, metavar="IMAGE")
    for side in ("left", "right", "top", "bottom"):
        outpaint.add_argument(f"--{side}", type=_whole(0), default=0, metavar="PX")
    _add_edit(outpaint)
    img2img = commands.add_parser("img2img", help="paint the whole picture anew")
    img2img.add_argument("image", type=Path, metavar="IMAGE")
    _add_edit(img2img, needs=("prompt", "strength"))
    txt2img = commands.add_parser("txt2img", help="make a picture from words")
    txt2img.add_argument("--width", type=_whole(1), required=True, metavar="PX")
    txt2img.add_argument("--height", type=_whole(1), required=True, metavar="PX")
    _add_edit(txt2img, needs=("prompt",))

    upscale = commands.add_parser("upscale", help="enlarge the whole picture")
    upscale.add_argument("image", type=Path, metavar="IMAGE")
    upscale.add_argument("--factor", type=_whole(2, 4), default=2, help="2 (default), 3 or 4")
    _add_edit(upscale, strength=0.35)
    upscale.add_argument(
        "--upscaler",
        dest="model",
        metavar="FILE",
        help="an upscaler's file, name or id: no prompt, no steps, much quicker",
    )

    models = commands.add_parser("models", help="list, add, fetch or remove models")
    models.set_defaults(module="models")
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="all models")
    listing.add_argument(
        "--all", action="store_true", help="also what cannot be used yet, and what is not read and why"
    )
    listing.add_argument("--json", action="store_true", help="one line of JSON")
    adding = actions.add_parser("add", help="use models where they lie")
    adding.add_argument("path", type=Path, metavar="PATH", help="a model's file or folder, or a folder of models")
    pull = actions.add_parser("pull", help="fetch a model; without ID, list those that Scumble suggests")
    pull.add_argument(
        "id", metavar="ID", nargs="?", help="from that list, or owner/name[:FILE.safetensors] or an address on the hub"
    )
    pull.add_argument("--file", type=Path, help="for migan: take it from this file instead")
    removing = actions.add_parser("remove", help="take a model, or a folder that was added, off the list")
    removing.add_argument("id", metavar="ID", help="from the list (what Scumble fetched is deleted), or the folder")
    return parser


def _add_edit(command: argparse.ArgumentParser, needs: Sequence[str] = (), strength: float = 1.0) -> None:
    """The options that all edits share."""
    command.set_defaults(module="edit")
    command.add_argument("--prompt", default="", required="prompt" in needs)
    command.add_argument("--negative", default="", help="what not to paint")
    command.add_argument("--clip-skip", type=int, default=1, metavar="N", help="text encoder's layer from the end (1)")
    command.add_argument("--model", help="name or id from `scumble models list`, or a model's file or folder")
    command.add_argument(
        "--strength", type=float, default=strength, required="strength" in needs, help="0..1, 1 = anew"
    )
    command.add_argument("--steps", type=int)
    command.add_argument("--guidance", type=float)
    command.add_argument("--sampler")
    command.add_argument("--seed", type=int)
    command.add_argument("--count", type=int, default=1, help="pictures to make: OUT-1.png, OUT-2.png, ...")
    command.add_argument("--grow", type=int, default=0, metavar="PX", help="grow the mask")
    command.add_argument("--feather", type=int, default=0, metavar="PX", help="fade inside the mask's edge")
    command.add_argument(
        "--prefill", choices=get_args(Prefill), default="auto", help="what lies under the mask at first"
    )
    command.add_argument("--context", type=int, metavar="PX", help="surroundings that the model sees")
    command.add_argument("--resolution", type=int, metavar="PX", help="side of what the model is given (its own)")
    command.add_argument(
        "--transparent", action="store_true", help="an object alone: the plain background behind it is cut away"
    )
    add_adapter_options(command)
    command.add_argument(
        "--region",
        action="append",
        nargs=2,
        default=[],
        metavar=("MASK", "PROMPT"),
        help="what to paint where a mask is white instead; may be given again",
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png", help="the merged picture")
    command.add_argument("--layer", type=Path, metavar="LAYER.png", help="also the new layer alone")
    command.add_argument("--json", action="store_true", help="one line of JSON: timings, seed, model, crop, bounds")


def _whole(low: int, high: int = 32768) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not between {low} and {high}")
        return value

    parse.__name__ = "whole number"  # argparse names it in its message
    return parse


def _complain(sentence: str, code: int) -> int:
    print(f"scumble: {sentence.strip()}", file=sys.stderr)
    return code


def _write_down() -> str:
    """Keeps the traceback of a defect where it can be sent from; returns the sentence that says where."""
    path = find_home().logs / "cli.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError:
        return ""
    logger = logging.getLogger("scumble.cli")
    logger.propagate = False
    logger.addHandler(handler)
    logger.exception("unexpected")
    logger.removeHandler(handler)
    handler.close()
    return f"Details are in {path}."
