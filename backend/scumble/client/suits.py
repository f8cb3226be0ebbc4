"""The settings of an edit that leaves them to the backend, as far as a client can tell them."""

from __future__ import annotations

from typing import NamedTuple, Sequence

from ..protocol.messages import HASTENS, AdapterInfo, LoraUse, ModelInfo


class Suits(NamedTuple):
    """0 and "" where it cannot be told."""

    steps: int = 0
    guidance: float = 0.0
    sampler: str = ""


def suits(model: ModelInfo, loras: Sequence[LoraUse], prompt: str, adapters: Sequence[AdapterInfo]) -> Suits:
    """The model's, or those of the first of its LoRAs in use that makes it paint in few steps (`adapters` says which these
    are). One for other models counts for nothing: the backend refuses it. A prompt may name another one, of which only the
    backend knows."""
    made_for = ("", model.family)
    hasty = {each.id: each for each in adapters if each.kind == "lora" and each.steps and each.family in made_for}
    lora = next((hasty[use.id] for use in loras if use.id in hasty and use.weight >= HASTENS), None)
    if lora is not None:
        return Suits(lora.steps, lora.guidance or model.guidance, lora.sampler)
    return Suits() if "<lora:" in prompt or "<lyco:" in prompt else Suits(model.steps, model.guidance, model.sampler)
