"""Pictures that a model is to take up."""

from __future__ import annotations

import numpy as np

from .pixels import on_paper
from .plan import Pixels


def shown(pixels: Pixels) -> Pixels:
    """(h', w', 3): what of the (h, w, 4) pixels is not transparent, as closely as a rectangle holds it, on white."""
    rows, columns = (np.flatnonzero(pixels[..., 3].any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return on_paper(pixels)
    return on_paper(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
