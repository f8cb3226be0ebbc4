"""From the arguments of a command to the settings of an edit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scumble.client.editor import EditSettings
from scumble.protocol.messages import Mode

from .commands import EXTEND_CANVAS, GENERATE, RANDOM_SEED, REMOVE, Command

MODES: dict[str, Mode] = {EXTEND_CANVAS.name: "outpaint", REMOVE.name: "remove", GENERATE.name: "txt2img"}
"""The mode of the other commands follows from selection, strength and prompt."""


def settings_of(command: Command, values: Mapping[str, Any]) -> EditSettings:
    """The edit that these values mean; `model` still by whatever name it was given. 0 and "" leave a choice open."""
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
    )
