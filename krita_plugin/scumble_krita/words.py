"""What the panel says, in words. Pure."""

from __future__ import annotations

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
    """One line under the bar."""
    if stage == "sending":
        return "Sending"
    if stage == "queued" and position > 0:
        return f"Waiting: {position} before it"
    words = STAGES.get(stage, "Working")
    if stage == "denoising" and steps:
        words += f" {step}/{steps}"
    if seconds_left is not None and stage != "compositing":
        words += f", {duration(seconds_left)} left"
    return words


def upscaler(name: str, kind: str) -> str:
    """A model that upscales; `kind` as in ModelInfo."""
    return name if kind == "upscaler" else f"{name} (paints)"


def plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
