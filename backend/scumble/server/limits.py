"""The server's caps and the agreement of a submit's parts, looked at before any pixel is decoded. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol.errors import BadRequest, TooLarge
from ..protocol.frames import BYTES_PER_PIXEL
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import Buffer, EditRequest, Limits

FORMATS = {
    "image": ("rgba8", "rgba16"),
    "mask": ("gray8",),
    "control": ("rgba8", "rgba16"),
    "region": ("gray8",),
    "reference": ("rgba8", "rgba16"),
}


def check_submit(request: EditRequest, buffers: Sequence[Buffer], limits: Limits) -> None:
    """Raises TooLarge for what is above a cap, BadRequest for buffers that do not fit the request."""
    area = request.image if request.mask is None else request.image.union(request.mask)
    if request.mode == "upscale":
        _check_upscale(request, limits)
    for name, sides in (("document", request.canvas), ("edit", area.size)):
        if max(sides) > limits.max_side:
            raise TooLarge(f"The {name} is longer than {limits.max_side} pixels on a side.")
    if area.area > limits.max_pixels:
        raise TooLarge(f"The edit covers more than {limits.max_pixels} pixels.")
    if request.count > limits.max_count:
        raise TooLarge(f"More than {limits.max_count} images are asked for.", "Ask for fewer images at once.")
    if _returned(request) * BYTES_PER_PIXEL["rgba8"] * request.count > limits.max_frame_bytes:
        # No client takes a longer message: it would connect and be sent the result again and again.
        hint = "Ask for fewer images at once." if request.count > 1 else ""
        raise TooLarge("The result would be more than can be sent in one piece.", hint)
    if (request.steps or 0) > limits.max_steps:
        raise TooLarge(f"More than {limits.max_steps} steps are asked for.", "Choose fewer steps.")
    prompts = [request.prompt, request.negative, *(region.prompt for region in request.regions)]
    if max(map(len, prompts)) > limits.max_prompt:
        raise TooLarge(f"The prompt is longer than {limits.max_prompt} characters.", "Shorten the prompt.")
    if len(request.loras) > limits.max_loras or len(request.controls) > limits.max_controls:
        most = f"{limits.max_loras} LoRAs and {limits.max_controls} controls"
        raise TooLarge(f"An edit takes at most {most}.", "Take some away.")
    if any(control.image.area > limits.max_pixels for control in request.controls):
        raise TooLarge(f"A control covers more than {limits.max_pixels} pixels.")
    if len(request.regions) > limits.max_regions:
        raise TooLarge(f"An edit takes at most {limits.max_regions} regions.", "Take some away.")
    if any(region.mask.area > limits.max_pixels for region in request.regions):
        raise TooLarge(f"A region covers more than {limits.max_pixels} pixels.")
    if len(request.references) > limits.max_references:
        raise TooLarge(f"An edit takes at most {limits.max_references} references.", "Take some away.")
    if any(reference.size.area > limits.max_pixels for reference in request.references):
        raise TooLarge(f"A reference covers more than {limits.max_pixels} pixels.")
    sizes = [
        request.image.size,
        *([request.mask.size] if request.mask else []),
        *(control.image.size for control in request.controls),
        *(region.mask.size for region in request.regions),
        *(reference.size for reference in request.references),
    ]
    for buffer, size in zip(buffers, sizes, strict=True):  # frames.roles_of has seen to their order
        _check_buffer(buffer, size)


def _returned(request: EditRequest) -> int:
    """The most pixels that one image of the result can have."""
    canvas = Bounds.of_size(request.canvas)
    if request.mode == "upscale":
        return canvas.area * request.factor**2
    if request.mask is None:
        return canvas.area
    return request.mask.pad(request.grow).intersect(canvas.union(request.mask)).area


def _check_upscale(request: EditRequest, limits: Limits) -> None:
    if request.mask is not None:
        raise BadRequest("An upscale takes the whole picture, not a selection.", "Select nothing.")
    width, height = (side * request.factor for side in request.canvas)
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise TooLarge(f"The picture would become {width} x {height} pixels.", "Choose a smaller factor.")


def _check_buffer(buffer: Buffer, size: Size) -> None:
    if (buffer.width, buffer.height) != size:
        raise BadRequest(f"The {buffer.role} is not of the size that the request names.")
    if buffer.format not in FORMATS[buffer.role]:
        raise BadRequest(f"The {buffer.role} is not in a format that can be used.")
