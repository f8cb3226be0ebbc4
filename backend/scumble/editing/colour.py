"""Colours fitted to their surroundings, before any seam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .masks import Field

LEAST_SAMPLES = 64
"""Fewer pixels say nothing about colours."""
STRONGEST_GAIN = 1.25
"""A contrast that differs by more belongs to another content, not to another tint."""


def match_colours(painted: Field, truth: Field, sample: NDArray[np.bool_]) -> Field:
    """The (h, w, 3) painting with each channel's mean and spread brought to those of the truth.

    Both are taken over `sample` only: pixels outside the mask, which the model's picture and the document both show.
    Reinhard et al., Color Transfer between Images, 2001, per channel in sRGB.
    """
    if np.count_nonzero(sample) < LEAST_SAMPLES:
        return painted
    ours, theirs = painted[sample], truth[sample]
    gain = np.maximum(theirs.std(axis=0), 1) / np.maximum(ours.std(axis=0), 1)
    gain = np.clip(gain, 1 / STRONGEST_GAIN, STRONGEST_GAIN)
    matched: Field = (painted - ours.mean(axis=0)) * gain + theirs.mean(axis=0)
    return matched
