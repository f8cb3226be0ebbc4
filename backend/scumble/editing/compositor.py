"""From a model's pictures to layers: back to canvas scale, colours and seam fitted, alpha inside the selection."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..protocol.geometry import Bounds
from ..protocol.messages import MAX_SEED
from .colour import Field, match_colours
from .masks import feathered, grown, tight_bounds
from .membrane import spread
from .pixels import as_bytes, resize
from .plan import Pixels, Plan

RIM = 6
"""Width in px of the rim outside the mask whose differences the membrane carries inwards."""
STRONGEST_SHIFT = 48.0
"""Most (of 255) that the membrane moves a colour: where the model disagrees more, it painted other things, not another tint."""


class CompositedLayer(NamedTuple):
    """One layer: (h, w, 4) straight alpha at `bounds` on the canvas, and the seed that makes it alone again."""

    bounds: Bounds
    rgba: Pixels
    seed: int


def composite(plan: Plan, images: list[Pixels]) -> list[CompositedLayer]:
    """A layer for each of the engine's (plan.size.height, plan.size.width, 3) pictures.

    A layer's bounds are those of the grown selection. Its alpha is at most the selection (C1); where it is 0, so are the
    colours.
    """
    first_seed = plan.request.seed or 0
    return [
        CompositedLayer(*_layer(plan, image), (first_seed + index) % (MAX_SEED + 1))
        for index, image in enumerate(images)
    ]


def _layer(plan: Plan, image: Pixels) -> tuple[Bounds, Pixels]:
    selected = tight_bounds(plan.mask)
    ring = max(RIM, min(64, sum(selected.size) // 8))
    # All that the layer depends on: the selection and the ring around it, not the crop.
    part = selected.pad(ring).intersect(Bounds.of_size(plan.crop.size))
    mask, known = plan.mask[part.slices()], plan.known[part.slices()]
    truth = plan.image[part.slices()].astype(np.float32)
    painted = _at_canvas_scale(plan, image, part).astype(np.float32)
    outside = known & (mask == 0)
    if plan.request.color_match:
        painted = match_colours(painted, truth, outside)
    if plan.request.membrane:
        painted = painted + _membrane(truth - painted, mask, outside)
    # Nothing lies below where the document knows nothing: fading there would leave a transparent edge.
    share = np.where(known, feathered(mask, plan.request.feather), mask.astype(np.float32) / 255)
    alpha = np.floor(share * 255 + 0.5).astype(np.uint8)
    rgba = np.dstack([as_bytes(painted), alpha])
    rgba[alpha == 0] = 0
    inner = selected.relative_to(part)
    return selected.translate(plan.crop.x, plan.crop.y), np.ascontiguousarray(rgba[inner.slices()])


def _at_canvas_scale(plan: Plan, image: Pixels, part: Bounds) -> Pixels:
    across, down = plan.size.width / plan.crop.width, plan.size.height / plan.crop.height
    return resize(image, part.size, (part.left * across, part.top * down, part.right * across, part.bottom * down))


def _membrane(difference: Field, mask: Pixels, outside: np.ndarray) -> Field:
    """(h, w, 3) the differences on the rim just outside the mask, carried smoothly inwards."""
    rim = outside & (grown(np.where(mask > 0, 255, 0).astype(np.uint8), RIM) > 0)
    clamped = np.clip(difference, -STRONGEST_SHIFT, STRONGEST_SHIFT)
    return spread(clamped, rim.astype(np.float32))
