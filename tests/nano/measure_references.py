"""What nano-ip-adapter does, in figures: a reference says what the prompt does not; looked at by the judge."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from scumble.diffusion.contents import read_contents
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.kinds import adapter
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels
from scumble.protocol.geometry import Size
from scumble.protocol.messages import AdapterInfo, Reference

from . import world
from .judge import Eyes
from .measure import named_scene, sentence
from .painting import MODELS, paint, tensor

FOLDER = MODELS / "nano-ip-adapter"


def adapters() -> tuple[Adapter, ...]:
    """The adapter and its image encoder, as Scumble recognises them."""
    found = []
    for path in (FOLDER / "ip-adapter.safetensors", FOLDER / "image_encoder" / "model.safetensors"):
        kind = adapter(read_contents(path))
        assert kind is not None
        found.append(Adapter(AdapterInfo(path.stem, path.stem, *kind, path.stat().st_size), path))
    return tuple(found)


def measure_references(engine: DiffusionEngine, eyes: Eyes, count: int = 40) -> dict[str, float]:
    """Of pictures for whose object the prompt says no colour, or no shape, how many have that of the reference, another
    drawing of a held-out pair; how many at half the weight and without it; and whose background is still the prompt's."""
    rng = random.Random(10)
    names = "colour of a reference", "at half the weight", "without it", "background of the prompt"
    right: dict[str, list[bool]] = {name: [] for name in (*names, "shape of a reference", "shape without it")}
    for seed in range(count):
        scene = named_scene(rng)
        (thing,) = scene.objects
        picture = drawn(world.another(thing, rng))
        text, shapeless = sentence(scene, f"a {thing.shape}"), sentence(scene, f"a {thing.colour} shape")
        for name, weight in (("colour of a reference", 1.0), ("at half the weight", 0.5), ("without it", 0.0)):
            pictures = tensor(like(engine, text, (picture, weight), seed=seed))
            right[name].append(eyes.objects(pictures, at_least=0)[0][0].colour == thing.colour)
            if weight == 1:
                right["background of the prompt"].append(eyes.background(pictures)[0] == scene.background)
        for name, weight in (("shape of a reference", 1.0), ("shape without it", 0.0)):
            pictures = tensor(like(engine, shapeless, (picture, weight), seed=seed))
            right[name].append(eyes.objects(pictures, at_least=0)[0][0].shape == thing.shape)
    return {name: float(np.mean(values)) for name, values in right.items()}


def like(
    engine: DiffusionEngine,
    prompt: str,
    *uses: tuple[Pixels, float],
    seed: int = 0,
    start: float = 0.0,
    end: float = 1.0,
) -> NDArray[np.uint8]:
    """(1, 128, 128, 3) a picture of the prompt that takes up (h, w, 4) pictures, each with its weight, in a part of the
    steps."""
    known = adapters()
    references = tuple(
        Reference(known[0].info.id, Size(picture.shape[1], picture.shape[0]), weight, start, end)
        for picture, weight in uses
    )
    shown = tuple(picture for picture, _ in uses)
    return paint(engine, prompt, seed, adapters=known, references=references, shown=shown)


def drawn(scene: world.Scene) -> Pixels:
    """(128, 128, 4)"""
    return np.asarray(world.render(scene).convert("RGBA"))
