"""What is kept with an image of what the panel says: a note of JSON values, which is saved with it. Pure.

What is not in it is kept for all images (`panel/memory.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from scumble.client.editor import EditSettings
from scumble.protocol.errors import ScumbleError
from scumble.protocol.schema import from_json, to_json

PER_IMAGE = (
    *("prompt", "negative", "strength", "count", "seed", "intent", "transparent"),
    *("loras", "controls", "references", "regions"),
)
"""Fields of EditSettings; beside them `from_layer`."""
NOT_FOUND = "Not found"
"""What the panel says of something that is chosen and not there; also in place of a layer's id where nobody knows which
one it was."""


class Lasting(NamedTuple):
    """By what a layer is found again in a saved image, where it has another id. A copy of an image counts its tattoos
    anew."""

    tattoo: int
    name: str


def note_of(settings: EditSettings, from_layer: bool, layers: Mapping[str, Lasting]) -> dict[str, Any]:
    """`layers` are the image's, by the ids by which the settings name them."""

    def lasting(layer: str | None) -> Any:
        """A list of a tattoo and a name; "" and None as they are."""
        return list(layers[layer]) if layer and layer in layers else layer and NOT_FOUND

    values = to_json(settings)
    note = {name: _with_layers(values[name], lasting) for name in PER_IMAGE}
    return {**note, "from_layer": from_layer}


def values_of(note: Mapping[str, Any], layers: Mapping[str, Lasting]) -> dict[str, Any]:
    """The fields of EditSettings and `from_layer`; what does not fit (another version wrote it) is passed over."""

    def found(layer: Any) -> Any:
        return _find(layer, layers) if isinstance(layer, list) else layer

    values: dict[str, Any] = {}
    for name in PER_IMAGE:
        if name in note:
            with contextlib.suppress(ScumbleError):
                told = {name: _with_layers(note[name], found)}
                values[name] = getattr(from_json(EditSettings, told, "note"), name)
    if isinstance(note.get("from_layer"), bool):
        values["from_layer"] = note["from_layer"]
    return values


def without_layers(settings: EditSettings) -> dict[str, Any]:
    """For another image: the rows of these settings that follow no layer of this one, by their fields."""
    rows: dict[str, Any] = {
        "controls": settings.controls,
        "references": settings.references,
        "regions": settings.regions,
    }
    return {name: tuple(row for row in of if not row.layer) for name, of in rows.items()}


def _with_layers(value: Any, change: Any) -> Any:
    """The value of a field, with another layer in each of its rows that has one."""
    if not isinstance(value, list):
        return value
    return [
        {**row, "layer": change(row["layer"])} if isinstance(row, dict) and "layer" in row else row for row in value
    ]


def _find(lasting: list[Any], layers: Mapping[str, Lasting]) -> str:
    """The id of a layer that has kept its tattoo and its name, else of the only one of that name. Never of another one that
    happens to have its tattoo."""
    same = [layer for layer, each in layers.items() if list(each) == lasting]
    alike = [layer for layer, each in layers.items() if [each.name] == lasting[1:]]
    return next((found[0] for found in (same, alike) if len(found) == 1), NOT_FOUND)
