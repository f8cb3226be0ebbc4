"""What follows from the model that the artist has chosen: a ModelInfo of the backend's, or None where it is automatic or
not known. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .added import to_loras
from .form import Form
from .words import ONE_PICTURE, TAKES

if TYPE_CHECKING:
    from .lib.scumble.protocol.messages import AdapterInfo, ModelInfo


def find(models: Iterable[ModelInfo], identity: str) -> ModelInfo | None:
    return next((model for model in models if model.id == identity), None)


def samplers_of(model: ModelInfo | None, known: Sequence[str]) -> Sequence[str]:
    """Those that it can be painted with, of all that the backend knows."""
    return known if model is None else model.samplers


def refusals(model: ModelInfo | None) -> dict[str, str]:
    """Why it takes nothing of a capability, by that capability, or heeds not how many are asked for ("count"); nothing of
    what it takes."""
    if model is None:
        return {}
    refused = {name: why for name, why in TAKES.items() if name not in model.capabilities}
    return {**refused, "count": ONE_PICTURE} if model.kind == "fill" else refused


def fits(adapter: AdapterInfo, model: ModelInfo | None) -> bool:
    """False only where both say what they are made for, and that is not the same."""
    return model is None or adapter.family in ("", model.family)


def settings_of(model: ModelInfo | None, form: Form, adapters: Sequence[AdapterInfo]) -> tuple[int, float, str]:
    """The steps, guidance and sampler of an edit that leaves them open; 0, 0.0 and "" where that cannot be told."""
    if model is None:
        return 0, 0.0, ""
    from .lib.scumble.client.suits import suits

    return suits(model, to_loras(sendable(form, model).loras), form.prompt, adapters)


def sendable(form: Form, model: ModelInfo | None) -> Form:
    """The form without what its model cannot take."""
    if model is None:
        return form
    nothing = Form()
    untold = {name: getattr(nothing, name) for name in refusals(model) if hasattr(nothing, name)}
    return replace(form, **untold, sampler=form.sampler if form.sampler in model.samplers else "")
