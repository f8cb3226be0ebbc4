"""How a model with a limited view paints a large hole: tile after tile, from what is known outwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..protocol.geometry import Bounds, Size
from .masks import covered, feathered, grown
from .pixels import as_bytes
from .plan import Pixels, Traits

CELL = 16
"""Side in px of the squares in which the order is decided."""
OVERLAP = 24
"""Px of earlier painting that a tile paints once more, to fade into it."""


def order_tiles(mask: Pixels, traits: Traits) -> tuple[Bounds, ...]:
    """Windows that, painted in this order, cover all of the (h, w) mask.

    One, the whole picture, where the model sees it all at once. Otherwise windows of traits.native px a side: next goes the
    one that paints most, among those whose hole the model can fill from what is known by then (a share of the window of
    traits.reach / traits.native); where none is left of these, the one that knows most.
    """
    height, width = mask.shape
    if max(width, height) <= max(traits.native, traits.reach):
        return (Bounds(0, 0, width, height),)
    view = Size(min(traits.native, width), min(traits.native, height))
    rows, columns = -(-height // CELL), -(-width // CELL)
    hole = covered(mask, Size(columns, rows)) > 0
    tall, wide = min(-(-view.height // CELL), rows), min(-(-view.width // CELL), columns)
    limit = tall * wide * traits.reach / traits.native
    tiles = []
    while hole.any():
        row, column = _next_window(hole, tall, wide, limit)
        tile = Bounds(min(column * CELL, width - view.width), min(row * CELL, height - view.height), *view)
        tiles.append(tile)
        hole[_cells_inside(tile.top, tile.bottom, height), _cells_inside(tile.left, tile.right, width)] = False
    return tuple(tiles)


def _next_window(hole: NDArray[np.bool_], tall: int, wide: int, limit: float) -> tuple[int, int]:
    """Row and column of the best tall x wide window of the boolean cells."""
    sums = np.zeros((hole.shape[0] + 1, hole.shape[1] + 1), np.int64)
    sums[1:, 1:] = hole.cumsum(0).cumsum(1)
    counts = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    fillable = (counts > 0) & (counts <= limit)
    best = counts[fillable].max() if fillable.any() else counts[counts > 0].min()
    ties = np.argwhere(counts == best)
    # The middle one: what it paints then has known pixels on all sides.
    middle = np.abs(ties - ties.mean(axis=0)).sum(axis=1).argmin()
    return int(ties[middle][0]), int(ties[middle][1])


def _cells_inside(start: int, stop: int, end: int) -> slice:
    """The cells that lie wholly between two edges; the last cell ends where the picture does."""
    return slice(-(-start // CELL), -(-stop // CELL) if stop == end else stop // CELL)


class TiledPicture:
    """A picture in work: which of its pixels are known by now, and what a tile has to paint."""

    def __init__(self, image: Pixels, mask: Pixels) -> None:
        self.image = image.copy()
        self._hole = mask > 0
        self._remaining = self._hole.copy()

    def hole(self, tile: Bounds) -> Pixels:
        """(h, w) what the model is to paint in this tile, 255 or 0: what remains, and a band of what earlier tiles painted."""
        part = tile.slices()
        remaining = self._remaining[part].astype(np.uint8) * 255
        return grown(remaining, OVERLAP) * self._hole[part]

    def paste(self, tile: Bounds, painted: Pixels) -> None:
        """Takes over the (h, w, 3) tile: all that remained, and fading out over the band."""
        part = tile.slices()
        share = np.maximum(feathered(self.hole(tile), OVERLAP), self._remaining[part])[..., None]
        old = self.image[part].astype(np.float32)
        self.image[part] = as_bytes(old + (painted - old) * share)
        self._remaining[part] = False
