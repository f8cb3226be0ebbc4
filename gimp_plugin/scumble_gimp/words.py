"""What is going on, in the artist's words. Pure."""

from __future__ import annotations

from scumble.protocol.errors import ScumbleError
from scumble.protocol.messages import Progress

STAGES = {
    "queued": "Waiting for its turn",
    "loading": "Loading the model",
    "planning": "Looking at the picture",
    "encoding": "Reading the picture",
    "denoising": "Painting",
    "decoding": "Developing",
    "compositing": "Fitting it in",
}
MODES = {
    "fill": "Fill the selection",
    "refine": "Refine the selection",
    "img2img": "Repaint the whole picture",
    "txt2img": "Paint a new picture",
    "outpaint": "Continue the picture into the empty area",
    "remove": "Remove what is selected",
}


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
