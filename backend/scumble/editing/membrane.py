"""Smooth continuation of known values into the unknown: pull-push (Gortler et al., The Lumigraph, 1996, section 3.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .masks import Field, grown

RIM = 6
"""Width in px of the rim outside a hole whose differences are carried inwards."""
STRONGEST_SHIFT = 48.0
"""Most (of 255) that a seam's fit moves a colour: where the model disagrees more, it painted other things."""


def fit_seam(painted: Field, truth: Field, hole: NDArray[np.bool_], known: NDArray[np.bool_]) -> Field:
    """The (h, w, 3) painting, shifted so that it meets the truth where the hole ends.

    The differences to the truth on the known rim outside the hole, clamped, are carried smoothly over the hole. Values on
    a scale of 0..255.
    """
    rim = known & ~hole & (grown(hole.astype(np.uint8), RIM) > 0)
    if not rim.any():
        return painted
    difference = np.clip(truth - painted, -STRONGEST_SHIFT, STRONGEST_SHIFT)
    fitted: Field = painted + spread(difference, rim.astype(np.float32))
    return fitted


def spread(values: Field, weights: Field) -> Field:
    """(h, w, c) values everywhere, smooth, from `values` where the (h, w) `weights` (0..1) are above 0; zeros if none is.

    Known values come back smoothed too (over about 2 px): the finest level is interpolated from the one above.
    """
    # A plane for each channel: numpy is many times quicker along rows of pixels than along three channels.
    planes: Field = np.ascontiguousarray(np.moveaxis(values, 2, 0)) * weights
    levels: list[tuple[Field, Field]] = []
    shape = weights.shape
    while weights.size > 1:
        planes, weights = _pull(planes), _pull(weights)
        # Saturated: a pixel with many known children must not outweigh its neighbours.
        planes /= np.maximum(weights, np.float32(1))
        weights = np.minimum(weights, 1, dtype=np.float32)
        levels.append((planes, weights))
    result: Field = np.divide(planes, np.maximum(weights, 1e-30), dtype=np.float32)
    for planes, weights in reversed(levels[:-1]):
        result = _push(result, weights.shape)
        result *= np.float32(1) - weights
        result += planes
    if levels:
        result = _push(result, shape)
    return np.ascontiguousarray(np.moveaxis(result, 0, 2))


def _pull(fine: Field) -> Field:
    """Sums of 2 x 2 pixels of (..., h, w); an odd edge stands alone."""
    height, width = fine.shape[-2:]
    if height % 2 or width % 2:
        fine = np.pad(fine, [(0, 0)] * (fine.ndim - 2) + [(0, height % 2), (0, width % 2)])
    rows = fine[..., ::2, :] + fine[..., 1::2, :]
    coarse: Field = rows[..., ::2] + rows[..., 1::2]
    return coarse


def _push(coarse: Field, shape: tuple[int, ...]) -> Field:
    """(c, h, w) bilinear, twice the size, cut to `shape`."""
    tall = np.empty((coarse.shape[0], 2 * coarse.shape[1], coarse.shape[2]), np.float32)
    _double(coarse.swapaxes(1, 2), tall.swapaxes(1, 2))
    fine = np.empty((coarse.shape[0], tall.shape[1], 2 * coarse.shape[2]), np.float32)
    _double(tall, fine)
    return fine[:, : shape[0], : shape[1]]


def _double(coarse: Field, fine: Field) -> None:
    """Fills `fine`, twice as long along the last axis."""
    near, far = coarse * np.float32(0.75), coarse * np.float32(0.25)
    np.add(near[..., 1:], far[..., :-1], out=fine[..., 2::2])
    np.add(near[..., :-1], far[..., 1:], out=fine[..., 1:-1:2])
    fine[..., 0], fine[..., -1] = coarse[..., 0], coarse[..., -1]
