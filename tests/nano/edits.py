"""What edits by a plain model are for, seen in their pictures. Tests and measures share these looks, each at one seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.upscaler import UpscaleEngine
from scumble.editing.plan import Pixels, Plan, Silent, Source
from scumble.editing.planner import plan_edit
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest, Region

from . import world
from .drawing import STYLES
from .judge import Eyes, Seen, share
from .measure import named_scene, sentence
from .measure_edits import drawing
from .painting import GUIDANCE, MODELS, ONE_THREAD, PIECE, STEPS, Edited, edit, tensor
from .styles import does_only

SCALES = ((128, 64), (160, 64), (256, 128), (512, 160), (900, 520))
"""Sides of a photograph and of a selection in it in px."""
SMALL = (256, 32)
"""The same for a selection that a model of 128 px sees enlarged, where little is shown to it of what lies around."""
LARGE = Size(2 * PIECE.width, 2 * PIECE.height)
UPSCALER = MODELS / "nano-upscaler.safetensors"


def measure_edits(engine: DiffusionEngine, eyes: Eyes, count: int = 20) -> dict[str, float]:
    """Of `count` seeds, how many edits do what each is for."""
    network = UpscaleEngine(UPSCALER, ONE_THREAD)
    looks: dict[str, Callable[[int], bool]] = {
        "star in a photo": lambda seed: shows_the_star(eyes, filled(engine, *SCALES[seed % len(SCALES)], seed)),
        "star in 32 px of it": lambda seed: shows_the_star(eyes, filled(engine, *SMALL, seed, context=8)),
        "refined at 30 %, stays": lambda seed: keeps_the_composition(engine, eyes, seed),
        "refined at 90 %, new": lambda seed: takes_up_the_prompt(engine, eyes, seed),
        "outpainted, goes on": lambda seed: goes_on(outpainted(engine, tuple(GROUNDS)[seed % 3], seed)),
        "outpainted, painted": lambda seed: is_painted(outpainted(engine, "brick", seed)),
        "outpainted, thing": lambda seed: shows_the_thing(outpainted(engine, "brick", seed, "a blue star")),
        "regions": lambda seed: tells_halves_apart(engine, eyes, "red", "blue", seed),
        "LoRA takes the colours": lambda seed: does_only(engine, seed, "monochrome"),
        "LoRA puts a frame": lambda seed: does_only(engine, seed, "framed"),
        "two LoRAs at once": lambda seed: does_only(engine, seed, *STYLES),
        "two passes, one thing": lambda seed: is_one_composition(engine, eyes, seed),
        "two passes, detail": lambda seed: adds_courses(engine, seed),
        "upscaled, stays": lambda seed: keeps_the_thing(eyes, upscaled(engine, seed)),
        "upscaled, detail": lambda seed: courses(beside_the_thing(upscaled(engine, seed))) > 1.35,
        "enlarged, nearer": lambda seed: is_nearer(enlarged(network, named_scene(random.Random(seed)))),
    }
    return {name: float(np.mean([look(seed) for seed in range(count)])) for name, look in looks.items()}


# ---- fill ------------------------------------------------------------------------------------------------------------


def photograph(side: int) -> Pixels:
    """(side, side, 3) a cat's face (CC0)."""
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as picture:
        face = picture.convert("RGB").crop((75, 0, 375, 300))
    return np.asarray(face.resize((side, side), Image.Resampling.LANCZOS))


def square(side: int, selected: int) -> Pixels:
    """A selection (side, side): a square in the middle."""
    mask = np.zeros((side, side), np.uint8)
    start = (side - selected) // 2
    mask[start : start + selected, start : start + selected] = 255
    return mask


class Filled(NamedTuple):
    """A photograph (side, side, 3) before and after, and the selection."""

    before: Pixels
    mask: Pixels
    after: Edited


def filled(engine: DiffusionEngine, side: int, selected: int, seed: int, **settings: Any) -> Filled:
    """A photograph with a blue star in the selection."""
    before, mask = photograph(side), square(side, selected)
    return Filled(before, mask, edit(engine, before, mask, prompt="a blue star in the center", seed=seed, **settings))


def shows_the_star(eyes: Eyes, photo: Filled) -> bool:
    """The selection is looked at small, in the middle of the photograph's colour: the judge knows things with room around
    them."""
    side = np.count_nonzero(photo.mask.any(axis=0))
    alone = np.empty((PIECE.height, PIECE.width, 3), np.uint8)
    alone[:] = np.median(photo.before[photo.mask == 0], axis=0)
    inside = Image.fromarray(photo.after.picture[photo.mask > 0].reshape(side, side, 3))
    alone[28:100, 28:100] = np.asarray(inside.resize((72, 72), Image.Resampling.LANCZOS))
    return [(one.colour, one.shape) for one in _objects(eyes, alone)] == [("blue", "star")]


# ---- refine ----------------------------------------------------------------------------------------------------------


def keeps_the_composition(engine: DiffusionEngine, eyes: Eyes, seed: int) -> bool:
    """At 30 % what is seen is what was there, whatever the prompt says."""
    before, asked = two_scenes(seed)
    return shows(eyes, edit(engine, drawing(before), prompt=sentence(asked), strength=0.3, seed=seed).picture, before)


def takes_up_the_prompt(engine: DiffusionEngine, eyes: Eyes, seed: int) -> bool:
    """At 90 % what is seen is what the prompt says, whatever was there."""
    before, asked = two_scenes(seed)
    return shows(eyes, edit(engine, drawing(before), prompt=sentence(asked), strength=0.9, seed=seed).picture, asked)


def two_scenes(seed: int) -> tuple[world.Scene, world.Scene]:
    """Of one object each; they differ in everything."""
    rng = random.Random(seed)
    one = other = named_scene(rng)
    while any(value == same for value, same in zip(_told(one), _told(other), strict=True)):
        other = named_scene(rng)
    return one, other


def shows(eyes: Eyes, picture: Pixels, scene: world.Scene) -> bool:
    """Whether colour, shape, position and background are those of a scene of one object, and there is no second one."""
    background = eyes.background(tensor(picture[None]))[0]
    return [(one.colour, one.shape, one.position, background) for one in _objects(eyes, picture)] == [_told(scene)]


def _told(scene: world.Scene) -> tuple[str, str, str, str]:
    (thing,) = scene.objects
    return thing.colour, thing.shape, thing.position, scene.background


# ---- outpaint --------------------------------------------------------------------------------------------------------


GROUNDS = {
    "meadow": ("a meadow", 0.82),
    "sunset": ("a sunset", 0.7),
    "night": ("a night sky", 2.0),
    "brick": ("a brick wall", 1.0),
}
"""What is said of a background, and how much lighter or darker it is than the model, told no more than that, paints it."""


def outpainted(engine: DiffusionEngine, background: str, seed: int, thing: str = "", **settings: Any) -> Pixels:
    """(128, 192, 3): a bare background and what goes on to its right, with a thing where one is named."""
    mask = np.zeros((128, 192), np.uint8)
    mask[:, 128:] = 255
    words, light = GROUNDS[background]
    before = (drawing(world.Scene(background, (), seed)) * light).clip(0, 255).astype(np.uint8)
    prompt = f"{thing} on {words}" if thing else words
    request = {"mode": "outpaint", "canvas": Size(192, 128), "prompt": prompt, "seed": seed, **settings}
    return edit(engine, before, mask, **request).picture


def goes_on(picture: Pixels) -> bool:
    """Whether the colours, row by row, are nearly the same on both sides of the edge, and further away."""
    rows = picture.astype(float)
    step = np.abs(rows[:, 128:132].mean(1) - rows[:, 124:128].mean(1)).mean()
    further = np.abs(rows[:, 170:186].mean(1) - rows[:, 104:120].mean(1)).mean()
    return bool(step < 18 and further < 26)


def is_painted(picture: Pixels) -> bool:
    """Whether what is new has as much detail across as what is old; a continued border has next to none."""
    old, new = (
        np.abs(np.diff(part.astype(float).mean(2), axis=1)).mean() for part in (picture[:, :128], picture[:, 132:])
    )
    return bool(new > 0.5 * old)


def shows_the_thing(picture: Pixels) -> bool:
    """Whether there is a blue one in what is new."""
    return share(picture[:, 128:], "blue") > 0.05


# ---- regions ---------------------------------------------------------------------------------------------------------


def tells_halves_apart(engine: DiffusionEngine, eyes: Eyes, left: str, right: str, seed: int) -> bool:
    """Each thing is in its half; each colour is four times as much there as in the other."""
    half = np.zeros((PIECE.height, PIECE.width), np.uint8)
    half[:, : PIECE.width // 2] = 255
    whole, ground = Bounds.of_size(PIECE), "on a plain white background"
    regions = (
        Region(f"a {left} square on the left {ground}", whole),
        Region(f"a {right} circle on the right {ground}", whole),
    )
    picture = painted(engine, planned(engine, PIECE, ground, seed, half, 255 - half, regions=regions))
    halves = picture[:, : PIECE.width // 2], picture[:, PIECE.width // 2 :]
    here, there = ([share(part, colour) for part in halves] for colour in (left, right))
    placed = {(one.colour, one.position) for one in _objects(eyes, picture)} == {(left, "left"), (right, "right")}
    return placed and here[0] > max(0.1, 4 * here[1]) and there[1] > max(0.1, 4 * there[0])


# ---- two passes, upscaling -------------------------------------------------------------------------------------------


def planned(engine: DiffusionEngine, canvas: Size, prompt: str, seed: int, *masks: Pixels, **settings: Any) -> Plan:
    """A picture from nothing on a canvas of any size; `masks` are those of its regions."""
    request = EditRequest(
        "txt2img", canvas, Bounds(0, 0, 1, 1), prompt=prompt, seed=seed, steps=STEPS, guidance=GUIDANCE,
        sampler="dpmpp_2m_karras", **settings,
    )  # fmt: skip
    return plan_edit(request, Source(np.zeros((1, 1, 4), np.uint8), regions=masks), engine.traits)


def painted(engine: DiffusionEngine, plan: Plan) -> Pixels:
    return engine.generate(plan, Silent())[0]


def is_one_composition(engine: DiffusionEngine, eyes: Eyes, seed: int) -> bool:
    """A square in the middle of a picture of twice the model's side, and nothing else."""
    picture = painted(engine, planned(engine, LARGE, "a blue square in the center on a brick wall", seed))
    middle = picture[LARGE.height // 4 : 3 * LARGE.height // 4, LARGE.width // 4 : 3 * LARGE.width // 4]
    return [one.colour for one in _objects(eyes, picture)] == ["blue"] and share(middle, "blue") > 0.3


def adds_courses(engine: DiffusionEngine, seed: int) -> bool:
    """The second pass lays bricks of the size that the model knows over the first one's, which are twice as large by then.
    The autoencoder does so by itself, but faintly: 0.8 to 1 is what it makes of the enlarged wall."""
    return courses(painted(engine, planned(engine, LARGE, "a brick wall", seed))) > 1.2


def courses(picture: Pixels) -> float:
    """How much sharper the joints of 16 courses of bricks are to be seen in a picture than those of 8."""
    waves = np.abs(np.fft.rfft(picture.astype(float).mean((1, 2))))
    return float(waves[16] / waves[8])


def upscaled(engine: DiffusionEngine, seed: int, prompt: str = "a brick wall", **settings: Any) -> Pixels:
    """(256, 256, 3): a blue square on the left on a brick wall, at twice its size, by the model."""
    thing = world.Object("square", "blue", "left", 0.27, 0.5, 0.25)
    before = drawing(world.Scene("brick", (thing,), seed))
    request = EditRequest(
        **{
            "mode": "upscale", "canvas": PIECE, "image": Bounds.of_size(PIECE), "prompt": prompt, "seed": seed, "factor": 2,
            "strength": 0.35, "steps": STEPS, "guidance": GUIDANCE, "sampler": "dpmpp_2m_karras", **settings,
        }
    )  # fmt: skip
    source = Source(np.dstack([before, np.full(before.shape[:2], 255, np.uint8)]))
    return painted(engine, plan_edit(request, source, engine.traits))


def keeps_the_thing(eyes: Eyes, picture: Pixels) -> bool:
    """Whether the blue square, and nothing else, is where it was."""
    return [(one.colour, one.shape, one.position) for one in _objects(eyes, picture)] == [("blue", "square", "left")]


def beside_the_thing(picture: Pixels) -> Pixels:
    return picture[:, picture.shape[1] // 2 + 8 :]


class Enlarged(NamedTuple):
    """A drawing (512, 512, 3) as it is, and as it comes back from a quarter of its size: by a network, and by Lanczos."""

    drawn: Pixels
    by_network: Pixels
    by_lanczos: Pixels


def enlarged(network: UpscaleEngine, scene: world.Scene) -> Enlarged:
    large = world.render(scene, 4 * world.SIZE)
    small = large.reduce(4)
    whole = np.dstack([np.asarray(small), np.full(small.size[::-1], 255, np.uint8)])
    request = EditRequest("upscale", PIECE, Bounds.of_size(PIECE), factor=4)
    picture = network.generate(plan_edit(request, Source(whole), network.traits), Silent())[0]
    return Enlarged(np.asarray(large), picture, np.asarray(small.resize(large.size, Image.Resampling.LANCZOS)))


def is_nearer(seen: Enlarged) -> bool:
    """Whether what the network makes is less than 0.8 times as far from the drawing as interpolation is."""
    network, lanczos = (np.abs(each.astype(float) - seen.drawn).mean() for each in (seen.by_network, seen.by_lanczos))
    return bool(network < 0.8 * lanczos)


def _objects(eyes: Eyes, picture: Pixels) -> list[Seen]:
    """Those of a picture of any size, as the judge sees it at its own."""
    small = np.asarray(Image.fromarray(picture).resize(PIECE, Image.Resampling.LANCZOS))
    return eyes.objects(tensor(small[None].copy()))[0]
