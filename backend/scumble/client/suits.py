"""The settings of an edit that leaves them to the backend, as far as a client can tell them."""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

from ..protocol.messages import HASTENS, AdapterInfo, LoraUse, ModelInfo

_BEGINS = re.compile("<(?:lora|lyco):")
_NUMBER = r"\s*([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)\s*"
_TAG = re.compile(rf"(?<!\\)<(?:lora|lyco):([^<>:\n]+)(?::{_NUMBER}(?::{_NUMBER})?)?>")
"""A LoRA in a prompt as nearly everybody writes it: with no weight, one, or one for the text encoders and one for the
denoiser. The whole grammar is the backend's (diffusion/prompts.py)."""


class Suits(NamedTuple):
    """0 and "" where it cannot be told."""

    steps: int = 0
    guidance: float = 0.0
    sampler: str = ""


def suits(model: ModelInfo, loras: Sequence[LoraUse], prompt: str, adapters: Sequence[AdapterInfo]) -> Suits:
    """The model's, or those of the first of its LoRAs in use that makes it paint in few steps (`adapters` says which these
    are): of those that are chosen, then of those that the prompt names. One for other models counts for nothing: the
    backend refuses it. Nothing where the prompt may name one of which only the backend knows."""
    mine = [each for each in adapters if each.kind == "lora" and each.family in ("", model.family)]
    by_id = {each.id: each for each in mine}
    for use in loras:
        if use.id in by_id and by_id[use.id].steps and use.weight >= HASTENS:
            return _of(by_id[use.id], model)
    tags = list(_TAG.finditer(prompt))
    if len(tags) < len(_BEGINS.findall(prompt)) or (tags and "#" in prompt):
        return Suits()
    by_name = {each.name.casefold(): each for each in reversed(mine)}
    for tag in tags:
        lora = by_name.get(tag[1].strip().casefold())
        if lora is None:
            return Suits()
        if lora.steps and float(tag[3] or tag[2] or 1) >= HASTENS:
            return _of(lora, model)
    return Suits(model.steps, model.guidance, model.sampler)


def _of(lora: AdapterInfo, model: ModelInfo) -> Suits:
    return Suits(lora.steps, lora.guidance or model.guidance, lora.sampler)
