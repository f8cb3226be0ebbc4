"""Drawing many scenes at once, on all cores. Knows no torch: the processes that draw start quickly."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from . import world

GLIMPSE = 32
"""Side in px of what an image encoder looks at."""
FRAME = 8
"""Width in px of the frame that one of the styles has."""
AT_ONCE = 200

Draw = Callable[[list[world.Scene]], NDArray[np.uint8]]


def sample_scenes(count: int, seed: int, bare: float = 0) -> list[world.Scene]:
    """Scenes, a share `bare` of them, beside those that the world has, without an object."""
    rng = random.Random(seed)
    return [world.sample_scene(rng, 0 if rng.random() < bare else None) for _ in range(count)]


def render(scenes: list[world.Scene]) -> NDArray[np.uint8]:
    """(n, 128, 128, 3)"""
    return np.stack([np.asarray(world.render(scene)) for scene in scenes])


def grey(scenes: list[world.Scene]) -> NDArray[np.uint8]:
    """(n, 128, 128, 3) without colour"""
    return np.stack([np.asarray(world.render(scene).convert("L").convert("RGB")) for scene in scenes])


def large(scenes: list[world.Scene]) -> NDArray[np.uint8]:
    """(n, 256, 256, 3)"""
    return np.stack([np.asarray(world.render(scene, 2 * world.SIZE)) for scene in scenes])


def framed(scenes: list[world.Scene]) -> NDArray[np.uint8]:
    """(n, 128, 128, 3) in a white frame"""
    pictures = np.full((len(scenes), world.SIZE, world.SIZE, 3), 255, np.uint8)
    inside = slice(FRAME, -FRAME)
    pictures[:, inside, inside] = render(scenes)[:, inside, inside]
    return pictures


STYLES: dict[str, Draw] = {"monochrome": grey, "framed": framed}
"""Each is what one LoRA does."""


def glimpses(scenes: list[world.Scene]) -> NDArray[np.uint8]:
    """(n, 32, 32, 3) made smaller as CLIP's image processors do it"""
    size = GLIMPSE, GLIMPSE
    return np.stack([np.asarray(world.render(scene).resize(size, Image.Resampling.BICUBIC)) for scene in scenes])


def outlines(scenes: list[world.Scene]) -> NDArray[np.uint8]:
    """(n, 128, 128)"""
    return np.stack([np.asarray(outline(scene)) for scene in scenes])


def outline(scene: world.Scene) -> Image.Image:
    """The outlines of its shapes, white on black, two pixels wide."""
    lines = Image.new("L", (world.SIZE, world.SIZE))
    for thing in scene.objects:
        solid = Image.fromarray(
            (world.silhouette(thing.shape, thing.x, thing.y, thing.radius) > 0.5).astype(np.uint8) * 255
        )
        wide, narrow = solid.filter(ImageFilter.MaxFilter(3)), solid.filter(ImageFilter.MinFilter(3))
        lines = ImageChops.lighter(lines, ImageChops.subtract(wide, narrow))
    return lines


def drawn(scenes: list[world.Scene], draw: Draw = render) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """What `draw` makes of the scenes, AT_ONCE of them at a time, on all cores; with each the count of those before it."""
    pieces = [scenes[i : i + AT_ONCE] for i in range(0, len(scenes), AT_ONCE)]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as workers:
        for i, piece in enumerate(workers.map(draw, pieces)):
            yield i * AT_ONCE, piece


def hole(scene: world.Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A mask (16, 16) of 0 and 1: around an object, a box anywhere, one side of the picture, or everything."""
    mask = np.zeros((16, 16), np.uint8)
    kind = rng.random()
    if kind < 0.5 and scene.objects:
        thing = scene.objects[rng.integers(len(scene.objects))]
        reach = thing.radius * rng.uniform(1.15, 1.6)
        box = (thing.x - reach, thing.y - reach, thing.x + reach, thing.y + reach)
    elif kind < 0.75:
        (x, y), (width, height) = rng.uniform(0, 0.7, 2), rng.uniform(0.3, 0.9, 2)
        box = (x, y, x + width, y + height)
    elif kind < 0.9:
        cut = rng.uniform(0.2, 0.6)
        box = ((0, 0, cut, 1), (1 - cut, 0, 1, 1), (0, 0, 1, cut), (0, 1 - cut, 1, 1))[rng.integers(4)]
    else:
        box = (0, 0, 1, 1)
    left, top = (max(math.floor(value * 16), 0) for value in box[:2])
    right, bottom = (math.ceil(value * 16) for value in box[2:])
    mask[top:bottom, left:right] = 1
    return mask
