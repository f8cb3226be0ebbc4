"""The pictures of the README: what each feature of prompts and edits does, made by the nano models through Scumble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.upscaler import UpscaleEngine
from scumble.editing.plan import Pixels
from scumble.home import Home
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Region

from . import world
from .edits import UPSCALER, enlarged, painted, planned
from .measure_edits import around, drawing, follow
from .measure_references import drawn, like
from .painting import MODELS, ONE_THREAD, PIECE, edit, load, paint
from .styles import LORAS

FOLDER = Path(__file__).parent / "examples"
GAP, LINE = 8, 18  # px
Row = list[tuple[str, Pixels]]
"""Pictures (128, 128, 3) and what is written under each."""


def make(home: Home) -> None:
    """Writes a strip of pictures for each feature."""
    nano, inpaint = load(MODELS / "nano-sd", home), load(MODELS / "nano-sd-inpaint", home)
    FOLDER.mkdir(exist_ok=True)
    for name, row in {**_prompts(nano, home), **_edits(nano, inpaint), **_additions(nano)}.items():
        _strip(row).save(FOLDER / f"{name}.png", optimize=True)
        print(FOLDER / f"{name}.png", flush=True)


def _prompts(nano: DiffusionEngine, home: Home) -> dict[str, Row]:
    def rows(*prompts: str, seed: int = 2, **settings: object) -> Row:
        return [(prompt, paint(nano, prompt, seed, **settings)[0]) for prompt in prompts]

    plain = "a circle in the center on a purple background"
    without = "a yellow circle"
    home.wildcards.mkdir(parents=True, exist_ok=True)
    (home.wildcards / "colour.txt").write_text("red\ngreen\nyellow\nwhite\n")
    listed = load(MODELS / "nano-sd", home)
    return {
        "prompt": rows("a blue star on a meadow", "red heart, brick wall", "a white cross on the left at night"),
        "weights": rows(*(f"a (blue:{weight}) star on a meadow" for weight in (0.5, 1.0, 1.5))),
        "brackets": rows("a [[blue]] star on a meadow", "a blue star on a meadow", "a ((blue)) star on a meadow"),
        "escapes": rows(r"a ((blue)) star on a meadow", r"a \(\(blue\)\) star on a meadow"),
        "comments": rows("a red heart # on a meadow", "a red heart on a meadow"),
        "long": [
            (f"{first}, 80 times the word and, {last}", paint(nano, f"{first}, {'and ' * 80}, {last}", 2)[0])
            for first, last in (("blue heart", "brick wall"), ("brick wall", "blue heart"))
        ],
        "negative": [
            *rows(plain),
            *((f"negative: {negative}", paint(nano, plain, 2, negative=negative)[0]) for negative in (without,)),
        ],
        "break": rows(
            "a yellow square in the center BREAK a brick wall",
            "a red heart on the left BREAK a blue star on the right",
        ),
        "wildcards": [
            (f"{{red|blue}} heart, seed {seed}", paint(nano, "a {red|blue} heart at sunset", seed)[0])
            for seed in (0, 3)
        ]
        + [
            (f"__colour__ heart, seed {seed}", paint(listed, "a __colour__ heart at sunset", seed)[0])
            for seed in (0, 3)
        ],
        "clip-skip": [
            (f"clip skip {skip}", paint(nano, "a blue star on a meadow", 2, clip_skip=skip)[0]) for skip in (1, 2, 3)
        ],
    }


def _edits(nano: DiffusionEngine, inpaint: DiffusionEngine) -> dict[str, Row]:
    star = world.Object("star", "red", "left", 0.27, 0.5, 0.22)
    picture, mask = drawing(world.Scene("sky", (star,), 1)), around(star)
    words = "a blue circle on the right on a brick wall"
    wide = np.zeros((128, 192), np.uint8)
    wide[:, 128:] = 255
    extended = edit(nano, picture, wide, mode="outpaint", canvas=Size(192, 128), prompt="a blue sky").picture
    return {
        "fill": [
            ("before", picture),
            (
                "a green heart, filled",
                edit(inpaint, picture, mask, prompt="a green heart on the left in the sky").picture,
            ),
            ("a blue sky, filled", edit(inpaint, picture, mask, prompt="a blue sky").picture),
        ],
        "refine": [("before", picture)]
        + [
            (f"{words}, {strength:.0%}", edit(nano, picture, prompt=words, strength=strength).picture)
            for strength in (0.3, 0.6, 0.9)
        ],
        "regions": _regions(nano),
        "outpaint": [("before", picture), ("64 px to the right", extended)],
        "upscaler": _enlarged(),
    }


def _regions(nano: DiffusionEngine) -> Row:
    left = np.zeros((PIECE.height, PIECE.width), np.uint8)
    left[:, : PIECE.width // 2] = 255
    whole, ground = Bounds.of_size(PIECE), "on a plain white background"
    words = (f"a red square on the left {ground}", f"a blue circle on the right {ground}")
    regions = tuple(Region(text, whole) for text in words)
    shown = [
        (f"left half: {words[0]}", np.dstack([left] * 3)),
        (f"right half: {words[1]}", np.dstack([255 - left] * 3)),
    ]
    return [
        *shown,
        (f"{ground}, with both", painted(nano, planned(nano, PIECE, ground, 2, left, 255 - left, regions=regions))),
    ]


def _enlarged() -> Row:
    """The middle of a large drawing."""
    heart = world.Scene("checker", (world.Object("heart", "orange", "center", 0.5, 0.58, 0.2),), 0)
    seen = enlarged(UpscaleEngine(UPSCALER, ONE_THREAD), heart)
    middle = slice(192, 320), slice(192, 320)
    return [
        ("four times as large, by Lanczos", seen.by_lanczos[middle]),
        ("by an upscaler", seen.by_network[middle]),
        ("as it was before it was made smaller", seen.drawn[middle]),
    ]


def _additions(nano: DiffusionEngine) -> dict[str, Row]:
    star = drawn(world.Scene("brick", (world.Object("star", "purple", "", 0.5, 0.5, 0.36),), 0))
    taken_up = [("a circle in the sky", weight) for weight in (0.0, 0.2, 1.0)] + [("a shape on a meadow", 1.0)]
    sunset = "a yellow circle at sunset"
    outlined = world.Scene("plain white", (world.Object("heart", "black", "right", 0.7, 0.45, 0.25),), 0)
    return {
        "lora": [
            (loras or sunset, paint(nano, f"{sunset} {loras}", 2, adapters=LORAS)[0])
            for loras in (
                "",
                "<lora:monochrome>",
                "<lora:framed>",
                "<lora:monochrome> <lora:framed>",
                "<lora:monochrome:0.5> <lora:framed>",
            )
        ],
        "control": [
            ("a blue shape", paint(nano, "a blue shape", 2)[0]),
            ("with the edges of a heart", follow(nano, "a blue shape", outlined, 2)[0]),
            ("red, at sunset", follow(nano, "a red shape at sunset", outlined, 2)[0]),
        ],
        "reference": [
            ("the reference", star[..., :3]),
            *((f"{text}, {weight:g}", like(nano, text, (star, weight), seed=2)[0]) for text, weight in taken_up),
        ],
    }


def _strip(row: Row) -> Image.Image:
    """The pictures side by side, each over its words."""
    font = ImageFont.load_default(11)
    lines = [_wrapped(words, picture.shape[1], font) for words, picture in row]
    height = 128 + LINE * max(map(len, lines)) + GAP
    strip = Image.new("RGB", (sum(picture.shape[1] + GAP for _, picture in row) - GAP, height), "white")
    draw, x = ImageDraw.Draw(strip), 0
    for (_, picture), words in zip(row, lines, strict=True):
        strip.paste(Image.fromarray(picture), (x, 0))
        for i, line in enumerate(words):
            draw.text((x + 2, 132 + i * LINE), line, "black", font)
        x += picture.shape[1] + GAP
    return strip


def _wrapped(words: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width - 4 and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
