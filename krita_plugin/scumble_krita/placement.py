"""Where everything has gone when the canvas has changed its size without our doing. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .lib.scumble.protocol.geometry import Bounds, Size

LEAST_COLOURS = 16
"""Different bytes in a row of pixels below which it proves nothing."""


class Layer(NamedTuple):
    """Where a layer's origin lies on the canvas, and what is on it."""

    x: int
    y: int
    bounds: Bounds


class Seen(NamedTuple):
    """A document at one moment: its size, its paint layers by id, and some rows of the visible picture by their y."""

    canvas: Size
    layers: dict[str, Layer]
    rows: dict[int, bytes]


def shift_since(
    before: Seen, canvas: Size, layers: dict[str, Layer], read: Callable[[Bounds], bytes]
) -> tuple[int, int] | None:
    """By how many px everything has moved to the present `canvas` and `layers`; None where that cannot be told for
    certain. `read` gives the pixels (4 bytes each) that one sees now.

    Krita moves the origins of all paint layers when the canvas is resized or cropped, but leaves them when the picture is
    scaled. So all layers must agree, and besides either a layer away from all edges must have moved alike without a change
    of its size, or two rows of the picture must be found again at their new place.
    """
    common = [name for name in before.layers if name in layers]
    shifts = {(layers[name].x - before.layers[name].x, layers[name].y - before.layers[name].y) for name in common}
    if len(shifts) != 1:
        return None
    ((dx, dy),) = shifts
    for name in common:
        was, now = before.layers[name].bounds, layers[name].bounds
        # Crops cut at the edges, and a background fills whatever there is: only what lies inside tells anything.
        inside = Bounds.of_size(before.canvas).pad(-1).contains(was) and Bounds.of_size(canvas).pad(-1).contains(now)
        if not was.is_empty and inside and now == was.translate(dx, dy):
            return dx, dy
    found = sum(_is_found(y, row, before.canvas.width, dx, dy, canvas, read) for y, row in before.rows.items())
    return (dx, dy) if found >= 2 else None


def _is_found(y: int, row: bytes, width: int, dx: int, dy: int, canvas: Size, read: Callable[[Bounds], bytes]) -> bool:
    place = Bounds(dx, y + dy, width, 1).intersect(Bounds.of_size(canvas))
    if place.is_empty:
        return False
    was = row[(place.left - dx) * 4 : (place.right - dx) * 4]
    return len(set(was)) >= LEAST_COLOURS and was == read(place)
