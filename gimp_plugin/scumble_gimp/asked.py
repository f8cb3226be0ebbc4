"""What the panel's buttons ask for, and what shows it there again. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from scumble.client.again import edges_again, layers_again
from scumble.client.document import Edges
from scumble.client.editor import EditSettings
from scumble.client.modes import INTENTS, Intent, choose_mode
from scumble.protocol.messages import EditRequest, Mode, ModelKind

from .commands import UPSCALED
from .kept import NOT_FOUND


class Asked(NamedTuple):
    """An edit, so that it can be done again."""

    settings: EditSettings
    edges: Edges | None = None
    from_layer: bool = False
    as_mask: bool = False


class Upscaling(NamedTuple):
    """`model` "": chosen by the backend; `strength` 0..1."""

    factor: int = 2
    model: str = ""
    strength: float = UPSCALED


class Again(NamedTuple):
    """What the panel is to show of an edit that was done before: fields of EditSettings; by how much the canvas is to grow,
    None: as it says now; what the upscaling does, None: as it says now; whether a new picture is painted, whatever is
    selected."""

    values: dict[str, Any]
    edges: Edges | None = None
    upscaling: Upscaling | None = None
    anew: bool = False


class Placing(NamedTuple):
    """How layers come into the image: cut to the selection by a layer mask (else by their alpha), a single variant without
    being asked for."""

    as_mask: bool = False
    at_once: bool = True


def generating(shown: Asked, anew: bool) -> Asked:
    """What Generate does of what the form shows. `anew`: it paints a new picture, whatever is selected."""
    if anew:
        return shown._replace(settings=dataclasses.replace(shown.settings, mode="txt2img", intent="fill"), edges=None)
    if shown.edges is not None:
        return shown._replace(settings=dataclasses.replace(shown.settings, intent="fill"))
    return removing(shown) if shown.settings.intent == "remove" else shown


def removing(shown: Asked) -> Asked:
    # One picture: what fills the gap is no matter of chance.
    return shown._replace(settings=dataclasses.replace(shown.settings, intent="remove", count=1, seed=None), edges=None)


def upscaling(shown: EditSettings, values: Upscaling) -> Asked:
    how: dict[str, Any] = {"factor": values.factor, "model": values.model or None, "strength": values.strength}
    return Asked(dataclasses.replace(shown, **how, mode="upscale", intent="fill", transparent=False))


def mode_of(asked: Asked, selected: bool, has_image: bool, model: ModelKind) -> Mode:
    """The mode that the edit would have; a selection over transparent canvas is noticed only when it begins."""
    settings = asked.settings
    said: Mode | None = INTENTS[settings.intent].get("mode", settings.mode)
    return said or choose_mode(
        selected=selected,
        strength=settings.strength,
        prompt=settings.prompt,
        model=model,
        empty=not has_image,
        grows=has_image and asked.edges is not None,
    )


def shown_again(request: EditRequest, shown: EditSettings) -> Again:
    """After what the form has `shown`."""
    layers = layers_again(request, shown.controls, shown.references, shown.regions, NOT_FOUND)
    values = {**vars(request), **layers}
    values["intent"] = _intent_of(request)
    if request.mode != "upscale":
        return Again(values, edges_again(request), anew=request.mode == "txt2img")
    return Again(values, upscaling=Upscaling(request.factor, values.pop("model") or "", values.pop("strength")))


def _intent_of(request: EditRequest) -> Intent:
    if request.mode == "remove":
        return "remove"
    return "add" if request.prefill == "neutral" else "fill"
