"""From a request to a plan: which part of the canvas a model sees, at what scale, with what under the mask."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..protocol.errors import BadRequest
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import EditRequest
from .masks import covered, grown, tight_bounds, window
from .passes import KEEPS_COMPOSITION, refined_size, refinement, windows
from .pixels import colours, on_paper, opaque, resize
from .plan import Pixels, Plan, Source, Traits
from .prefill import choose_prefill, continue_smoothly, prefill
from .tiles import order_tiles
from .upscale import plan_upscale

LEAST_CONTEXT = 32
"""Px of surroundings that a model sees around a selection at least, where the canvas has them."""
MOST_ZOOM = 4.0
"""Px of the model for one of the canvas at most: pictures enlarged further show a model nothing more."""
WIDEN_UPTO = 1.5
"""A crop that could be enlarged by up to this factor is widened instead, so that nothing is resampled."""
SHOWS = 0.9
"""What is at least this share as opaque as anything that the model sees has colours of its own: layers may be faint."""


def plan_edit(request: EditRequest, source: Source, traits: Traits) -> Plan:
    """The whole decision of an edit; its cost follows the selection and its context, not the canvas.

    Raises BadRequest where nothing is selected and where buffers and request disagree.
    """
    _check_sizes(request, source)
    traits = at_resolution(traits, request.resolution)
    if request.mode == "upscale":
        return plan_upscale(request, source, traits)
    selection, lies_at = _selection(request, source.mask)
    crop, size, large = _frame(request, lies_at, traits)
    sent = window(source.image, request.image, crop)
    from_nothing = traits.prompt and (request.strength == 1 or request.mode == "txt2img") and not sent[..., 3].any()
    if from_nothing and request.mask:
        # Surroundings that are not there would be shown as grey, and what is painted would look as if in fog.
        crop, size, large = _frame(replace(request, context=0), lies_at, traits)
        sent = window(source.image, request.image, crop)
    mask = window(selection, lies_at, crop)
    painted = np.full_like(mask, 255) if from_nothing else mask
    fill = choose_prefill(request)
    if fill == "none" and sent[..., 3].min() < 255:
        # A drawing that lies on nothing is seen on paper: continued, its black lines would make all of it black.
        paper = Bounds.of_size(request.canvas).intersect(request.image).intersect(crop).relative_to(crop).slices()
        sent = sent.copy()
        sent[paper] = opaque(on_paper(sent[paper]))
    alpha = sent[..., 3]
    known = alpha >= max(SHOWS * alpha.max(), 1)
    image = colours(sent)
    if alpha.min() < 255:
        image = continue_smoothly(image, alpha.astype(np.float32) / 255)
    work_mask = covered(painted, size)
    work_known = covered(np.where(known, 0, 255).astype(np.uint8), size) == 0
    # Below full strength only what nobody knows is replaced: the rest is what the artist wants to keep in part.
    replaced = work_mask if request.strength == 1 else np.where(work_known, 0, work_mask).astype(np.uint8)
    return Plan(
        request=request,
        crop=crop,
        image=image,
        known=known,
        mask=mask,
        size=size,
        work_image=prefill(resize(image, size), work_known, replaced, fill),
        work_mask=work_mask,
        tiles=windows(work_mask, traits) if traits.prompt else order_tiles(work_mask, traits),
        refinement=refinement(image, known, painted, large, traits) if large else None,
        controls=source.controls,
        regions=_regions(request, source, lies_at, crop),
        adapters=source.adapters,
        references=source.references,
    )


def _check_sizes(request: EditRequest, source: Source) -> None:
    if source.image.shape != (request.image.height, request.image.width, 4):
        raise BadRequest("The picture that was sent is not of the size that the request names.")
    if (source.mask is None) != (request.mask is None):
        raise BadRequest("The request and its selection do not go together.")
    if request.mask and source.mask is not None and source.mask.shape != (request.mask.height, request.mask.width):
        raise BadRequest("The selection that was sent is not of the size that the request names.")
    if [mask.shape for mask in source.regions] != [
        (region.mask.height, region.mask.width) for region in request.regions
    ]:
        raise BadRequest("The regions that were sent are not those that the request names.")
    sent = [pixels.shape for pixels in source.controls]
    if sent != [(control.image.height, control.image.width, 4) for control in request.controls]:
        raise BadRequest("The controls that were sent are not those that the request names.")
    sent = [pixels.shape for pixels in source.references]
    if sent != [(reference.size.height, reference.size.width, 4) for reference in request.references]:
        raise BadRequest("The references that were sent are not those that the request names.")


def _regions(request: EditRequest, source: Source, selected: Bounds, crop: Bounds) -> tuple[Pixels, ...]:
    """The regions' masks in the crop. What the crop has beyond the canvas only to suit the model belongs to them as far as
    they reach the edge: with the edit's prompt there, this would be predicted besides, and its tint come in."""
    seen = crop.intersect(Bounds.of_size(request.canvas).intersect(request.image).union(selected))
    beyond = ((seen.top - crop.top, crop.bottom - seen.bottom), (seen.left - crop.left, crop.right - seen.right))
    return tuple(
        np.pad(window(sent, region.mask, seen), beyond, mode="edge")
        for region, sent in zip(request.regions, source.regions, strict=True)
    )


def _selection(request: EditRequest, mask: Pixels | None) -> tuple[Pixels, Bounds]:
    """The grown mask, cut to where it is above 0, and where that lies. Without a mask: the whole canvas."""
    if request.mask is None or mask is None:
        canvas = Bounds.of_size(request.canvas)
        return np.full((canvas.height, canvas.width), 255, np.uint8), canvas
    tight = tight_bounds(mask)
    if tight.is_empty:
        raise BadRequest("Nothing is selected.", "Select what to change.")
    selected = tight.translate(request.mask.x, request.mask.y)
    # A selection grows up to the canvas's edge; beyond it only where it was drawn beyond.
    reach = selected.pad(request.grow).intersect(Bounds.of_size(request.canvas).union(selected))
    around = selected.pad(request.grow)
    larger = grown(window(mask[tight.slices()], selected, around), request.grow)
    return window(larger, around, reach), reach


def at_resolution(traits: Traits, resolution: int | None) -> Traits:
    """The traits with the artist's choice of size (px, see EditRequest) in place of what the model was trained on.

    A second pass would overrule the choice, so there is none. A model without a prompt keeps its view, of one size only:
    what it gets to see through it becomes larger or smaller.
    """
    if resolution is None:
        return traits
    side = max(resolution // traits.multiple, 1) * traits.multiple
    if not traits.prompt:
        return replace(traits, max_area=side**2)
    return replace(traits, native=side, max_area=side**2 * traits.max_area // traits.native**2, refine_area=0)


def _frame(request: EditRequest, selected: Bounds, traits: Traits) -> tuple[Bounds, Size, Size | None]:
    """The crop, the size of the model's picture of it, and that of a second pass where there is one."""
    crop, size = choose_crop(request, selected, traits)
    large = refined_size(crop.size, size, traits)
    if large is None:
        return crop, size, None
    if request.mode != "txt2img" and request.strength <= KEEPS_COMPOSITION:
        return *choose_crop(request, selected, replace(traits, max_area=traits.refine_area)), None
    # What a second pass enlarges is best composed at the very size that the model was trained on.
    crop, size = choose_crop(request, selected, replace(traits, max_area=traits.native**2))
    return crop, size, refined_size(crop.size, size, traits)


def choose_crop(request: EditRequest, selected: Bounds, traits: Traits) -> tuple[Bounds, Size]:
    """What of the canvas the model sees for a selection with these bounds, and the size of the model's picture of it.

    The crop holds the selection. It stays inside the part of the canvas that was sent (and the selection) as far as the
    model's constraints on sides let it. Both sides are scaled alike, to rounding; at scale 1 nothing is resampled.
    """
    sent = Bounds.of_size(request.canvas).intersect(request.image)
    region = sent.union(selected)
    if request.mask is None:
        context = 0
    elif request.context is not None:
        context = request.context
    else:
        context = max(max(selected.size) // 16, sum(selected.size) // 4, LEAST_CONTEXT)
    wanted = selected.pad(context).intersect(region)
    may_widen = request.mask is not None and request.context is None
    scale = _scale(wanted.size, traits, may_widen)
    if scale == 1:
        size = _native_size(wanted.size, region.size, traits) if may_widen else wanted.size
        size = Size(*(_round_up(max(side, traits.least), traits.multiple) for side in size))
        if size.area <= traits.max_area:
            return _place(wanted, size, region), size
        scale = math.sqrt(traits.max_area / size.area)
    return _scaled(wanted, scale, region, traits)


def _scale(wanted: Size, traits: Traits, may_widen: bool) -> float:
    """Px of the model for one of the canvas."""
    fitting = min(math.sqrt(traits.max_area / wanted.area), traits.max_area / traits.least / max(wanted))
    if fitting < 1:
        return fitting
    zoom = min(traits.native / math.sqrt(wanted.area), MOST_ZOOM, fitting)
    # A model without a prompt continues textures: enlarged ones would come out blurred.
    if zoom <= 1 or not traits.prompt or (may_widen and zoom <= WIDEN_UPTO):
        return 1
    return zoom


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _native_size(wanted: Size, region: Size, traits: Traits) -> Size:
    """The wanted size, widened within the region to the model's native area, as square as can be."""
    short, long = sorted(wanted)
    long = max(long, traits.native)
    short = max(short, traits.native**2 // long)
    width, height = (short, long) if wanted.width < wanted.height else (long, short)
    return Size(max(min(width, region.width), wanted.width), max(min(height, region.height), wanted.height))


def _scaled(wanted: Bounds, scale: float, region: Bounds, traits: Traits) -> tuple[Bounds, Size]:
    sides = [max(round(side * scale / traits.multiple) * traits.multiple, traits.least) for side in wanted.size]
    while sides[0] * sides[1] > traits.max_area and max(sides) > traits.least:
        sides[sides.index(max(sides))] -= traits.multiple
    size = Size(*sides)
    exact = min(size.width / wanted.width, size.height / wanted.height, MOST_ZOOM)
    crop = Size(*(round(side / exact) for side in size))
    return _place(wanted, crop, region), size


def _place(wanted: Bounds, size: Size, region: Bounds) -> Bounds:
    """Bounds of this size around `wanted`, inside the region where they fit, else around its middle."""

    def along(start: int, length: int, side: int, low: int, room: int) -> int:
        if side >= room:
            return low - (side - room) // 2
        return min(max(start - (side - length) // 2, low), low + room - side)

    return Bounds(
        along(wanted.x, wanted.width, size.width, region.x, region.width),
        along(wanted.y, wanted.height, size.height, region.y, region.height),
        *size,
    )
