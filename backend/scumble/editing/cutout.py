"""What a model has painted on a plain background, cut out of it: alpha by the difference to that background.

Between object and background a pixel is a mixture of both, so its share of the object follows from its place on the line
between their colours (Smith and Blinn, 1996, Blue Screen Matting, for a known background); the object's colour is
continued from its inside to tell that line, the background's from the rim of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import Field
from .membrane import spread
from .pixels import as_bytes
from .plan import Pixels

RIM = 16
"""One part in so many of the shorter side is looked at for the background, along the edge of what is selected."""
EVEN = 48.0
"""Colours (0..255) that are no further apart than this may be of one background: it may be shaded."""
PLAIN = 0.6
"""Share of the rim that must be of one background: the object may reach the edge in places."""
FAINT, CERTAIN = 6.0, 48.0
"""By how much a colour differs from the background, beyond its noise, from which it may be the object, and is for sure."""
_INSIDE = 3  # px from its edge: there an object's colour is its own
_LEAST = 0.05  # alpha below which what is seen of the object says nothing of its colour


def cut_out(picture: Pixels, selected: NDArray[np.bool_]) -> Pixels | None:
    """(h, w, 4) with straight alpha of an (h, w, 3) picture, of which (h, w) `selected` counts; None where it has no plain
    background along the edge of the selection, or nothing before it.

    What the background does not reach from the edge belongs to the object, also where it has its colour.
    """
    image = picture.astype(np.float32)
    inside = np.pad(selected.astype(np.uint8), 1)  # the picture's edge is one of the selection too
    near = max(min(picture.shape[:2]) // RIM, 2)
    rim = selected & (cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1] <= near)
    if not rim.any():
        return None
    even = rim & (np.abs(image - np.median(image[rim], axis=0)).max(axis=2) < EVEN)
    if even.sum() < PLAIN * rim.sum():
        return None
    background = spread(image, even.astype(np.float32))
    difference = np.linalg.norm(image - background, axis=2)
    noise = float(np.percentile(difference[even], 95))
    sure = selected & (difference > noise + CERTAIN)
    if not (sure & ~rim).any():
        return None
    core = _eroded(sure)
    # What is only faint or lies in the rim, and hangs together with nothing else, is the background's own unevenness.
    outside = ~_reached(~_reached(difference <= noise + FAINT, even), sure & ~rim)
    mixed = _reached(outside | ~core, outside) & ~outside
    colour = spread(image, core.astype(np.float32))
    alpha = np.where(outside, 0, np.where(mixed, _share(image, colour, background), 1)).astype(np.float32)[..., None]
    rgb = np.where(alpha > _LEAST, (image - (1 - alpha) * background) / np.maximum(alpha, _LEAST), colour)
    return np.dstack([as_bytes(rgb), as_bytes(alpha * 255)])


def _share(image: Field, colour: Field, background: Field) -> Field:
    """(h, w) 0..1: where each pixel lies between the two colours."""
    way = colour - background
    share: Field = (((image - background) * way).sum(2) / np.maximum((way * way).sum(2), 1)).clip(0, 1)
    return share


def _reached(may: NDArray[np.bool_], start: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What can be reached from `start` without leaving `may`."""
    count, labels = cv2.connectedComponents(may.astype(np.uint8), connectivity=4)
    found = np.zeros(count, np.bool_)
    found[labels[start & may]] = True
    reached: NDArray[np.bool_] = found[labels]
    return reached


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without its rim; as it is where nothing would be left."""
    size = 2 * _INSIDE + 1
    small: NDArray[np.bool_] = cv2.erode(mask.astype(np.uint8), np.ones((size, size), np.uint8), borderValue=1) > 0
    return small if small.any() else mask
