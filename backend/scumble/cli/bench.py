"""`scumble bench edit`: what an edit costs, beside diffusers on the same machine in the same run. Figures are ratios.
`scumble bench models`: how long the list of thousands of files takes, beside safetensors' own reading of their headers.
`scumble bench memory`: what pictures take on a GPU (`diffusion/footprint.py`).
`scumble bench semantic`: what prompts, controls, references and edits do, seen in pictures of small models (`tests/nano`);
exits 1 below a goal."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..client.client import Client
from ..client.editor import EditSettings, prepare
from ..home import Home, find_home
from ..models import benchmark
from ..models.download import fetch_fill_model, fill_model_path
from .picture import PictureDocument
from .service import connected, stop

SELECTION = 256
"""Side in px of the selection of (c)."""
DOCUMENTS = (1024, 8192)
"""Sides in px of the documents of (c)."""
ROUNDS = 7


@dataclass(frozen=True)
class Line:
    """One figure: what was compared, the ratio, the goal, and the raw numbers."""

    name: str
    ratio: float
    goal: str
    detail: str


def run(args: argparse.Namespace) -> int:
    """Prints a line for each figure as it is known."""
    if args.suite == "memory":
        command = [sys.executable, "-m", "scumble.diffusion.footprint", *(["--json"] if args.json else [])]
        return subprocess.call(command, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if args.suite == "semantic":
        return _semantic(args.json)
    lines = []
    with tempfile.TemporaryDirectory(prefix="scumble-bench-", dir=args.scratch) as scratch:
        for measure in SUITES[args.suite]:
            for line in measure(Path(scratch), args.reference_steps):
                lines.append(line)
                if not args.json:
                    print(f"{line.name:58} {line.ratio:6.2f}   goal {line.goal:8} {line.detail}", flush=True)
    if args.json:
        print(json.dumps([vars(line) for line in lines]))
    return 0


def _semantic(as_json: bool) -> int:
    """The models and what looks at their pictures are in the repository, not in what is installed."""
    root = Path(__file__).parents[3]
    if not (root / "tests" / "nano" / "models").is_dir():
        print("This suite needs Scumble's repository: run it from a clone, installed with pip -e.", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "tests.nano", "measure", *(["--json"] if as_json else [])]
    return subprocess.call(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root / "backend")})


def _diffusion(scratch: Path, reference_steps: int) -> Iterator[Line]:
    """(a), (b), (d), (e) with a Stable Diffusion 1.5 of full size and random weights."""
    model, home = scratch / "model", scratch / "home"

    def measure(name: str, *options: object) -> Any:
        command = [sys.executable, "-m", "scumble.diffusion.benchmark", name, str(model), "--home", str(home)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        output = subprocess.run(
            [*command, *map(str, options)], check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        return json.loads(output.stdout.splitlines()[-1])

    measure("make_model")
    measure("scumble", "--size", 512, 512, "--steps", 1)  # makes the converted copy
    ours = measure("scumble", "--size", 512, 512)
    plain = measure("plain", "--size", 512, 512, "--steps", reference_steps)
    yield _against("(a) times faster than diffusers, 512x512 crop", plain["seconds"], ours["seconds"], ">= 3")
    yield Line(
        "(d) whole edit over its denoiser and autoencoder calls",
        ours["seconds"] / ours["components"],
        "<= 1.03",
        f"{ours['seconds']:.2f} s over {ours['components']:.2f} s",
    )
    load = measure("load")
    yield _against(
        "(e) times faster than from_pretrained, second load", load["from_pretrained"], load["seconds"], ">= 3"
    )
    ours = measure("scumble", "--size", 1024, 768)
    plain = measure("plain", "--size", 1024, 768, "--steps", reference_steps)
    yield _against("(b) times faster, 256x256 selection in 1024x768", plain["seconds"], ours["seconds"], ">= 10")
    yield Line(
        "(b) peak memory, share of diffusers'",
        ours["peak"] / plain["peak"],
        "<= 0.5",
        f"{ours['peak'] / 2**30:.2f} GiB against {plain['peak'] / 2**30:.2f} GiB",
    )


def _against(name: str, reference: float, ours: float, goal: str) -> Line:
    return Line(name, reference / ours, goal, f"{reference:.2f} s against {ours:.2f} s")


def _documents(scratch: Path, reference_steps: int) -> Iterator[Line]:
    """(c) the same selection in a small and in a large document, by the fill model through the websocket, and what the
    backend adds to the bare network call."""
    home = Home(scratch / "home")
    installed = fill_model_path(find_home())
    fetch_fill_model(home, installed if installed.exists() else None)
    os.environ["SCUMBLE_HOME"] = str(home.root)  # for the backend that is started now
    documents = {side: _document(side) for side in DOCUMENTS}
    with connected(home) as (client, _):
        times: dict[int, list[float]] = {side: [] for side in DOCUMENTS}
        overheads = []
        for index in range(ROUNDS + 1):
            for side in DOCUMENTS:
                seconds, generate = _fill(client, documents[side])
                if index:  # the first round loads the model
                    times[side].append(seconds)
                    overheads.append(seconds - generate)
    stop(home)
    small, large = (statistics.median(times[side]) for side in DOCUMENTS)
    yield Line(
        f"(c) {SELECTION}x{SELECTION} selection in {DOCUMENTS[1]}x{DOCUMENTS[1]} over {DOCUMENTS[0]}x{DOCUMENTS[0]}",
        large / small,
        "<= 1.15",
        f"{large:.2f} s over {small:.2f} s, transfer included",
    )
    yield Line(
        "    seconds added to the bare network call",
        statistics.median(overheads),
        "< 0.4",
        "plan, transfer, composite",
    )


def _lists(scratch: Path, reference_steps: int) -> Iterator[Line]:
    """The list of models in seconds: of files that nobody has looked at, by a backend that starts anew."""
    seconds = benchmark.measure(scratch)
    reading = f"safetensors alone {seconds.plain:.2f} s"
    yield Line(f"seconds for the first list of {benchmark.FILES} LoRAs", seconds.first, "<= 2", reading)
    yield Line("    where the disk has to be read", seconds.cold, "<= 2", "")
    yield Line("    again, after a new start", seconds.again, "", "")


SUITES: dict[str, tuple[Callable[[Path, int], Iterator[Line]], ...]] = {
    "edit": (_documents, _diffusion),
    "models": (_lists,),
}


def _document(side: int) -> PictureDocument:
    """Noise, with a selection of SELECTION px a side in the middle."""
    noise = np.random.default_rng(0).integers(0, 256, (side // 16, side // 16, 3), np.uint8)
    mask = Image.new("L", (side, side))
    start = (side - SELECTION) // 2
    mask.paste(255, (start, start, start + SELECTION, start + SELECTION))
    return PictureDocument(Image.fromarray(noise).resize((side, side)), mask=mask)


def _fill(client: Client, document: PictureDocument) -> tuple[float, float]:
    """Seconds from the click to the layer's pixels, and those that the network itself took of them."""
    start = time.perf_counter()
    edit = prepare(document, EditSettings(), "fill")
    finished = client.wait(client.submit(edit.request, edit.image, edit.mask), patience=60.0)
    seconds = time.perf_counter() - start
    client.acknowledge(finished.result.job)
    return seconds, finished.result.timings["generate"]
