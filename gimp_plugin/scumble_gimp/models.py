"""What follows from the model of an edit: a ModelInfo of the backend's, or None where the backend chooses it, or it is not
known. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from scumble.client.editor import EditSettings
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


def why_not(model: ModelInfo | None, capability: Capability) -> str:
    """Why there is nothing to fill in; "" where there is."""
    able = model is None or capability in model.capabilities
    return "" if able else f"This model takes no {TAKES[capability]}."


def samplers_of(model: ModelInfo | None, known: Sequence[str]) -> Sequence[str]:
    """Those that it can be painted with, of all that the backend knows."""
    return known if model is None else model.samplers


def fits(adapter: AdapterInfo, model: ModelInfo | None) -> bool:
    """False only where both say what they are made for, and that is not the same."""
    return model is None or adapter.family in ("", model.family)


def left_open(settings: EditSettings, model: ModelInfo | None) -> tuple[int, float, str]:
    """The steps, guidance and sampler of an edit that says none; 0, 0.0 and "" where that cannot be told, as a LoRA may
    bring its own."""
    added = any(use.weight for use in suited(settings, model).loras) or "<lora:" in settings.prompt
    return (0, 0.0, "") if model is None or added else (model.steps, model.guidance, model.sampler)


def suited(settings: EditSettings, model: ModelInfo | None) -> EditSettings:
    """Without what the model takes nothing of, and without a sampler that it has not."""
    if model is None:
        return settings
    nothing = EditSettings()
    left = {name: getattr(nothing, name) for name in TAKES if why_not(model, name) and hasattr(nothing, name)}
    sampler = settings.sampler if settings.sampler in model.samplers else None
    return dataclasses.replace(settings, **left, sampler=sampler)
