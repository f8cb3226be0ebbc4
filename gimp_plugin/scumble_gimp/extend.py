"""By how much the canvas grows, from what the artist says. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from scumble.client.document import Edges
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Size


def edges_for(canvas: Size, values: Mapping[str, Any]) -> Edges:
    """The edges that the values of Extend Canvas mean: pixels per side, else a size, else a ratio, around the anchor.

    Raises BadRequest where the canvas would not grow, or would shrink.
    """
    edges = Edges(*(int(values.get(side, 0)) for side in Edges._fields))
    if any(edges):
        return edges
    width, height = int(values.get("width", 0)) or canvas.width, int(values.get("height", 0)) or canvas.height
    if (width, height) == canvas and values.get("ratio"):
        width, height = size_of_ratio(canvas, *read_ratio(values["ratio"]))
    if width < canvas.width or height < canvas.height:
        raise BadRequest("The target is smaller than the picture.", "Give a larger size, or crop the picture first.")
    if (width, height) == canvas:
        raise BadRequest("The canvas does not grow.", "Give pixels for a side, a larger size or another ratio.")
    left, right = _share(width - canvas.width, values.get("anchor", "center"), "left", "right")
    top, bottom = _share(height - canvas.height, values.get("anchor", "center"), "top", "bottom")
    return Edges(left, top, right, bottom)


def read_ratio(text: str) -> tuple[float, float]:
    """Width and height of "16:9", "3/2", "1.85:1" or "1.5". Raises BadRequest."""
    found = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*(?:[:/x]\s*(\d+(?:[.,]\d+)?))?\s*", text)
    width, height = (float((part or "1").replace(",", ".")) for part in found.groups()) if found else (0.0, 0.0)
    if width <= 0 or height <= 0:
        raise BadRequest(f"{text!r} is no ratio.", "Write width:height, for instance 16:9.")
    return width, height


def size_of_ratio(canvas: Size, width: float, height: float) -> Size:
    """The smallest size of this ratio that holds the canvas."""
    if canvas.width * height < canvas.height * width:
        return Size(round(canvas.height * width / height), canvas.height)
    return Size(canvas.width, round(canvas.width * height / width))


def _share(growth: int, anchor: str, before: str, after: str) -> tuple[int, int]:
    """How the growth is shared out; a picture anchored at `before` has nothing added there."""
    parts = anchor.split("-")
    if before in parts:
        return 0, growth
    if after in parts:
        return growth, 0
    return growth // 2, growth - growth // 2
