"""python -m tests.nano train [--hours H] [--work DIR]   all models anew, into tests/nano/models
python -m tests.nano measure                             what they understand, in figures
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from scumble.home import Home

from . import export, judge, train_autoencoder, train_control, train_denoiser, train_lora, train_text, train_xl
from .measure import measure
from .painting import MODELS, load
from .sentences import Vocabulary

SHARES = {
    "autoencoder": 0.12,
    "text": 0.02,
    "nano-sd": 0.44,
    "nano-sd-inpaint": 0.14,
    "nano-sdxl": 0.14,
    "nano-controlnet": 0.11,
    "nano-lora": 0.03,
}
"""Of the time, for each part."""
SCENES = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.nano", description="The nano models of Scumble's tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train all of them anew")
    training.add_argument("--hours", type=float, default=2.0, help="of one core of a processor")
    training.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "nano", help="for what is in between"
    )
    commands.add_parser("measure", help="say what they understand")
    options = parser.parse_args()
    torch.set_num_threads(1)  # models this small gain nothing from a second thread
    if options.command == "train":
        train(options.hours, options.work)
    else:
        with tempfile.TemporaryDirectory() as home:
            engine = load(MODELS / "nano-sd", Home(Path(home)))
            print(json.dumps(measure(engine, judge.Eyes()), indent=2))


def train(hours: float, work: Path) -> None:
    """Every step anew, one after the other."""
    work.mkdir(parents=True, exist_ok=True)
    minutes = {name: share * hours * 60 for name, share in SHARES.items()}
    judge.train(judge.FILE)
    train_autoencoder.train(work / "vae", minutes["autoencoder"])
    vae = AutoencoderKL.from_pretrained(work / "vae").eval()
    model = train_denoiser.Nano(len(Vocabulary()))
    model.text.load_state_dict(train_text.train(minutes["text"]).state_dict())
    data = train_denoiser.prepare(vae, SCENES)
    model = train_denoiser.train(model, data, work / "nano-sd.pt", minutes["nano-sd"])
    export.save(model, vae, MODELS / "nano-sd")
    train_lora.train(model, vae, MODELS / "nano-lora-monochrome.safetensors", minutes["nano-lora"])
    train_control.train(model, data, MODELS / "nano-controlnet", minutes["nano-controlnet"])
    xl = train_xl.train(model, data, work / "nano-sdxl.pt", minutes["nano-sdxl"])
    export.save_xl(xl, vae, MODELS / "nano-sdxl")
    holes = train_denoiser.prepare(vae, SCENES, inpaint=True, seed=2)
    wide = train_denoiser.widened(model)
    wide = train_denoiser.train(wide, holes, work / "nano-sd-inpaint.pt", minutes["nano-sd-inpaint"])
    export.save(wide, vae, MODELS / "nano-sd-inpaint")


if __name__ == "__main__":
    main()
