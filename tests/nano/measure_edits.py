"""What nano-sd-inpaint and nano-controlnet do, in figures: holes in drawings, edges of shapes; looked at by the judge."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from scumble.diffusion.engine import DiffusionEngine
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels
from scumble.protocol.geometry import Bounds
from scumble.protocol.messages import AdapterInfo, Control

from . import world
from .drawing import outline
from .judge import Eyes
from .measure import named_scene, sentence
from .painting import MODELS, PIECE, edit, paint, tensor

EDGES = Adapter(
    AdapterInfo("edges", "nano-controlnet", "control", "sd1", 1),
    MODELS / "nano-controlnet" / "diffusion_pytorch_model.safetensors",
)


def measure_holes(engine: DiffusionEngine, eyes: Eyes, count: int = 40) -> dict[str, float]:
    """Of bare backgrounds with a hole in the middle, how many show in it the colour and the shape that were asked for; and
    of objects that were selected, how many are gone where only the background was asked for."""
    rng = random.Random(8)
    right: dict[str, list[bool]] = {"colour in a hole": [], "shape in a hole": [], "taken away": []}
    for seed in range(count):
        scene = centred(named_scene(rng))
        (thing,) = scene.objects
        bare, mask = drawing(world.Scene(scene.background, (), scene.seed)), around(thing)
        seen = eyes.objects(tensor(edit(engine, bare, mask, prompt=sentence(scene), seed=seed).picture[None]))[0]
        right["colour in a hole"].append(bool(seen) and seen[0].colour == thing.colour)
        right["shape in a hole"].append(bool(seen) and seen[0].shape == thing.shape)
        after = edit(engine, drawing(scene), mask, prompt=ground(scene.background), seed=seed).picture
        right["taken away"].append(not eyes.objects(tensor(after[None]))[0])
    return {name: float(np.mean(values)) for name, values in right.items()}


def measure_edges(engine: DiffusionEngine, eyes: Eyes, count: int = 40) -> dict[str, float]:
    """How often the shape is that of the edges where the prompt names a colour only, with the control network and without;
    and how often it is where they are."""
    rng = random.Random(9)
    right: dict[str, list[bool]] = {"shape of the edges": [], "place of the edges": [], "without them": []}
    for seed in range(count):
        scene = named_scene(rng)
        (thing,) = scene.objects
        text = f"a {thing.colour} shape"
        (seen,) = eyes.objects(tensor(follow(engine, text, scene, seed)))
        (other,) = eyes.objects(tensor(paint(engine, text, seed)))
        right["shape of the edges"].append(bool(seen) and seen[0].shape == thing.shape)
        right["place of the edges"].append(bool(seen) and seen[0].position == thing.position)
        right["without them"].append(bool(other) and other[0].shape == thing.shape)
    return {name: float(np.mean(values)) for name, values in right.items()}


def follow(
    engine: DiffusionEngine, prompt: str, scene: world.Scene, seed: int = 0, **control: float
) -> NDArray[np.uint8]:
    """(1, 128, 128, 3) a picture of the prompt that follows the outlines of a scene; `control`: see messages.Control."""
    lines = np.asarray(outline(scene))
    hint = np.dstack([lines, lines, lines, np.full_like(lines, 255)])
    controls = (Control("edges", Bounds.of_size(PIECE), **control),)
    return paint(engine, prompt, seed, adapters=(EDGES,), hints=(hint,), controls=controls)


def drawing(scene: world.Scene) -> Pixels:
    return np.array(world.render(scene))


def centred(scene: world.Scene) -> world.Scene:
    (thing,) = scene.objects
    return world.Scene(
        scene.background, (world.Object(thing.shape, thing.colour, "center", 0.5, 0.5, 0.24),), scene.seed
    )


def around(thing: world.Object, reach: float = 1.4) -> Pixels:
    """A selection (128, 128): a square around an object."""
    mask = np.zeros((world.SIZE, world.SIZE), np.uint8)
    left, top, right, bottom = (
        round(value * world.SIZE)
        for value in (
            thing.x - reach * thing.radius,
            thing.y - reach * thing.radius,
            thing.x + reach * thing.radius,
            thing.y + reach * thing.radius,
        )
    )
    mask[max(top, 0) : bottom, max(left, 0) : right] = 255
    return mask


def ground(background: str) -> str:
    """A caption of nothing but a background."""
    if background.startswith("plain "):
        colour = background[6:]
        return f"{'an' if colour[0] in 'aeio' else 'a'} {colour} background"
    return world.SCENERY_WORDS[background][1]
