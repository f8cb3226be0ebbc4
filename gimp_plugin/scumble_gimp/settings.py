"""From the arguments of a command to the settings of an edit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scumble.client.editor import ControlLayer, EditSettings, ReferenceLayer, RegionLayer
from scumble.protocol.errors import BadRequest
from scumble.protocol.messages import Mode

from .commands import EXTEND_CANVAS, GENERATE, RANDOM_SEED, REMOVE, UPSCALE, Command

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
        intent=values.get("intent", "fill"),
        transparent=values.get("transparent", False),
        controls=_controls(values),
        references=_references(values),
        regions=_regions(values),
    )


def _controls(values: Mapping[str, Any]) -> tuple[ControlLayer, ...]:
    """At most one, as of all that is added; layers by their ids."""
    network, layer = values.get("control-model", ""), values.get("control")
    if not network:
        if layer is not None:
            raise BadRequest("No control network follows the layer.", "Name one as control-model.")
        return ()
    return (ControlLayer(network, _named(layer), values["control-preprocessor"], values["control-weight"]),)


def _references(values: Mapping[str, Any]) -> tuple[ReferenceLayer, ...]:
    adapter, layer = values.get("reference-adapter", ""), values.get("reference")
    if not adapter:
        if layer is not None:
            raise BadRequest("No IP-Adapter takes up the layer.", "Name one as reference-adapter.")
        return ()
    return (ReferenceLayer(adapter, _named(layer), values["reference-weight"]),)


def _regions(values: Mapping[str, Any]) -> tuple[RegionLayer, ...]:
    prompt, layer = values.get("region-prompt", ""), values.get("region")
    if layer is None:
        if prompt:
            raise BadRequest("No layer says where the region is.", "Give one as region.")
        return ()
    if not prompt:
        raise BadRequest("Nothing says what is to be in the region.", "Say it in region-prompt.")
    return (RegionLayer(prompt, str(layer)),)


def _named(layer: int | None) -> str | None:
    return None if layer is None else str(layer)
