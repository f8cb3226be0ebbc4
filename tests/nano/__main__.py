"""python -m tests.nano train [PART ...] [--hours H]   the models anew, or those parts of them, into tests/nano/models
python -m tests.nano measure [MODEL ...]            what they understand and edits do, in figures; exits 1 below a goal
python -m tests.nano examples                       the pictures of the README
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path


def main() -> int:
    # Not above: the processes that draw import this file, too.
    import torch
    from scumble.home import Home

    from . import examples, judge
    from .edits import measure_edits
    from .measure import goal_of, is_met, measure
    from .measure_edits import measure_edges, measure_holes
    from .measure_references import measure_references
    from .painting import MODELS, load
    from .training import PARTS, Place, train

    parser = argparse.ArgumentParser(prog="python -m tests.nano", description="The nano models of Scumble's tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train all of them anew")
    training.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; those before are to be there")
    training.add_argument("--hours", type=float, default=2.0, help="for all parts together, drawing not counted")
    training.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    training.add_argument("--models", type=Path, default=MODELS, help="where they are written")
    training.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "nano", help="for what is in between"
    )
    measuring = commands.add_parser("measure", help="say what they understand")
    measured = {
        "nano-sd": measure,
        "nano-sdxl": measure,
        "nano-sd-inpaint": measure_holes,
        "nano-controlnet": measure_edges,
        "nano-ip-adapter": measure_references,
        "edits": measure_edits,
    }
    measuring.add_argument("models", nargs="*", default=list(measured), metavar="MODEL", help=", ".join(measured))
    measuring.add_argument("--json", action="store_true", help="a line of JSON for each model")
    commands.add_parser("examples", help="make the pictures of the README")
    options = parser.parse_args()
    if options.command == "train":
        if unknown := set(options.parts) - PARTS.keys():
            parser.error(f"there is no part {', '.join(unknown)}")
        place = Place(options.models, options.work, torch.device(options.device))
        train(options.parts or list(PARTS), place, options.hours)
        return 0
    torch.set_num_threads(1)  # models this small gain nothing from a second thread
    with tempfile.TemporaryDirectory() as home:
        if options.command == "examples":
            examples.make(Home(Path(home)))
            return 0
        all_met = True
        for name in options.models:
            model = "nano-sd" if name in ("nano-controlnet", "nano-ip-adapter", "edits") else name
            figures = measured[name](load(MODELS / model, Home(Path(home))), judge.Eyes())
            all_met &= all(is_met(*figure) for figure in figures.items())
            if options.json:
                print(json.dumps({"model": name, **figures}), flush=True)
                continue
            for figure, value in figures.items():
                missed = "" if is_met(figure, value) else "   MISSED"
                print(f"{name:16} {figure:24} {value:5.0%}   goal {goal_of(figure)}{missed}", flush=True)
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
