"""LoRAs and controls as the panel's rows say them, and as they are remembered. Pure.

The client is imported where it is needed: the docker must not wait for it when Krita starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from .lib.scumble.client.editor import ControlLayer
    from .lib.scumble.protocol.messages import LoraUse

PREPROCESSORS = {
    "none": "As it is",
    "canny": "Edges",
    "soft_edges": "Soft edges",
    "lineart": "Strokes",
    "invert": "Black strokes",
    "blur": "Blurred",
    "luminance": "Brightness",
    "depth": "Depth",
}
"""What is made of a layer before the network sees it, by what the artist calls it."""


class LoraRow(NamedTuple):
    """`id` "": none is chosen yet."""

    id: str = ""
    weight: float = 1.0


class ControlRow(NamedTuple):
    """`layer` "": the visible picture. `start` and `end` in percent of the steps."""

    id: str = ""
    layer: str = ""
    preprocessor: str = "canny"
    weight: float = 1.0
    start: int = 0
    end: int = 100


Row = TypeVar("Row", LoraRow, ControlRow)


def lora_rows(values: Any) -> tuple[LoraRow, ...]:
    """From what was stored; what does not fit (another version wrote it) is passed over."""
    return _rows(LoraRow(), values)


def control_rows(values: Any) -> tuple[ControlRow, ...]:
    return _rows(ControlRow(), values)


def _rows(empty: Row, values: Any) -> tuple[Row, ...]:
    kinds = [type(value) for value in empty]
    lists = values if isinstance(values, (list, tuple)) else ()
    return tuple(
        type(empty)(*value)
        for value in lists
        if isinstance(value, (list, tuple)) and [type(each) for each in value] == kinds
    )


def to_loras(rows: Sequence[LoraRow]) -> tuple[LoraUse, ...]:
    from .lib.scumble.protocol.messages import LoraUse

    return tuple(LoraUse(row.id, row.weight) for row in rows if row.id)


def to_controls(rows: Sequence[ControlRow]) -> tuple[ControlLayer, ...]:
    """One that ends before it starts is refused when the request is made of it."""
    from .lib.scumble.client.editor import ControlLayer

    return tuple(
        ControlLayer(row.id, row.layer or None, row.preprocessor, row.weight, row.start / 100, row.end / 100)
        for row in rows
        if row.id
    )
