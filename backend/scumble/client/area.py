"""How much of a document an edit needs. Pure; masks are handled as bytes, never pixel by pixel."""

from __future__ import annotations

from typing import Iterator, Tuple

from ..protocol.errors import BadRequest
from ..protocol.geometry import Bounds, Size, subtract
from .document import Edges, Pixels

LARGEST_NATIVE = 1024
"""Side in px of the pictures that today's models were trained on: a small selection is seen with so much around it."""
LEAST_CONTEXT = 32
LONGEST_STRIP = 4
"""Models are never shown a picture longer than this many times its width."""
ROUNDING = 4
"""A crop becomes longer by up to one part in so many of its longest side, so that its sides fit a model's grid."""
CHUNK = 1 << 16
"""Bytes of pixels that are looked at in one go."""
_SELECTED = b"\0" + b"\1" * 255
_EMPTY = b"\1" + b"\0" * 255


def bounds_to_send(mask: Bounds, canvas: Size, grow: int = 0, context: int = 0, resolution: int = 0) -> Bounds:
    """The part of the canvas that any model may want to see for a mask with these bounds; empty when the mask lies far
    beyond the canvas.

    Around the mask at least max(longest side / 16, mean side / 2) px (as the backend's planner takes), and as much as it
    takes for a small mask to be seen at a model's native size, or at the `resolution`. Depends on the mask, not on the
    canvas, save at its edges.
    """
    frame = Bounds.of_size(canvas)
    grown = mask.pad(grow)
    wanted = grown.pad(max(max(grown.size) // 16, sum(grown.size) // 4, LEAST_CONTEXT, context) + 1)
    least = max(LARGEST_NATIVE, resolution, max(wanted.size) // LONGEST_STRIP)
    extra = max(wanted.size) // ROUNDING
    room = frame.union(mask)
    x, width = _widen(wanted.x, wanted.width, max(wanted.width + extra, least), room.x, room.width)
    y, height = _widen(wanted.y, wanted.height, max(wanted.height + extra, least), room.y, room.height)
    return Bounds(x, y, width, height).intersect(frame)


def _widen(start: int, length: int, longer: int, low: int, room: int) -> Tuple[int, int]:
    """Start and length of a side made longer, moved into the room where it fits there."""
    if longer >= room:
        return low, room
    return min(max(start - (longer - length) // 2, low), low + room - longer), longer


def mask_of_edges(canvas: Size, edges: Edges) -> Tuple[Bounds, bytes]:
    """Bounds and mask of the area by which the canvas is to grow: 255 beyond the canvas, 0 on it.

    Raises BadRequest when an edge is negative or all are 0.
    """
    if min(edges) < 0 or max(edges) == 0:
        raise BadRequest("The canvas does not grow.", "Say by how many pixels, on at least one side.")
    frame = Bounds.of_size(canvas)
    grown = Bounds.from_edges(-edges.left, -edges.top, canvas.width + edges.right, canvas.height + edges.bottom)
    bounds = Bounds(0, 0, 0, 0)
    for piece in subtract(grown, frame):
        bounds = bounds.union(piece)
    kept = bounds.intersect(frame)
    outside = b"\xff" * bounds.width
    if kept.is_empty:
        return bounds, outside * bounds.height
    across = b"\xff" * (kept.left - bounds.left) + b"\0" * kept.width + b"\xff" * (bounds.right - kept.right)
    mask = outside * (kept.top - bounds.top) + across * kept.height + outside * (bounds.bottom - kept.bottom)
    return bounds, mask


def edges_around(canvas: Size, bounds: Bounds) -> Edges:
    """By how much the canvas must grow to hold the bounds; not at all for empty ones, wherever they lie."""
    if bounds.is_empty:
        return Edges()
    return Edges(
        max(-bounds.left, 0),
        max(-bounds.top, 0),
        max(bounds.right - canvas.width, 0),
        max(bounds.bottom - canvas.height, 0),
    )


def touches_empty(mask: bytes, mask_bounds: Bounds, alpha: bytes, alpha_bounds: Bounds) -> bool:
    """True when something selected (mask > 0) is entirely transparent (alpha 0). `alpha` is one byte per pixel."""
    if 0 not in alpha:
        return False
    both = mask_bounds.intersect(alpha_bounds)
    for y in range(both.top, both.bottom):  # rows, not pixels
        row = (y - alpha_bounds.y) * alpha_bounds.width + both.x - alpha_bounds.x
        empty = alpha[row : row + both.width]
        if 0 in empty:
            row = (y - mask_bounds.y) * mask_bounds.width + both.x - mask_bounds.x
            selected = mask[row : row + both.width]
            if int.from_bytes(empty.translate(_EMPTY), "little") & int.from_bytes(
                selected.translate(_SELECTED), "little"
            ):
                return True
    return False


def is_empty(pixels: Pixels) -> bool:
    """True when all pixels (4 bytes, alpha last) are entirely transparent. Ends at the first piece that is not."""
    return all(is_blank(alpha) for alpha in _alphas(pixels))


def alpha_of(pixels: Pixels) -> bytes:
    """The last of the 4 bytes of each pixel."""
    return b"".join(_alphas(pixels))


def _alphas(pixels: Pixels) -> Iterator[bytes]:
    # A view is quick to cut and slow to pick from.
    return (bytes(pixels[start : start + CHUNK])[3::4] for start in range(0, len(pixels), CHUNK))


def is_blank(plane: bytes) -> bool:
    """True when all bytes are 0."""
    return plane == bytes(len(plane))  # the comparison ends at the first byte that differs
