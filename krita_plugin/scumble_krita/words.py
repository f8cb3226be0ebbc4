"""What the panel says, in words. Pure."""

from __future__ import annotations

from typing import Any

AUTOMATIC = "Automatic"
MODES = {
    "fill": "Fill",
    "add": "Add",
    "refine": "Refine",
    "outpaint": "Extend",
    "remove": "Remove",
    "img2img": "Refine picture",
    "txt2img": "Generate",
    "upscale": "Upscale",
}
"""Each mode, and what may be meant by a fill ("add"), by what the artist calls it: what the main button says."""

TAKES = {
    "negative": "This model takes no negative prompt.",
    "clip_skip": "This model takes no clip skip.",
    "embeddings": "This model takes no textual inversions.",
    "loras": "This model takes no LoRAs.",
    "controls": "This model takes no controls.",
    "references": "This model takes no references.",
    "regions": "This model takes no regions.",
}
"""Capabilities of models for which the panel has fields, and what is said of a model without."""
ONE_PICTURE = "This model makes one image: nothing is left to chance in it."

STAGES = {
    "queued": "Waiting",
    "loading": "Loading the model",
    "planning": "Preparing",
    "encoding": "Reading the picture",
    "denoising": "Painting",
    "decoding": "Finishing",
    "compositing": "Fitting in",
}


def duration(seconds: float) -> str:
    """A short, rounded duration: the last seconds one by one, then coarser."""
    whole = max(round(seconds), 0)
    if whole < 90:
        return f"{whole} s"
    if whole < 90 * 60:
        return f"{round(whole / 60)} min"
    return f"{round(whole / 3600)} h"


def progress(stage: str, step: int, steps: int, seconds_left: float | None, position: int = 0) -> str:
    """One line under the bar. `stage`: of the job, or "sending", "waiting" (for the backend) or "cancelling"."""
    if stage == "waiting":
        return "Waiting for the backend"
    if stage in ("sending", "cancelling"):
        return stage.capitalize()
    if stage == "queued" and position > 0:
        return f"Waiting: {position} before it"
    words = STAGES.get(stage, "Working")
    if stage == "denoising" and steps:
        words += f" {step}/{steps}"
    if seconds_left is not None and stage != "compositing":
        words += f", {duration(seconds_left)} left"
    return words


def automatic(value: str | float = "") -> str:
    """A choice that is left open, and what it will be where that is known ("", 0: it is not)."""
    if not value:
        return AUTOMATIC
    return f"{AUTOMATIC} ({sampler(value) if isinstance(value, str) else format(value, 'g')})"


def sampler(name: str) -> str:
    """What artists call it."""
    from .lib.scumble.client.names import sampler_name

    return sampler_name(name)


def about(model: Any) -> str:
    """What a model (ModelInfo) is, how much room it takes, and its licence where that is known."""
    from .lib.scumble.client.names import describe

    return describe(model)


def upscaler(name: str, kind: str) -> str:
    """A model that upscales; `kind` as in ModelInfo."""
    return name if kind == "upscaler" else f"{name} (paints)"


def plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
