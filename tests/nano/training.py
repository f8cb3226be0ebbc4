"""What `python -m tests.nano train` does: the parts, in the order in which they build on each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from . import (
    data,
    export,
    judge,
    train_autoencoder,
    train_control,
    train_denoiser,
    train_lora,
    train_reference,
    train_text,
    train_upscaler,
    train_xl,
)
from .drawing import STYLES, sample_scenes
from .sentences import vocabulary

SCENES = {"cpu": 20_000, "cuda": 50_000}
HOLES_BARE = 0.2
"""Share of scenes without an object, more than the world has, for what is to take objects away."""


class Place:
    """Where a training's results are, and what a part takes from those before it."""

    def __init__(self, models: Path, work: Path, device: torch.device) -> None:
        self.models, self.work, self.device = models, work, device
        self._data: dict[bool, data.Data] = {}
        for folder in (models, work):
            folder.mkdir(parents=True, exist_ok=True)

    def autoencoder(self) -> AutoencoderKL:
        return AutoencoderKL.from_pretrained(self.work / "vae").eval().to(self.device)

    def nano_sd(self, trained: bool = True) -> train_denoiser.Nano:
        model = train_denoiser.Nano(len(vocabulary()))
        if trained:
            model.load_state_dict(torch.load(self.work / "nano-sd.pt", map_location="cpu"))
        else:
            model.text.load_state_dict(torch.load(self.work / "text.pt", map_location="cpu"))
        return model.to(self.device)

    def data(self, holes: bool = False) -> data.Data:
        if holes not in self._data:
            self._data.clear()  # the other one may take the memory
            scenes = sample_scenes(SCENES[self.device.type], seed=1 + holes, bare=HOLES_BARE if holes else 0)
            self._data[holes] = data.prepare(self.autoencoder(), scenes, 1 + holes, holes=holes, edges=not holes)
        return self._data[holes]


def _judge(place: Place, minutes: float) -> None:
    judge.train(place.models / judge.FILE.name)  # as long as it takes: a minute


def _autoencoder(place: Place, minutes: float) -> None:
    train_autoencoder.train(place.work / "vae", minutes, place.device)


def _text(place: Place, minutes: float) -> None:
    torch.save(train_text.train(minutes, place.device).state_dict(), place.work / "text.pt")


def _nano_sd(place: Place, minutes: float) -> None:
    model = place.nano_sd(trained=False)
    model = train_denoiser.train(model, place.data(), minutes, place.work / "nano-sd.pt")
    export.save(model, place.autoencoder(), place.models / "nano-sd")


def _controlnet(place: Place, minutes: float) -> None:
    train_control.train(place.nano_sd(), place.data(), place.models / "nano-controlnet", minutes)


def _sdxl(place: Place, minutes: float) -> None:
    model = train_xl.train(place.nano_sd(), place.data(), minutes, place.work / "nano-sdxl.pt")
    export.save_xl(model, place.autoencoder(), place.models / "nano-sdxl")


def _inpaint(place: Place, minutes: float) -> None:
    model = train_denoiser.widened(place.nano_sd())
    model = train_denoiser.train(model, place.data(holes=True), minutes, place.work / "nano-sd-inpaint.pt")
    export.save(model, place.autoencoder(), place.models / "nano-sd-inpaint")


def _loras(place: Place, minutes: float) -> None:
    for style, draw in STYLES.items():
        file = place.models / f"nano-lora-{style}.safetensors"
        train_lora.train(place.nano_sd(), place.autoencoder(), draw, file, minutes / len(STYLES))


def _ip_adapter(place: Place, minutes: float) -> None:
    train_reference.train(place.nano_sd(), place.autoencoder(), place.models / "nano-ip-adapter", minutes)


def _upscaler(place: Place, minutes: float) -> None:
    train_upscaler.train(place.models / "nano-upscaler.safetensors", minutes, place.device)


Train = Callable[[Place, float], None]
PARTS: dict[str, tuple[float, Train]] = {
    "judge": (0.0, _judge),
    "autoencoder": (0.14, _autoencoder),
    "text": (0.03, _text),
    "nano-sd": (0.40, _nano_sd),
    "nano-controlnet": (0.10, _controlnet),
    "nano-sdxl": (0.15, _sdxl),
    "nano-sd-inpaint": (0.15, _inpaint),
    "nano-lora": (0.06, _loras),
    "nano-ip-adapter": (0.10, _ip_adapter),
    "nano-upscaler": (0.05, _upscaler),
}
"""Part -> its share of the time, and how it is trained. Each is written down when it is done."""


def train(parts: list[str], place: Place, hours: float) -> None:
    if place.device.type == "cpu":
        torch.set_num_threads(1)  # models this small gain nothing from a second thread
    whole = sum(PARTS[name][0] for name in parts) or 1
    for name in PARTS:
        if name in parts:
            share, part = PARTS[name]
            start = time.monotonic()
            part(place, share / whole * hours * 60)
            print(f"==== {name}: {time.monotonic() - start:.0f} s", flush=True)
