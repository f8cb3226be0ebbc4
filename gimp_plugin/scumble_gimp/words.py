"""What is going on, in the artist's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scumble.client.modes import Intent
from scumble.client.names import sampler_name
from scumble.protocol.errors import ScumbleError
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Mode, ModelInfo, Progress

STAGES = {
    "queued": "Waiting for its turn",
    "loading": "Loading the model",
    "planning": "Looking at the picture",
    "encoding": "Reading the picture",
    "denoising": "Painting",
    "decoding": "Developing",
    "compositing": "Fitting it in",
}
BUTTONS = {
    "fill": "_Fill",
    "refine": "_Refine",
    "img2img": "_Refine",
    "txt2img": "_Generate",
    "outpaint": "_Extend",
    "remove": "_Remove",
    "add": "Add",
}
DEEDS = {
    "fill": "Fill the selection",
    "refine": "Refine the selection",
    "img2img": "Repaint the whole picture",
    "txt2img": "Paint a new picture",
    "outpaint": "Continue the picture into the empty area",
    "remove": "Remove what is selected",
    "upscale": "Upscale the picture",
    "add": "Add something to the selection",
}
"""By what is done (`deed_of`)."""

AUTOMATIC = "Automatic"
READY = "Ready."
INDEXED = "Indexed image: results take the nearest colours of its palette."


def deed_of(mode: Mode, intent: Intent) -> str:
    """What an edit does, in one word: its mode, or "add", which is a way of filling."""
    return intent if mode == "fill" and intent == "add" else mode


def situation_words(deed: str, selected: Bounds | None, canvas: Size) -> str:
    """What Generate would do, and where."""
    where = canvas if deed in ("txt2img", "img2img") and selected is None else selected.size if selected else None
    return DEEDS[deed] + (f" ({where.width} \u00d7 {where.height} px)" if where else "")


def apart(before: str, word: str, after: str) -> str:
    """A word that is put between these texts, with spaces where it needs them."""
    left = " " if before and not before[-1].isspace() and before[-1] not in "([{|" else ""
    right = " " if after and not after[0].isspace() and after[0] not in ",:)]}|" else ""
    return left + word + right


def shortened(name: str, most: int) -> str:
    """One of more than `most` characters without its middle."""
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}\u2026{name[half + 1 - most :]}"


def automatic(value: str | float = 0) -> str:
    """A choice that is left open, and what it will be where that is known (a sampler as requests name it)."""
    known = sampler_name(value) if isinstance(value, str) else f"{value:g}"
    return f"{AUTOMATIC} ({known})" if value else AUTOMATIC


def command_in(words: str) -> str:
    """The command line that a sentence of ours tells the user to run, whatever else it says; "" for none."""
    found = re.search(r": ((?:scumble|python3) [^,;]+)", words)
    return found[1].strip().rstrip(".") if found else ""


def progress_words(progress: Progress) -> str:
    stage = STAGES[progress.stage]
    left = time_words(progress.seconds_left)
    return f"{stage}, {left} left" if left else f"{stage}..."


def time_words(seconds: float | None) -> str:
    """ "" for a time that is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def fraction(progress: Progress) -> float:
    return min(progress.step / progress.steps, 1.0) if progress.steps else 0.0


def error_words(error: ScumbleError) -> str:
    """One sentence on what is wrong and one thing to do."""
    return f"{error.message} {error.hint}".strip()


def models_words(models: Sequence[ModelInfo]) -> str:
    """Whether everything is there that an edit needs."""
    if not models:
        return "Connected, but no model is installed. Add one with: scumble models add"
    if not any(model.kind == "diffusion" for model in models):
        return "Ready. Prompts need a Stable Diffusion model; add one with: scumble models add"
    return READY
