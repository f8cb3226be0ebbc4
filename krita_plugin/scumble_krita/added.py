"""What is added to the model, as the panel's rows say it and as it is remembered: LoRAs, controls, references, regions.
Pure.

The client is imported where it is needed: the docker must not wait for it when Krita starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from .lib.scumble.client.editor import ControlLayer, ReferenceLayer, RegionLayer
    from .lib.scumble.protocol.messages import EditRequest, LoraUse, Preprocessor

NOT_FOUND = "Not found"
"""What the panel says of something that is chosen and not there; also in place of a layer's id where nobody knows which
one it was."""
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
    preprocessor: Preprocessor = "canny"
    weight: float = 1.0
    start: int = 0
    end: int = 100


class ReferenceRow(NamedTuple):
    """As ControlRow: a layer that the model takes up."""

    id: str = ""
    layer: str = ""
    weight: float = 1.0
    start: int = 0
    end: int = 100


class RegionRow(NamedTuple):
    """`layer` "": none is chosen yet."""

    prompt: str = ""
    layer: str = ""


Row = TypeVar("Row", LoraRow, ControlRow, ReferenceRow, RegionRow)
EMPTY: dict[str, Any] = {
    "loras": LoraRow(),
    "controls": ControlRow(),
    "references": ReferenceRow(),
    "regions": RegionRow(),
}
"""A new row of each list of a Form."""


def rows_of(empty: Row, values: Any) -> tuple[Row, ...]:
    """Rows like the `empty` one from what was stored; what does not fit (another version wrote it) is passed over."""
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


def to_references(rows: Sequence[ReferenceRow]) -> tuple[ReferenceLayer, ...]:
    """As `to_controls`."""
    from .lib.scumble.client.editor import ReferenceLayer

    return tuple(
        ReferenceLayer(row.id, row.layer or None, row.weight, row.start / 100, row.end / 100) for row in rows if row.id
    )


def to_regions(rows: Sequence[RegionRow]) -> tuple[RegionLayer, ...]:
    from .lib.scumble.client.editor import RegionLayer

    return tuple(RegionLayer(row.prompt, row.layer) for row in rows if row.layer and row.prompt.strip())


def rows_of_request(
    request: EditRequest,
    controls: Sequence[ControlRow],
    references: Sequence[ReferenceRow],
    regions: Sequence[RegionRow],
) -> dict[str, Any]:
    """The rows that repeat a request, by the name of their list, on the layers of the rows that are given where these are
    for the same network or have the same words."""
    from .lib.scumble.client.again import layers_again

    again = layers_again(request, to_controls(controls), to_references(references), to_regions(regions), NOT_FOUND)
    return {
        "loras": tuple(LoraRow(use.id, use.weight) for use in request.loras),
        "controls": tuple(
            ControlRow(use.id, use.layer or "", use.preprocessor, use.weight, *_percent(use.start, use.end))
            for use in again["controls"]
        ),
        "references": tuple(
            ReferenceRow(use.id, use.layer or "", use.weight, *_percent(use.start, use.end))
            for use in again["references"]
        ),
        "regions": tuple(RegionRow(region.prompt, region.layer) for region in again["regions"]),
    }


def _percent(start: float, end: float) -> tuple[int, int]:
    return round(start * 100), round(end * 100)
