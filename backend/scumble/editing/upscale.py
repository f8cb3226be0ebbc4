"""The plan of an upscale: the whole picture at a multiple of its size, in windows over all of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from ..protocol.errors import BadRequest
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import EditRequest, replace
from .masks import covered, window
from .passes import windows
from .pixels import resize
from .plan import Pixels, Plan, Source, Traits
from .prefill import continue_smoothly

MOST_ENLARGED = 4
"""Times as large as its result a picture is painted at most."""


def plan_upscale(request: EditRequest, source: Source, traits: Traits) -> Plan:
    """The crop, in px of the enlarged canvas, is all of it. A model with a prompt is given the enlarged picture and paints
    it over by the request's strength; one without enlarges by itself and is given the picture as it is.

    What is transparent stays so: the enlarged alpha is the mask. Raises BadRequest where all is.
    """
    canvas = Bounds.of_size(request.canvas)
    sent = window(source.image, request.image, canvas)
    alpha = sent[..., 3]
    if not alpha.any():
        raise BadRequest("There is nothing to enlarge: the picture is empty.", "Paint something first.")
    larger = Size(canvas.width * request.factor, canvas.height * request.factor)
    colour = sent[..., :3]
    if alpha.min() < 255:
        colour = continue_smoothly(colour, alpha.astype(np.float32) / 255)
    zoom = _zoom(larger, traits) if traits.prompt else 1
    work = resize(colour, Size(larger.width * zoom, larger.height * zoom)) if traits.prompt else colour
    # What is missing to the model's grid continues the picture's edge, and is cut off again.
    missing = [(0, -side % traits.multiple) for side in work.shape[:2]]
    work = np.pad(work, [*missing, (0, 0)], mode="edge")
    size = Size(work.shape[1], work.shape[0])
    scale = 1 if traits.prompt else request.factor
    crop = Bounds(0, 0, size.width * scale // zoom, size.height * scale // zoom)
    mask = np.zeros((crop.height, crop.width), np.uint8)
    mask[: larger.height, : larger.width] = _enlarged(alpha, larger)
    work_mask = covered(mask, size)
    controls = tuple(
        dataclasses.replace(control, image=Bounds(*(value * request.factor for value in control.image)))
        for control in request.controls
    )
    return Plan(
        # There are no surroundings to fit colours to.
        request=replace(request, color_match=False, membrane=False, feather=0, controls=controls),
        crop=crop,
        image=resize(work, crop.size),
        known=np.ones(mask.shape, np.bool_),
        mask=mask,
        size=size,
        work_image=work,
        work_mask=work_mask,
        tiles=windows(work_mask, traits),
        controls=tuple(
            _enlarged(sent, control.image.size) for sent, control in zip(source.controls, controls, strict=True)
        ),
        adapters=source.adapters,
        references=source.references,
        # Of the picture without what was added to it: less than a multiple lies beyond.
        regions=tuple(
            window(sent, region.mask, canvas) for sent, region in zip(source.regions, request.regions, strict=True)
        ),
    )


def _zoom(size: Size, traits: Traits) -> int:
    """How many times larger than the result (1, 2 or 4: both keep to the model's grid) it is painted: models make nothing
    of a picture far below their own size, or of a narrow strip."""
    zoom = 1
    while zoom < MOST_ENLARGED and (
        size.area * (2 * zoom) ** 2 <= traits.native**2 or min(size) * 2 * zoom <= traits.least
    ):
        zoom *= 2
    return zoom


def _enlarged(pixels: Pixels, size: Size) -> Pixels:
    """Not by Lanczos: in masks and drawings its overshoots would be a faint second outline around every shape."""
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
