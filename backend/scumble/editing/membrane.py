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
    difference = np.clip(truth - painted, -STRONGEST_SHIFT, STRONGEST_SHIFT)
    fitted: Field = painted + spread(difference, rim.astype(np.float32))
    return fitted


def spread(values: Field, weights: Field) -> Field:
    """(h, w, c) values everywhere, smooth, from `values` where the (h, w) `weights` (0..1) are above 0; zeros if none is.

    Known values come back smoothed too (over about 2 px): the finest level is interpolated from the one above.
    """
    levels: list[tuple[Field, Field]] = []
    shape = weights.shape
    premultiplied: Field = values * weights[..., None]
    while weights.size > 1:
        premultiplied, weights = _pull(premultiplied), _pull(weights[..., None])[..., 0]
        # Saturated: a pixel with many known children must not outweigh its neighbours.
        premultiplied /= np.maximum(weights, np.float32(1))[..., None]
        weights = np.minimum(weights, 1, dtype=np.float32)
        levels.append((premultiplied, weights))
    result: Field = np.divide(premultiplied, np.maximum(weights, 1e-30)[..., None], dtype=np.float32)
    for premultiplied, weights in reversed(levels[:-1]):
        missing: Field = np.float32(1) - weights
        result = premultiplied + _push(result, weights.shape) * missing[..., None]
    return _push(result, shape) if levels else result


def _pull(fine: Field) -> Field:
    """Sums of 2 x 2 pixels; an odd edge stands alone."""
    height, width = fine.shape[:2]
    if height % 2 or width % 2:
        fine = np.pad(fine, [(0, height % 2), (0, width % 2), (0, 0)])
    rows = fine[::2] + fine[1::2]
    coarse: Field = rows[:, ::2] + rows[:, 1::2]
    return coarse


def _push(coarse: Field, shape: tuple[int, ...]) -> Field:
    """Bilinear, twice the size, cut to `shape`."""
    for axis in (0, 1):
        coarse = _double(coarse, axis)
    return coarse[: shape[0], : shape[1]]


def _double(coarse: Field, axis: int) -> Field:
    coarse = coarse.swapaxes(0, axis)
    near, far = coarse * np.float32(0.75), coarse * np.float32(0.25)
    fine = np.empty((2 * coarse.shape[0], *coarse.shape[1:]), np.float32)
    fine[::2] = near
    fine[1::2] = near
    fine[0] += far[0]
    fine[2::2] += far[:-1]
    fine[1:-1:2] += far[1:]
    fine[-1] += far[-1]
    return fine.swapaxes(0, axis)
