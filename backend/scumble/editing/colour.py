"""Colours fitted to their surroundings, before any seam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .masks import Field

LEAST_SAMPLES = 64
"""Fewer pixels say nothing about colours."""
MOST_SAMPLES = 1 << 15
"""More pixels, evenly spread, change nothing."""
STRONGEST_GAIN = 1.25
"""A contrast that differs by more belongs to another content, not to another tint."""
LEAST_SPREAD = 16.0
"""A standard deviation (of 0..255) below which there is no contrast to compare, only noise: on white paper a model's faint
specks would make all that it has painted paler."""


def match_colours(painted: Field, truth: Field, sample: NDArray[np.bool_]) -> Field:
    """The (h, w, 3) painting with each channel's mean and spread brought to those of the truth.

    Both are taken over `sample` only: pixels outside the mask, which the model's picture and the document both show.
    Reinhard et al., Color Transfer between Images, 2001, per channel in sRGB.
    """
    chosen = np.flatnonzero(sample)
    if chosen.size < LEAST_SAMPLES:
        return painted
    chosen = chosen[:: -(-chosen.size // MOST_SAMPLES)]
    ours, theirs = (np.ascontiguousarray(values.reshape(-1, 3)[chosen].T) for values in (painted, truth))
    gain = np.maximum(theirs.std(axis=1), LEAST_SPREAD) / np.maximum(ours.std(axis=1), LEAST_SPREAD)
    gain = np.clip(gain, 1 / STRONGEST_GAIN, STRONGEST_GAIN)
    offset = theirs.mean(axis=1) - ours.mean(axis=1) * gain
    # Whole rows at a time: numpy is slow along three channels.
    height, width = painted.shape[:2]
    matched: Field = painted.reshape(height, -1) * np.tile(gain, width) + np.tile(offset, width)
    return matched.reshape(painted.shape)
