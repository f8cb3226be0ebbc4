"""Draws the picture that the installer tries Scumble on, and pastes two pictures beside each other. Needs Pillow and
numpy, so the installed Python runs it:

    sample.py draw PICTURE MASK          a lake with a boat and a scratch; the mask covers boat and scratch
    sample.py beside LEFT RIGHT PICTURE  both in one, with a gap
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT, HORIZON = 768, 512, 300
_SEED = 11
Floats = NDArray[np.float64]


def main(command: str, *paths: str) -> None:
    if command == "draw":
        picture, mask = draw_sample()
        picture.save(paths[0])
        mask.save(paths[1])
    else:
        beside(Image.open(paths[0]).convert("RGB"), Image.open(paths[1]).convert("RGB")).save(paths[2])


def draw_sample() -> tuple[Image.Image, Image.Image]:
    """The picture (RGB) and what to remove from it (L, 255 = remove). The same each time."""
    picture = _lake()
    mask = Image.new("L", picture.size)
    for image, is_mask in ((picture, False), (mask, True)):
        _boat(ImageDraw.Draw(image), is_mask)
        _scratch(ImageDraw.Draw(image), is_mask)
    return picture, mask.filter(ImageFilter.MaxFilter(9))


def beside(left: Image.Image, right: Image.Image, gap: int = 16) -> Image.Image:
    height = max(left.height, right.height)
    both = Image.new("RGB", (left.width + gap + right.width, height), "white")
    both.paste(left, (0, (height - left.height) // 2))
    both.paste(right, (left.width + gap, (height - right.height) // 2))
    return both


def _lake() -> Image.Image:
    random = np.random.default_rng(_SEED)
    y, x = np.mgrid[0:HORIZON, 0:WIDTH].astype(float)
    down = y / HORIZON
    stops = [(48, 74, 128), (108, 128, 172), (236, 176, 140), (255, 220, 170)]
    sky = np.stack([np.interp(down, (0, 0.4, 0.8, 1), channel) for channel in zip(*stops, strict=True)], axis=-1)
    clouds = np.clip(_noise(random, HORIZON, WIDTH, 5, 3.0) * 2.2 - 0.9, 0, 1) * (1 - down) ** 0.4
    sky += clouds[..., None] * (np.array([255, 214, 196]) - sky) * 0.7
    glow = np.exp(-np.hypot(x - 560, (y - 216) * 1.3) / 70)
    sky += glow[..., None] * np.array([120, 90, 40])
    scene = sky
    for depth, colour in enumerate([(150, 140, 160), (104, 106, 136), (60, 76, 96), (34, 52, 58)]):
        ridge = _noise(random, 1, WIDTH, 6, 1.0)[0]
        top = 150 + 34 * depth + (ridge - 0.5) * (150 - 26 * depth)
        cover = np.clip(y - top + 0.5, 0, 1)[..., None]
        haze = np.clip((y - top) / 160, 0, 1)[..., None] * 26
        scene = scene * (1 - cover) + (np.array(colour) + haze) * cover
    water = _water(random, scene)
    picture = np.vstack([scene, water]) + random.normal(0, 2.0, (HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def _water(random: np.random.Generator, scene: Floats) -> Floats:
    """The scene upside down, broken by ripples that widen towards the eye."""
    rows = HEIGHT - HORIZON
    y, x = np.mgrid[0:rows, 0:WIDTH].astype(float)
    near = y / rows
    ripple = np.repeat(_noise(random, rows, WIDTH // 12, 3, 1.0), 12, axis=1) - 0.5
    wave = np.sin(rows * 3.2 / (near + 0.12) ** 0.8 * 0.16 + ripple * 6) * near * 9
    source_y = np.clip(HORIZON - 1 - y * 1.25 + wave * 1.6, 0, HORIZON - 1).astype(int)
    source_x = np.clip(x + wave * 0.5, 0, WIDTH - 1).astype(int)
    water: Floats = scene[source_y, source_x] * 0.8 + np.array([6, 18, 34]) - near[..., None] * 22
    return water


def _noise(random: np.random.Generator, height: int, width: int, octaves: int, stretch: float) -> Floats:
    """Fractal value noise in 0..1; `stretch` > 1 draws it out sideways."""
    total = np.zeros((height, width))
    for octave in range(octaves):
        cells = 3 * 2**octave
        rows, columns = max(2, min(height, cells)), max(2, int(cells / stretch) + 1)
        grid = Image.fromarray(random.random((rows, columns)).astype(np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    total -= total.min()
    total /= total.max()
    return total


def _boat(draw: ImageDraw.ImageDraw, is_mask: bool) -> None:
    hull, sail, shadow = (255, 255, 255) if is_mask else ((150, 36, 30), (244, 238, 226), (58, 46, 60))
    draw.polygon([(196, 352), (292, 352), (276, 372), (212, 372)], fill=hull)
    draw.polygon([(243, 262), (243, 346), (288, 346)], fill=sail)
    draw.polygon([(238, 274), (238, 346), (204, 346)], fill=sail)
    draw.line([(241, 256), (241, 352)], fill=hull, width=3)
    draw.polygon([(206, 374), (282, 374), (262, 398), (226, 398)], fill=shadow)


def _scratch(draw: ImageDraw.ImageDraw, is_mask: bool) -> None:
    points = [(420 + 26 * i, 60 + 10 * np.sin(i * 1.1) + 9 * i) for i in range(12)]
    draw.line(points, fill=255 if is_mask else (250, 250, 246), width=7, joint="curve")


if __name__ == "__main__":
    main(sys.argv[1], *(str(Path(path)) for path in sys.argv[2:]))
