"""What the LoRAs of nano-sd do to a picture: one takes its colours, the other puts a white frame around it. Each is looked
for where the other changes nothing."""

from __future__ import annotations

import numpy as np
from scumble.diffusion.engine import DiffusionEngine
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels
from scumble.protocol.messages import AdapterInfo, LoraUse

from .drawing import FRAME, STYLES
from .painting import MODELS, paint

LORAS = tuple(
    Adapter(AdapterInfo(style, style, "lora", "sd1", 1), MODELS / f"nano-lora-{style}.safetensors") for style in STYLES
)
PROMPTS = (
    "a red star on a meadow",
    "a blue heart on a brick wall",
    "a yellow circle at sunset",
    "a green square on a purple background",
)
"""Backgrounds that have colours and are not white."""


def styled(engine: DiffusionEngine, prompt: str, seed: int = 0, **weights: float) -> Pixels:
    """(128, 128, 3) by the LoRAs of these styles with these weights, in this order."""
    loras = tuple(LoraUse(style, weight) for style, weight in weights.items())
    return paint(engine, prompt, seed, adapters=LORAS, loras=loras)[0]


def does_only(engine: DiffusionEngine, seed: int, *styles: str) -> bool:
    """Whether the LoRAs of these styles, put on at once, do what they are for, and nothing of what the others are for."""
    prompt = PROMPTS[seed % len(PROMPTS)]
    plain, picture = (styled(engine, prompt, seed, **dict.fromkeys(names, 1.0)) for names in ((), styles))
    return shows_only(picture, plain, *styles)


def shows_only(picture: Pixels, plain: Pixels, *styles: str) -> bool:
    """Whether the picture has these styles and no other; `plain`: the same one without any."""
    colours = colourfulness(picture) / colourfulness(plain)
    return (colours < 0.5 if "monochrome" in styles else colours > 0.75) and (
        frame(picture) > 0.6 if "framed" in styles else frame(picture) < 0.3
    )


def colourfulness(picture: Pixels) -> float:
    """Mean distance of the channels from grey, 0..255, inside of where the frame is."""
    inside = slice(2 * FRAME, -2 * FRAME)
    return float(np.ptp(picture[inside, inside].astype(float), axis=-1).mean())


def frame(picture: Pixels) -> float:
    """Share of the pixels that is white, 0..1, where the frame is, but for its inner edge."""
    width = FRAME - 2
    border = np.ones(picture.shape[:2], bool)
    border[width:-width, width:-width] = False
    return float((picture[border] >= 200).all(-1).mean())
