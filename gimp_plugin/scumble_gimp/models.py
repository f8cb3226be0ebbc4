"""What follows from the model of an edit: a ModelInfo of the backend's, or None where the backend chooses it, or it is not
known. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from scumble.client.editor import EditSettings
from scumble.client.suits import Suits, suits
from scumble.protocol.messages import AdapterInfo, Capability, ModelInfo

TAKES: dict[Capability, str] = {
    "negative": "negative prompt",
    "clip_skip": "clip skip",
    "embeddings": "textual inversions",
    "loras": "LoRAs",
    "controls": "controls",
    "references": "references",
    "regions": "regions",
}
"""Those capabilities for which the panel has fields."""
ONE_PICTURE = "This model makes one picture: nothing is left to chance in it."


def why_not(model: ModelInfo | None, capability: Capability) -> str:
    """Why there is nothing to fill in; "" where there is."""
    able = model is None or capability in model.capabilities
    return "" if able else f"This model takes no {TAKES[capability]}."


def why_one(model: ModelInfo | None) -> str:
    """Why there is one picture, whatever the number of variants; "" where there are as many."""
    return ONE_PICTURE if model is not None and model.kind == "fill" else ""


def samplers_of(model: ModelInfo | None, known: Sequence[str]) -> Sequence[str]:
    """Those that it can be painted with, of all that the backend knows."""
    return known if model is None else model.samplers


def fits(adapter: AdapterInfo, model: ModelInfo | None) -> bool:
    """False only where both say what they are made for, and that is not the same."""
    return model is None or adapter.family in ("", model.family)


def left_open(settings: EditSettings, model: ModelInfo | None, adapters: Sequence[AdapterInfo]) -> Suits:
    """What the edit comes to where it says none."""
    if model is None:
        return Suits()
    return suits(model, suited(settings, model).loras, settings.prompt, adapters)


def suited(settings: EditSettings, model: ModelInfo | None) -> EditSettings:
    """Without what the model takes nothing of, without a sampler that it has not, and with as many pictures as it makes."""
    if model is None:
        return settings
    nothing = EditSettings()
    left = {name: getattr(nothing, name) for name in TAKES if why_not(model, name) and hasattr(nothing, name)}
    sampler = settings.sampler if settings.sampler in model.samplers else None
    count = 1 if why_one(model) else settings.count
    return dataclasses.replace(settings, **left, sampler=sampler, count=count)
