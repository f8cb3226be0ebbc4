"""Looks at pictures of the nano world: which shapes of which colours are where, on what background.

A small detector that is trained on drawings, held-out pairs and all, and is itself measured on fresh ones; it never saw
what a diffusion model makes. Plain colours are measured without it (`share`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import parts, world

FILE = Path(__file__).parent / "models" / "judge.safetensors"
CELLS = 8
"""The judge answers for each cell of a grid of 8 x 8."""
_SIDE = 64
_COLOURS = tuple(world.COLOURS)
_WIDTHS = ((32, 2), (48, 2), (64, 1), (96, 2), (128, 1), (128, 1))  # channels, stride


@dataclass(frozen=True)
class Seen:
    """An object; `x` and `y` are the middle of its cell relative to the side."""

    colour: str
    shape: str
    x: float
    y: float
    certainty: float

    @property
    def position(self) -> str:
        """The nearest of world.POSITIONS."""
        return min(world.POSITIONS, key=lambda name: np.hypot(*np.subtract(world.POSITIONS[name], (self.x, self.y))))


class Judge(torch.nn.Module):
    """(n, 3, h, w) in -1..1 -> logits (n, 1 + colours + shapes, 8, 8) of the cells, and (n, backgrounds)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        channels = 3
        for width, stride in _WIDTHS:
            layers += [
                torch.nn.Conv2d(channels, width, 3, stride, 1, bias=False),
                torch.nn.BatchNorm2d(width),
                torch.nn.ReLU(),
            ]
            channels = width
        self.body = torch.nn.Sequential(*layers)
        self.cells = torch.nn.Conv2d(channels, 1 + len(_COLOURS) + len(world.SHAPES), 3, padding=1)
        self.background = torch.nn.Linear(channels, len(world.BACKGROUNDS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(F.interpolate(images, size=(_SIDE, _SIDE), mode="area"))
        return self.cells(features), self.background(features.mean((2, 3)))


class Eyes:
    """A trained judge."""

    def __init__(self, file: Path = FILE) -> None:
        self._judge = Judge()
        self._judge.load_state_dict({key: value.float() for key, value in load_file(file).items()})
        self._judge.eval()

    @torch.no_grad()
    def background(self, images: Tensor) -> list[str]:
        return [world.BACKGROUNDS[i] for i in self._judge(images)[1].argmax(1)]

    @torch.no_grad()
    def objects(self, images: Tensor, at_least: float = 0.4) -> list[list[Seen]]:
        """What is seen in each picture, the most certain first; one object for each peak of the grid."""
        cells = self._judge(images)[0]
        there = cells[:, :1].sigmoid()
        peaks = there * (there == F.max_pool2d(there, 3, 1, 1)) * (there >= at_least)
        colours = cells[:, 1 : 1 + len(_COLOURS)].argmax(1)
        shapes = cells[:, 1 + len(_COLOURS) :].argmax(1)
        found: list[list[Seen]] = []
        for i in range(len(images)):
            places = peaks[i, 0].nonzero().tolist()
            seen = [
                Seen(
                    _COLOURS[colours[i, y, x]],
                    world.SHAPES[shapes[i, y, x]],
                    (x + 0.5) / CELLS,
                    (y + 0.5) / CELLS,
                    peaks[i, 0, y, x].item(),
                )
                for y, x in places
            ]
            found.append(sorted(seen, key=lambda one: -one.certainty))
        return found


def share(picture: NDArray[np.uint8], colour: str) -> float:
    """Share of the pixels (h, w, 3) that are of a colour of the world: nearest to it of all, and near."""
    palette = np.array(list(world.COLOURS.values()), np.float32)
    distances = np.linalg.norm(picture[..., None, :].astype(np.float32) - palette, axis=-1)
    is_it = (distances.argmin(-1) == _COLOURS.index(colour)) & (distances.min(-1) < 70)
    return float(is_it.mean())


# ---- how it learns ---------------------------------------------------------------------------------------------------


def train(file: Path, count: int = 12000, steps: int = 900, seed: int = 123) -> None:
    torch.manual_seed(seed)
    rng = random.Random(seed)
    scenes = [world.sample_scene(rng, held_out=rng.random() < 0.12) for _ in range(count)]
    images = torch.cat(
        [
            F.interpolate(
                parts.pixels([world.render(scene) for scene in scenes[i : i + 50]]), size=(_SIDE, _SIDE), mode="area"
            )
            for i in range(0, count, 50)
        ]
    )
    there, colours, shapes, backgrounds = _targets(scenes)
    judge = Judge().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        picked = torch.randint(0, count, (64,))
        cells, background = judge(_worn(images[picked], rng).contiguous(memory_format=torch.channels_last))
        known, here = there[picked] >= 0, there[picked] == 1
        split = cells.permute(0, 2, 3, 1)
        loss = (
            10 * F.binary_cross_entropy_with_logits(split[..., 0][known], there[picked][known])
            + F.cross_entropy(split[here][:, 1 : 1 + len(_COLOURS)], colours[picked][here])
            + F.cross_entropy(split[here][:, 1 + len(_COLOURS) :], shapes[picked][here])
            + F.cross_entropy(background, backgrounds[picked])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"judge {step + 1}: loss {loss.item():.3f}", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in judge.state_dict().items()}
    save_file({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, file)
    print("judge on fresh drawings:", accuracy(Eyes(file)), flush=True)


def accuracy(eyes: Eyes, count: int = 400, seed: int = 7) -> dict[str, float]:
    """Share of fresh scenes of which it names everything that is there, and the background."""
    rng = random.Random(seed)
    scenes = [world.sample_scene(rng, held_out=i % 4 == 0) for i in range(count)]
    images = parts.pixels([world.render(scene) for scene in scenes])
    pairs = [sorted((one.colour, one.shape) for one in seen) for seen in eyes.objects(images)]
    right = [
        found == sorted((o.colour, o.shape) for o in scene.objects) for found, scene in zip(pairs, scenes, strict=True)
    ]
    grounds = [found == scene.background for found, scene in zip(eyes.background(images), scenes, strict=True)]
    return {"objects": float(np.mean(right)), "background": float(np.mean(grounds))}


def _worn(images: Tensor, rng: random.Random) -> Tensor:
    """Small distortions, so that what an autoencoder does to a picture does not matter."""
    if rng.random() < 0.5:
        images = images + torch.randn_like(images) * rng.uniform(0, 0.15)
    if rng.random() < 0.3:
        images = F.interpolate(F.avg_pool2d(images, 2), size=(_SIDE, _SIDE), mode="bilinear")
    return images


def _targets(scenes: list[world.Scene]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whether an object's middle is in a cell (n, 8, 8; -1 = beside one, not to be learnt), colours and shapes there, and
    the backgrounds (n,)."""
    there = torch.zeros(len(scenes), CELLS, CELLS)
    colours, shapes = torch.zeros(2, len(scenes), CELLS, CELLS, dtype=torch.long)
    for i, scene in enumerate(scenes):
        cells = [(min(int(o.x * CELLS), CELLS - 1), min(int(o.y * CELLS), CELLS - 1), o) for o in scene.objects]
        for x, y, _ in cells:
            there[i, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = -1
        for x, y, thing in cells:
            there[i, y, x] = 1
            colours[i, y, x] = _COLOURS.index(thing.colour)
            shapes[i, y, x] = world.SHAPES.index(thing.shape)
    return there, colours, shapes, torch.tensor([world.BACKGROUNDS.index(scene.background) for scene in scenes])
