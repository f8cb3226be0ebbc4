"""Pictures that are too large for an autoencoder go through it window by window; the pieces fade into each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..editing.passes import OVERLAP, windows
from ..editing.plan import Traits
from ..protocol.geometry import Bounds, Size
from .blend import faded


def tiles_for(size: Size, most: int, traits: Traits) -> tuple[Bounds, ...]:
    """Windows of at most `most` px over a picture of this size."""
    smaller = Traits(traits.native, traits.multiple, most, traits.prompt, traits.reach)
    return windows(np.ones((size.height, size.width), np.uint8), smaller)


def piecewise(
    apply: Callable[[Tensor], Tensor], whole: Tensor, tiles: Sequence[tuple[Bounds, Bounds]], size: Size
) -> Tensor:
    """What `apply` makes of (1, c, h, w), as (1, c', H, W) of `size`, float32; all at once where there is one tile only,
    else on the CPU: the device has little to spare then.

    tiles  where each piece lies in `whole`, and where what is made of it belongs in the result
    """
    if len(tiles) == 1:
        return apply(whole).float()
    total, weight = torch.zeros(()), torch.zeros(1, 1, size.height, size.width)
    for place, target in tiles:
        piece = apply(whole[(..., *place.slices())]).float().cpu()
        if total.ndim == 0:
            total = torch.zeros(1, piece.shape[1], size.height, size.width)
        share = faded(target, size, min(target.size) // OVERLAP)
        total[(..., *target.slices())] += piece * share
        weight[(..., *target.slices())] += share
    return total / weight
