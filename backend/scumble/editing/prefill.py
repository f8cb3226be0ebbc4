"""What lies under the mask before a model paints, and what stands in for pixels that nobody knows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..protocol.geometry import Bounds, Size
from ..protocol.messages import EditRequest, Prefill
from .masks import tight_bounds
from .membrane import spread
from .pixels import as_bytes, mixed, stretched
from .plan import Pixels

NEUTRAL = 128
ENOUGH_FOR_BLUR = 256
"""Px of its shorter side in which a blur is computed."""
LEAST_AROUND = 32
"""Px of surroundings that a blur continues at least."""


def choose_prefill(request: EditRequest) -> Prefill:
    """The request's prefill, or the one that fits its intent. With "none" the start is what is there, as on white paper."""
    if request.prefill != "auto":
        return request.prefill
    if request.mode == "img2img" or (request.mode == "refine" and request.strength < 1):
        return "none"
    if request.mode == "txt2img":
        return "neutral"
    return "border" if request.mode == "outpaint" else "blur"


def prefill(image: Pixels, known: NDArray[np.bool_], mask: Pixels, kind: Prefill) -> Pixels:
    """(h, w, 3) image with the prefill under the mask, mixed in by the mask's share.

    `known` says which pixels of the surroundings may be continued; those under the mask never are.
    """
    hole = tight_bounds(mask)
    if kind == "none" or hole.is_empty:
        return image
    around = known & (mask == 0)
    # What is further away says little about a blur; along its row or column the nearest known pixel may be anywhere.
    whole = Bounds(0, 0, mask.shape[1], mask.shape[0])
    near = hole.pad(max(hole.size) // 8 + LEAST_AROUND).intersect(whole) if kind == "blur" else whole
    if not around[near.slices()].any():
        near = whole
    part = near.slices()
    if kind == "neutral" or not around[part].any():
        fill = np.full_like(image[part], NEUTRAL)
    elif kind == "border":
        fill = continue_border(image, around)
    else:
        fill = _blurred(image[part], around[part])
    result = image.copy()
    result[part] = mixed(image[part], fill, mask[part])
    return result


def _blurred(image: Pixels, known: NDArray[np.bool_]) -> Pixels:
    """The (h, w, 3) smooth continuation of what is known. A large one is computed small: it has no detail to lose."""
    height, width = known.shape
    step = max(min(height, width) // ENOUGH_FOR_BLUR, 1)
    if not known[::step, ::step].any():
        step = 1
    small = spread(image[::step, ::step].astype(np.float32), known[::step, ::step].astype(np.float32))
    return stretched(as_bytes(small), Size(width, height))


def continue_smoothly(image: Pixels, weights: NDArray[np.bool_] | NDArray[np.floating]) -> Pixels:
    """The (h, w, 3) image where the weights (0..1) are 1, its smooth continuation where they are 0, mixed in between.

    Neutral grey where nothing is known at all.
    """
    share = weights.astype(np.float32)
    if not share.any():
        return np.full_like(image, NEUTRAL)
    # What shines through itself says little about what lies below it, unless there is nothing else.
    sure = (share == 1).astype(np.float32)
    smooth = spread(image.astype(np.float32), sure if sure.any() else share)
    # Often only the few rows by which a model sees beyond a large canvas: the rest is as it is.
    result, unsure = image.copy(), sure == 0
    below = smooth[unsure]
    result[unsure] = as_bytes(below + (image[unsure] - below) * share[unsure, None])
    return result


def continue_border(image: Pixels, known: NDArray[np.bool_]) -> Pixels:
    """The image, unknown pixels taken from the nearest known one of their row or column: lines at the border go on.

    Needs one known pixel.
    """
    image, known = image.copy(), known.copy()
    while not known.all():  # twice at most: then each row that held a known pixel is full, so each column holds one
        row_source, row_way = _nearest(known.T)
        column_source, column_way = _nearest(known)
        unknown = np.flatnonzero(~known)
        y, x = np.divmod(unknown, known.shape[1])
        by_row = row_way.T[y, x] < column_way[y, x]
        from_y = np.where(by_row, y, column_source[y, x])
        from_x = np.where(by_row, row_source.T[y, x], x)
        filled = np.minimum(row_way.T[y, x], column_way[y, x]) < _FAR
        y, x, from_y, from_x = y[filled], x[filled], from_y[filled], from_x[filled]
        image[y, x] = image[from_y, from_x]
        known[y, x] = True
    return image


_FAR = 1 << 29


def _nearest(known: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For each pixel the row of the nearest known one in its column, and how far it is (_FAR or more: there is none)."""
    height = known.shape[0]
    index = np.arange(height, dtype=np.int32)[:, None]
    above = np.maximum.accumulate(np.where(known, index, -_FAR), axis=0).astype(np.int32)
    below = np.minimum.accumulate(np.where(known, index, height + _FAR)[::-1], axis=0)[::-1].astype(np.int32)
    source = np.where(index - above <= below - index, above, below)
    return source, np.abs(source - index)
