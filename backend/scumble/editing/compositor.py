"""From a model's pictures to layers: back to canvas scale, colours and seam fitted, alpha inside the selection."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..protocol.geometry import Bounds
from ..protocol.messages import MAX_SEED, EditRequest
from .colour import match_colours
from .masks import feathered, tight_bounds, window
from .membrane import RIM, fit_seam
from .pixels import as_bytes, resize
from .plan import Pixels, Plan

WIDEST_RING = 64
"""Px around the selection from which colours are taken at most: further away, other things have other colours."""
_OF_THINGS = ("fill", "refine", "img2img", "txt2img")
"""The modes that may show a thing before a background; the others only continue what is there."""


class CompositedLayer(NamedTuple):
    """One layer: (h, w, 4) straight alpha at `bounds` on the canvas, and the seed that makes it alone again."""

    bounds: Bounds
    rgba: Pixels
    seed: int


def cuts_out(request: EditRequest) -> bool:
    """Whether the edit is to show a thing alone, cut out of a plain background."""
    return request.transparent and request.mode in _OF_THINGS


def composite(plan: Plan, images: list[Pixels]) -> list[CompositedLayer]:
    """A layer for each of the engine's (H, W, 3) pictures of the crop, at whatever scale.

    A layer has the bounds of the grown selection. Its alpha is at most the selection's (C1); where it is 0, so are the
    colours, which packs well and hides nothing.
    """
    selected = tight_bounds(plan.mask)
    bounds = selected.translate(plan.crop.x, plan.crop.y)
    first = plan.request.seed or 0
    return [
        CompositedLayer(bounds, _layer(plan, image, selected), (first + index) % (MAX_SEED + 1))
        for index, image in enumerate(images)
    ]


def _layer(plan: Plan, image: Pixels, selected: Bounds) -> Pixels:
    cutout = _cut_out(plan, image, selected) if cuts_out(plan.request) else None
    return _fitted(plan, image, selected) if cutout is None else cutout


def _cut_out(plan: Plan, image: Pixels, selected: Bounds) -> Pixels | None:
    """What stands before a plain background; it has colours of its own, and is not fitted to its surroundings."""
    from .cutout import cut_out  # brings OpenCV

    mask = plan.mask[selected.slices()]
    rgba = cut_out(_at_canvas_scale(plan, image, selected), mask > 0)
    if rgba is None:
        return None
    alpha = np.minimum(rgba[..., 3], mask)
    return _tidy(np.dstack([rgba[..., :3], alpha]))


def _fitted(plan: Plan, image: Pixels, selected: Bounds) -> Pixels:
    if not (plan.request.color_match or plan.request.membrane):
        return _tidy(np.dstack([_at_canvas_scale(plan, image, selected), _alpha(plan, selected)]))
    ring = max(RIM, min(sum(selected.size) // 8, WIDEST_RING))
    # All that a layer depends on: the selection and the ring around it, not the whole crop.
    part = selected.pad(ring).intersect(Bounds.of_size(plan.crop.size))
    mask, known = plan.mask[part.slices()], plan.known[part.slices()]
    painted = _at_canvas_scale(plan, image, part).astype(np.float32)
    truth = plan.image[part.slices()].astype(np.float32)
    if plan.request.color_match:
        painted = match_colours(painted, truth, known & (mask == 0))
    # From here on the rim is enough.
    near = selected.pad(RIM).intersect(part)
    inside = near.relative_to(part).slices()
    painted, truth, mask, known = painted[inside], truth[inside], mask[inside], known[inside]
    if plan.request.membrane:
        painted = fit_seam(painted, truth, mask > 0, known)
    return _tidy(np.dstack([as_bytes(painted)[selected.relative_to(near).slices()], _alpha(plan, selected)]))


def _alpha(plan: Plan, selected: Bounds) -> Pixels:
    mask = plan.mask[selected.slices()]
    if not plan.request.feather:
        return mask
    # A selection fades where the crop ends, but not where the canvas does, whichever of the two reaches further.
    canvas = Bounds.of_size(plan.request.canvas).translate(-plan.crop.x, -plan.crop.y)
    around = selected.pad(1).intersect(canvas.union(selected))
    faded = feathered(window(plan.mask, Bounds.of_size(plan.crop.size), around), plan.request.feather)
    # Nothing lies below where the document knows nothing: a fade there would leave a transparent edge.
    return np.where(plan.known[selected.slices()], as_bytes(faded[selected.relative_to(around).slices()] * 255), mask)


def _tidy(rgba: Pixels) -> Pixels:
    rgba = np.ascontiguousarray(rgba)
    rgba.view(np.uint32)[rgba[..., 3] == 0] = 0
    return rgba


def _at_canvas_scale(plan: Plan, image: Pixels, part: Bounds) -> Pixels:
    across, down = image.shape[1] / plan.crop.width, image.shape[0] / plan.crop.height
    return resize(image, part.size, (part.left * across, part.top * down, part.right * across, part.bottom * down))
