"""Surroundings for a hole that has none on one side.

A network that fills holes has learned to join what lies around them; at the edge of a picture it invents freely, often
letters and toys. So the far side of the hole shows it a mirror image of the near side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..editing.plan import Pixels
from ..protocol.geometry import Bounds


def mirror_margins(image: Pixels, hole: NDArray[np.bool_], tile: Bounds) -> None:
    """Fills the holes of the margins around `tile` in the (h, w, 3) image, in place; `hole` (h, w) loses what was filled.

    The axis of the mirror lies in the middle of the hole that reaches the tile's edge, so hole and image keep meeting.
    """
    height, width = hole.shape
    down, hole_down = image.swapaxes(0, 1), hole.T
    rows, columns = tile.slices()
    _mirror_right(image, hole, rows, tile.right)
    _mirror_right(image[:, ::-1], hole[:, ::-1], rows, width - tile.left)
    _mirror_right(down, hole_down, columns, tile.bottom)
    _mirror_right(down[:, ::-1], hole_down[:, ::-1], columns, height - tile.top)


def _mirror_right(image: Pixels, hole: NDArray[np.bool_], rows: slice, right: int) -> None:
    """Fills what lies right of column `right`, the tile's end; `rows` are the tile's."""
    width = hole.shape[1]
    known = hole[rows, :right].mean(axis=0) <= 0.5
    if not known.any():
        return
    source_end = right - int(known[::-1].argmax())
    source_start = source_end - int(np.append(~known[:source_end][::-1], True).argmax())
    while right < width:
        reach = min(width - right, source_end - source_start)
        source = slice(source_end - reach, source_end)
        target = slice(right, right + reach)
        use = hole[:, target] & ~hole[:, source][:, ::-1]
        image[:, target][use] = image[:, source][:, ::-1][use]
        hole[:, target][use] = False
        # A picture much smaller than its margin is mirrored again and again.
        source_end = right = right + reach
