"""From the arguments of a command to the settings of an edit. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from scumble.client.document import Edges
from scumble.client.editor import ControlLayer, EditSettings
from scumble.protocol.errors import BadRequest
from scumble.protocol.messages import Mode

from .commands import ENLARGED, EXTEND_CANVAS, GENERATE, RANDOM_SEED, REMOVE, UPSCALE, Command


class Asked(NamedTuple):
    """What the panel's Generate does, so that it can be done again."""

    settings: EditSettings
    edges: Edges | None
    from_layer: bool
    as_mask: bool


class Enlargement(NamedTuple):
    """`model` "": chosen by the backend; `strength` 0..1."""

    factor: int = 2
    model: str = ""
    strength: float = ENLARGED


MODES: dict[str, Mode] = {
    EXTEND_CANVAS.name: "outpaint",
    REMOVE.name: "remove",
    GENERATE.name: "txt2img",
    UPSCALE.name: "upscale",
}
"""The mode of the other commands follows from selection, strength and prompt."""


def settings_of(command: Command, values: Mapping[str, Any]) -> EditSettings:
    """The edit that these values mean; models still by whatever name they were given. 0 and "" leave a choice open.

    Raises BadRequest.
    """
    seed = values.get("seed", RANDOM_SEED)
    return EditSettings(
        mode=MODES.get(command.name),
        prompt=values.get("prompt") or "",
        negative=values.get("negative") or "",
        model=values.get("model") or None,
        strength=values.get("strength", 100) / 100,
        seed=None if seed == RANDOM_SEED else seed,
        count=values.get("count", 1),
        steps=values.get("steps") or None,
        guidance=values.get("guidance") or None,
        resolution=values.get("resolution") or None,
        clip_skip=values.get("clip-skip", 1),
        sampler=values.get("sampler") or None,
        factor=values.get("factor", 2),
        controls=_controls(values),
    )


def _controls(values: Mapping[str, Any]) -> tuple[ControlLayer, ...]:
    """At most one. `control` is the layer's id."""
    network, layer = values.get("control-model", ""), values.get("control")
    if not network:
        if layer is not None:
            raise BadRequest("No control network follows the layer.", "Name one as control-model.")
        return ()
    how = ControlLayer(network, preprocessor=values["control-preprocessor"], weight=values["control-weight"])
    return (how if layer is None else dataclasses.replace(how, layer=str(layer)),)
