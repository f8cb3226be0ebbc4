"""Crops above a model's size: composed small, then enlarged and refined at their own size, window by window.

A model that is shown more than it was trained on repeats itself: two horizons, two heads. So the composition is made at its
native size; a second pass of low strength then adds the detail that enlarging cannot ("hires fix" of Stable Diffusion web
UI). The windows of that pass overlap, and the engine denoises them as one picture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..protocol.geometry import Bounds, Size
from .masks import covered
from .membrane import fit_seam
from .pixels import as_bytes, resize
from .plan import Pixels, Refinement, Traits

REFINE_STRENGTH = 0.4
"""Of the second pass: enough to make edges and textures anew, too little to move them."""
KEEPS_COMPOSITION = 0.5
"""Up to this strength a model follows what it is given: a large picture needs no small one first."""
WORTH = 1.25
"""A second pass that is larger than the first by less than this factor shows nothing new."""
OVERLAP = 4
"""Windows overlap by at least one part in so many of the native side."""


def refined_size(crop: Size, size: Size, traits: Traits) -> Size | None:
    """The size of the second pass for a crop (canvas px) that the model sees at `size`: the crop's own, or what
    traits.refine_area allows of it. None where it would show nothing new."""
    scale = min(1.0, math.sqrt(traits.refine_area / crop.area))
    if crop.width * scale < WORTH * size.width:
        return None
    return Size(*(max(round(side * scale / traits.multiple), 1) * traits.multiple for side in crop))


def windows(mask: Pixels, traits: Traits) -> tuple[Bounds, ...]:
    """Windows over the whole (h, w) picture, each of at most traits.max_area px; only those that see some of the mask.

    One, the whole picture, where that is small enough. Otherwise their sides and places are multiples of
    traits.multiple, and neighbours overlap by at least a quarter of the native side. (`h` and `w` are such multiples.)
    """
    height, width = mask.shape
    if width * height <= traits.max_area:
        return (Bounds(0, 0, width, height),)
    rows, columns = (_spans(side, traits) for side in (height, width))
    places = [Bounds(x, y, across, down) for y, down in rows for x, across in columns]
    return tuple(place for place in places if mask[place.slices()].any())


def _spans(side: int, traits: Traits) -> list[tuple[int, int]]:
    """(start, length) of the windows along a side; all equally long, equally far from each other to one multiple."""
    grid = traits.multiple
    most = math.isqrt(traits.max_area) // grid
    cells, overlap = side // grid, min(-(-traits.native // OVERLAP // grid), most // 2)
    if cells <= most:
        return [(0, side)]
    count = math.ceil((cells - overlap) / (most - overlap))
    length = math.ceil((cells + (count - 1) * overlap) / count)
    return [(index * (cells - length) // (count - 1) * grid, length * grid) for index in range(count)]


def refinement(image: Pixels, known: NDArray[np.bool_], mask: Pixels, size: Size, traits: Traits) -> Refinement:
    """The second pass at `size` of a crop's (h, w, 3) image, of what is known of it and of its mask."""
    large = covered(mask, size)
    return Refinement(
        size=size,
        image=resize(image, size),
        known=covered(np.where(known, 0, 255).astype(np.uint8), size) == 0,
        mask=large,
        tiles=windows(large, traits),
        strength=REFINE_STRENGTH,
    )


def enlarged(refinement: Refinement, composed: Pixels, membrane: bool) -> Pixels:
    """The (H, W, 3) start of the second pass: outside the mask the document, under it the first pass's picture of any size,
    enlarged and, with `membrane`, shifted so that the two meet."""
    painted = resize(composed, refinement.size).astype(np.float32)
    hole = refinement.mask > 0
    if membrane:
        painted = fit_seam(painted, refinement.image.astype(np.float32), hole, refinement.known)
    return np.where(hole[..., None], as_bytes(painted), refinement.image)
