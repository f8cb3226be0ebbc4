"""The world that the nano models know: coloured shapes on a background, and sentences about them.

A scene is drawn by numpy and Pillow alone, 128 x 128 px, anti-aliased; `caption` says it in the grammar of Scumble's
prompts. Everything is a pure function of a `random.Random`. `HELD_OUT` pairs are never drawn for training: they measure
whether a model composes what it knows.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = 128
"""Side of a picture in px."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 30, 36),
    "orange": (250, 140, 20),
    "yellow": (250, 226, 40),
    "green": (38, 160, 52),
    "blue": (32, 72, 222),
    "purple": (132, 36, 172),
    "white": (246, 246, 246),
    "black": (18, 18, 20),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
POSITIONS = {
    "center": (0.50, 0.50),
    "left": (0.27, 0.50),
    "right": (0.73, 0.50),
    "top": (0.50, 0.27),
    "bottom": (0.50, 0.73),
}
SCENERY = ("sky", "sunset", "meadow", "night", "brick", "checker")
TEXTURE = "texture"
"""A background that no caption names: smooth noise and gradients, so that photographs are nothing new."""
BACKGROUNDS = (*(f"plain {colour}" for colour in COLOURS), *SCENERY, TEXTURE)

HELD_OUT = frozenset(
    {("purple", "star"), ("orange", "heart"), ("blue", "cross"), ("white", "triangle"), ("yellow", "square"),
     ("red", "circle")}
)  # fmt: skip
"""(colour, shape) pairs that training never sees."""

RADIUS = 0.22, 0.26
"""Range of a lone object's radius, relative to the side, at weight 1; `PAIR` is the same for two objects, `SUBJECT`
for what is all that a picture is about."""
PAIR = 0.17, 0.20
SUBJECT = 0.30, 0.42
WEIGHTS = 0.4, 1.7
"""What a weight means is taught: an object's area grows with the weight of its words, radius = weight ** GROWTH."""
GROWTH = 0.6

_HIDDEN = {"sunset": {"orange"}, "night": {"black"}, "checker": {"black", "white"}, "meadow": {"green"}}


@dataclass(frozen=True)
class Object:
    """`x`, `y`, `radius` are relative to the side. `weight` is that of its words in the caption."""

    shape: str
    colour: str
    position: str
    x: float
    y: float
    radius: float
    weight: float = 1.0


@dataclass(frozen=True)
class Scene:
    """`seed` is of every random detail of the drawing. Of two objects the first is to the left of or above the other."""

    background: str
    objects: tuple[Object, ...]
    seed: int


# ---- what there is ---------------------------------------------------------------------------------------------------


def sample_scene(rng: random.Random, objects: int | None = None, held_out: bool = False) -> Scene:
    """A random scene of `objects` (none: mostly one) objects; with `held_out` only pairs of HELD_OUT."""
    background = _background(rng)
    seed = rng.getrandbits(31)
    if objects is None:
        objects = rng.choices((0, 1, 2), (0.06, 0.69, 0.25))[0]
    if objects < 2:
        position = rng.choice(list(POSITIONS))
        return Scene(
            background, tuple(_object(rng, background, position, RADIUS, held_out) for _ in range(objects)), seed
        )
    places = rng.choice([("left", "right"), ("top", "bottom")])
    first = _object(rng, background, places[0], PAIR, held_out)
    return Scene(background, (first, _object(rng, background, places[1], PAIR, held_out, first)), seed)


def another(thing: Object, rng: random.Random) -> Scene:
    """The same kind of object as the subject of a picture of its own, on any background that it does not vanish on."""
    while thing.colour not in visible_colours(background := _background(rng)):
        pass
    radius = rng.uniform(*SUBJECT)
    x, y = (rng.uniform(0.42, 0.58) for _ in "xy")
    return Scene(background, (Object(thing.shape, thing.colour, "", x, y, radius),), rng.getrandbits(31))


def _background(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.45:
        return f"plain {rng.choice(list(COLOURS))}"
    return rng.choice(SCENERY) if kind < 0.92 else TEXTURE


def visible_colours(background: str) -> list[str]:
    """The colours that do not vanish in front of it."""
    hidden = {background[6:]} if background.startswith("plain ") else _HIDDEN.get(background, set())
    return [colour for colour in COLOURS if colour not in hidden]


def _object(
    rng: random.Random,
    background: str,
    position: str,
    radius: tuple[float, float],
    held_out: bool,
    other: Object | None = None,
) -> Object:
    colours = visible_colours(background)
    while True:
        shape, colour = rng.choice(SHAPES), rng.choice(colours)
        if ((colour, shape) in HELD_OUT) is held_out and not (
            other and (other.shape == shape or other.colour == colour)
        ):
            break
    weight = rng.uniform(*WEIGHTS) if rng.random() < 0.35 else 1.0
    x, y = (value + rng.uniform(-0.03, 0.03) for value in POSITIONS[position])
    return Object(shape, colour, position, x, y, rng.uniform(*radius) * weight**GROWTH, weight)


# ---- how it looks ----------------------------------------------------------------------------------------------------

Pixels = NDArray[np.float32]
"""(size, size, 3), 0..255, while a picture is being drawn."""


def render(scene: Scene, size: int = SIZE) -> Image.Image:
    """RGB picture of a scene."""
    rng = np.random.default_rng(scene.seed)
    pixels = draw_background(scene.background, rng, size)
    for thing in scene.objects:
        alpha = silhouette(thing.shape, thing.x, thing.y, thing.radius, size)[..., None]
        colour = np.float32(COLOURS[thing.colour]) + rng.uniform(-8, 8, 3).astype(np.float32)
        pixels = pixels * (1 - alpha) + colour * alpha
    return Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8))


def silhouette(shape: str, x: float, y: float, radius: float, size: int = SIZE) -> NDArray[np.float32]:
    """(size, size) coverage 0..1 of a shape; position and radius are relative to the side."""
    side = size * 4
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    box = [(x - radius) * side, (y - radius) * side, (x + radius) * side, (y + radius) * side]
    if shape == "circle":
        draw.ellipse(box, fill=255)
    else:
        for outline in _OUTLINES[shape]:
            draw.polygon([((x + u * radius) * side, (y + v * radius) * side) for u, v in outline], fill=255)
    return np.asarray(image.reduce(4), np.float32) / 255


def _star() -> list[tuple[float, float]]:
    turns = [(math.pi * (i / 5 - 0.5), 0.42 if i % 2 else 1.1) for i in range(10)]
    return [(length * math.cos(angle), length * math.sin(angle)) for angle, length in turns]


def _heart() -> list[tuple[float, float]]:
    angles = [math.tau * i / 60 for i in range(60)]
    return [
        (
            math.sin(a) ** 3,
            -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 16 - 0.1,
        )
        for a in angles
    ]


_OUTLINES: dict[str, list[list[tuple[float, float]]]] = {
    "square": [[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]],
    "triangle": [[(0, -1.05), (1.05, 0.8), (-1.05, 0.8)]],
    "star": [_star()],
    "heart": [_heart()],
    "cross": [[(-1, -0.33), (1, -0.33), (1, 0.33), (-1, 0.33)], [(-0.33, -1), (0.33, -1), (0.33, 1), (-0.33, 1)]],
}


def draw_background(name: str, rng: np.random.Generator, size: int = SIZE) -> Pixels:
    if name.startswith("plain "):
        colour = np.float32(COLOURS[name[6:]]) + rng.uniform(-9, 9, 3).astype(np.float32)
        return np.broadcast_to(colour, (size, size, 3)).astype(np.float32)
    return _DRAWN[name](rng, size)


def _sky(rng: np.random.Generator, size: int) -> Pixels:
    clouds = np.clip((0.6 * _noise(rng, size, 6) + 0.4 * _noise(rng, size, 12) - 0.55) * 5, 0, 0.9)
    return _over(_gradient(size, (84, 160, 236), (190, 226, 250)), clouds, (250, 250, 252))


def _sunset(rng: np.random.Generator, size: int) -> Pixels:
    _, rows = _grid(size)
    ground = np.clip((rows - rng.uniform(0.76, 0.84)) * size + 0.5, 0, 1)
    return _over(_gradient(size, (96, 40, 120), (255, 150, 40)), ground, (70, 26, 60))


def _meadow(rng: np.random.Generator, size: int) -> Pixels:
    columns, rows = _grid(size)
    grass = np.float32([84, 176, 60]) + (_noise(rng, size, 32)[..., None] - 0.5) * np.float32([50, 60, 30])
    hill = np.clip((rows - 0.52 - 0.06 * np.sin(columns * 5 + rng.uniform(0, 6))) * size, 0, 1)[..., None]
    return _gradient(size, (130, 196, 244), (214, 238, 250)) * (1 - hill) + grass * hill


def _night(rng: np.random.Generator, size: int) -> Pixels:
    columns, rows = _grid(size)
    pixels = _gradient(size, (8, 10, 38), (34, 36, 92))
    for x, y, radius in rng.random((rng.integers(12, 20), 3)):
        star = np.clip(1.2 + radius - np.hypot(columns - x, rows - y) * size, 0, 1)
        pixels = _over(pixels, star, (250, 248, 220))
    return pixels


def _brick(rng: np.random.Generator, size: int) -> Pixels:
    columns, rows = _grid(size)
    row = np.floor(rows * 8)
    across, down = (columns * 4 + row % 2 / 2) % 1, rows * 8 % 1
    joint = ((across < 0.08) | (down < 0.16)).astype(np.float32)
    brick = np.float32([158, 76, 56]) + _noise(rng, size, 12)[..., None] * 30 - 15
    return _over(brick.astype(np.float32), joint, (206, 196, 184))


def _checker(rng: np.random.Generator, size: int) -> Pixels:
    columns, rows = _grid(size)
    odd = ((np.floor(columns * 8) + np.floor(rows * 8)) % 2).astype(np.float32)
    return _over(np.full((size, size, 3), 236, np.float32), odd, (40, 40, 44))


def _texture(rng: np.random.Generator, size: int) -> Pixels:
    """Smooth noise of all sizes in a random palette, sometimes with a straight edge: what photographs are made of."""
    pixels = _gradient(size, rng.uniform(0, 255, 3), rng.uniform(0, 255, 3))
    for cells in (3, 8, 24):
        pixels += (_noise(rng, size, cells)[..., None] - 0.5) * rng.uniform(-120, 120, 3) * (4 / (2 + cells)) ** 0.5
    if rng.random() < 0.4:
        columns, rows = _grid(size)
        angle, at = rng.uniform(0, math.tau), rng.uniform(-0.3, 0.3)
        side = np.clip(((columns - 0.5) * math.cos(angle) + (rows - 0.5) * math.sin(angle) - at) * size, 0, 1)
        pixels = _over(pixels, side * rng.uniform(0.3, 0.9), rng.uniform(0, 255, 3))
    return pixels.astype(np.float32)


_DRAWN = {
    "sky": _sky,
    "sunset": _sunset,
    "meadow": _meadow,
    "night": _night,
    "brick": _brick,
    "checker": _checker,
    TEXTURE: _texture,
}


def _grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Columns and rows, 0..1."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size
    return columns, rows


def _noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    """Smooth value noise, 0..1."""
    grid = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255


def _gradient(size: int, top: object, bottom: object) -> Pixels:
    share = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    line = (1 - share) * np.asarray(top, np.float32) + share * np.asarray(bottom, np.float32)
    return np.broadcast_to(line, (size, size, 3)).astype(np.float32)


def _over(pixels: Pixels, alpha: NDArray[np.float32], colour: object) -> Pixels:
    result: Pixels = pixels * (1 - alpha[..., None]) + np.asarray(colour, np.float32) * alpha[..., None]
    return result


# ---- how one says it -------------------------------------------------------------------------------------------------

SCENERY_WORDS = {
    "sky": ("in the sky", "a blue sky"),
    "sunset": ("at sunset", "a sunset"),
    "meadow": ("on a meadow", "a meadow"),
    "night": ("at night", "a night sky"),
    "brick": ("on a brick wall", "a brick wall"),
    "checker": ("on a checkerboard", "a checkerboard"),
}
_PLACE_WORDS = {
    "center": ("in the center", "in the middle"),
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top", "at the top"),
    "bottom": ("at the bottom", "at the bottom"),
}


def caption(scene: Scene, rng: random.Random) -> str:
    """One of many descriptions of a scene, often leaving parts out; weights other than 1 as `(words:1.30)`.

    An object that has such a weight is never left out, nor is the weight.
    """
    kind = rng.random()
    if kind < 0.12 and all(thing.weight == 1 for thing in scene.objects):
        return _word(scene, rng) if kind < 0.04 else _tags(scene, rng)
    things = [_named(thing, rng) for thing in scene.objects]
    where = _where(scene)
    style = rng.random()
    if not things:
        return where[1]
    if len(things) == 2:
        first = scene.objects[0]
        apart = ("to the left of", "to the right of") if first.position == "left" else ("above", "below")
        if style < 0.35:
            text = f"{things[0]} {apart[0]} {things[1]}"
        elif style < 0.6:
            text = f"{things[1]} {apart[1]} {things[0]}"
        elif style < 0.85:
            spoken = [
                f"{name} {rng.choice(_PLACE_WORDS[thing.position])}"
                for name, thing in zip(things, scene.objects, strict=True)
            ]
            rng.shuffle(spoken)
            text = " and ".join(spoken)
        else:
            rng.shuffle(things)
            text = " and ".join(things)
    else:
        text = things[0]
        if style < 0.65:
            text += " " + rng.choice(_PLACE_WORDS[scene.objects[0].position])
    return _before(where, text, rng)


def caption_without(scene: Scene, rng: random.Random, colour: bool, shape: bool) -> str:
    """A description of a scene of one object that says its colour, its shape, or neither: "a shape on the left"."""
    (thing,) = scene.objects
    text = _a(f"{thing.colour} " * colour + (thing.shape if shape else "shape"))
    if rng.random() < 0.65:
        text += " " + rng.choice(_PLACE_WORDS[thing.position])
    return _before(_where(scene), text, rng)


def caption_in_parts(scene: Scene, rng: random.Random) -> str:
    """A description in two parts with BREAK between them: two objects, or an object and its background."""
    parts = [f"{_named(thing, rng)} {rng.choice(_PLACE_WORDS[thing.position])}" for thing in scene.objects]
    where = _where(scene)
    if len(parts) < 2:
        parts.append(where[rng.randrange(2)])
    rng.shuffle(parts)
    return f"{parts[0]} BREAK {parts[-1]}"


def _word(scene: Scene, rng: random.Random) -> str:
    """One word of what could be said."""
    words = [word for thing in scene.objects for word in (thing.colour, thing.shape)]
    return rng.choice(words) if words else _bare(_where(scene)[1])


def _tags(scene: Scene, rng: random.Random) -> str:
    """As many artists write: names without articles, commas between them."""
    tags = [f"{thing.colour} {thing.shape}" for thing in scene.objects]
    rng.shuffle(tags)
    if len(tags) == 1 and rng.random() < 0.3:
        tags.append(scene.objects[0].position)
    ground = _bare(_where(scene)[1])
    if ground and (not tags or rng.random() < 0.7):
        tags.append(ground)
    return ", ".join(tags)


def _bare(words: str) -> str:
    return words.split(" ", 1)[-1]


def _where(scene: Scene) -> tuple[str, str]:
    """The background as "<things> ..." and as "... with <things>"."""
    if scene.background == TEXTURE:
        return "", ""
    if scene.background.startswith("plain "):
        colour = scene.background[6:]
        return f"on {_a(colour)} background", f"{_a(colour)} background"
    return SCENERY_WORDS[scene.background]


def _before(where: tuple[str, str], text: str, rng: random.Random) -> str:
    """The things that `text` names in front of their background (`_where`), which is sometimes left out."""
    if not where[0] or rng.random() < 0.2:
        return text
    return f"{text} {where[0]}" if rng.random() < 0.7 else f"{where[1]} with {text}"


def _named(thing: Object, rng: random.Random) -> str:
    colour, shape = thing.colour, thing.shape
    if thing.weight != 1:
        kind, weight = rng.random(), f"{thing.weight:.2f}"
        if kind < 0.5:
            return f"{_article(colour)} ({colour}:{weight}) {shape}"
        if kind < 0.8:
            return f"{_article(colour)} ({colour} {shape}:{weight})"
        return f"{_article(colour)} {colour} ({shape}:{weight})"
    kind = rng.random()
    if kind < 0.06:
        return _a(shape)
    if kind < 0.10:
        return _a(f"{colour} shape")
    return _a(f"{colour} {shape}")


def _article(word: str) -> str:
    return "an" if word[0] in "aeio" else "a"


def _a(words: str) -> str:
    return f"{_article(words)} {words}"
