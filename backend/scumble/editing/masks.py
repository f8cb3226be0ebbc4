"""Selections: where they are, grown, faded, brought to another scale. All masks are (h, w), 255 = change, 0 = keep."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..protocol.geometry import Bounds, Size
from .plan import Pixels

Field = NDArray[np.float32]


def tight_bounds(mask: Pixels | NDArray[np.bool_]) -> Bounds:
    """The smallest rectangle of `mask`, in its own pixels, outside which it is 0; empty for a mask of zeros."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return Bounds(0, 0, 0, 0)
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return Bounds.from_edges(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def window(pixels: NDArray[np.uint8], lies_at: Bounds, wanted: Bounds) -> NDArray[np.uint8]:
    """The part `wanted` of pixels that lie at `lies_at` on the canvas; 0 (transparent, keep) where they do not reach."""
    if lies_at.contains(wanted):
        return pixels[wanted.relative_to(lies_at).slices()]
    result = np.zeros((wanted.height, wanted.width, *pixels.shape[2:]), np.uint8)
    common = lies_at.intersect(wanted)
    if not common.is_empty:
        result[common.relative_to(wanted).slices()] = pixels[common.relative_to(lies_at).slices()]
    return result


def grown(mask: Pixels, radius: int) -> Pixels:
    """Each pixel is the largest within `radius` px (Euclidean); same shape, so pad before. Grey levels stay grey.

    The disc is cut into rows. A row's running maximum comes from two overlapping windows of a power of two (van Herk's
    idea with doubled windows), so that a row costs the same at any width.
    """
    if radius == 0:
        return mask
    height, width = mask.shape
    padded = np.pad(mask, radius)
    doubled = [padded]  # doubled[k][x] is the maximum of padded[x : x + 2**k]
    while 2 ** len(doubled) <= 2 * radius + 1:
        last, step = doubled[-1], 2 ** (len(doubled) - 1)
        doubled.append(np.maximum(last[:, :-step], last[:, step:]))
    result = np.zeros_like(mask)
    for dy in range(-radius, radius + 1):
        half = int((radius * radius - dy * dy) ** 0.5)
        level = (2 * half + 1).bit_length() - 1
        rows = doubled[level][radius + dy : radius + dy + height]
        first = radius - half
        second = radius + half + 1 - 2**level
        np.maximum(result, rows[:, first : first + width], out=result)
        np.maximum(result, rows[:, second : second + width], out=result)
    return result


def depth(inside: NDArray[np.bool_], limit: int) -> Field:
    """(h, w) px from each pixel's centre to the nearest pixel outside, Euclidean, exact up to `limit` and `limit` beyond; 0
    outside. What lies beyond the array counts as inside: a selection does not end where the picture does."""
    import cv2  # a quarter of a second that most edits need not wait for

    exact = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    result: Field = np.minimum(exact, np.float32(limit))
    return result


def feathered(mask: Pixels, width: int) -> Field:
    """The mask as 0..1, faded by a smoothstep over `width` px inside its edge; never above the mask itself (C1). In a mask
    that is not that deep anywhere it fades up to where it is deepest, so that something of it is left."""
    share: Field = mask.astype(np.float32) / np.float32(255)
    if width > 0 and mask.any():
        way = depth(mask > 0, width + 1)
        way /= way.max()
        share *= way * way * (3 - 2 * way)
    return share


def covered(mask: Pixels, size: Size) -> Pixels:
    """The mask at another scale, corner to corner: a pixel is the largest of all those that it overlaps.

    So nothing of a selection gets lost, be it a single pixel of a picture that shrinks twenty times.
    """
    for axis, (old, new) in enumerate(zip(mask.shape, (size.height, size.width), strict=True)):
        if old == new:
            continue
        step = np.arange(new, dtype=np.int64)
        edges = np.stack([step * old // new, -(-(step + 1) * old // new)], axis=1).ravel()
        # reduceat wants each edge inside the array: one more row of zeros.
        padded = np.pad(mask, [(0, int(axis == 0)), (0, int(axis == 1))])
        mask = np.maximum.reduceat(padded, edges, axis=axis).take(np.arange(0, 2 * new, 2), axis=axis)
    return mask
