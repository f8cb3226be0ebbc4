"""Buffers of the wire to arrays and back, and the one way pictures are resampled."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, WebPImagePlugin

from ..protocol.errors import BadRequest
from ..protocol.frames import pack, unpack
from ..protocol.geometry import Size
from ..protocol.messages import Buffer, Encoding, Role
from .plan import Pixels

Box = tuple[float, float, float, float]

_READERS = {"png": PngImagePlugin.PngImageFile, "webp": WebPImagePlugin.WebPImageFile}
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, OverflowError, IndexError, KeyError)


def decode(buffer: Buffer) -> Pixels:
    """The buffer's pixels: (h, w, 4) for rgba8 and rgba16, (h, w) for gray8. 16 bits are rounded to 8.

    Never decodes more than the width and height that the buffer names. Raises BadRequest where content and description
    disagree.
    """
    if buffer.encoding in _READERS:
        return _decode_file(buffer)
    raw = unpack(buffer)
    if buffer.format == "gray8":
        return np.frombuffer(raw, np.uint8).reshape(buffer.height, buffer.width)
    if buffer.format == "rgba8":
        return np.frombuffer(raw, np.uint8).reshape(buffer.height, buffer.width, 4)
    deep = np.frombuffer(raw, "<u2").reshape(buffer.height, buffer.width, 4)
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _decode_file(buffer: Buffer) -> Pixels:
    # The readers are named, not guessed: no other format's parser ever sees the data. They also leave out Pillow's own
    # limit on pixels, in whose place the comparison with the buffer's size stands.
    try:
        image = _READERS[buffer.encoding](io.BytesIO(buffer.data))
        if image.size != (buffer.width, buffer.height):
            raise BadRequest(f"A {buffer.encoding} buffer holds a picture of another size than it names.")
        return np.asarray(image.convert("L" if buffer.format == "gray8" else "RGBA"))
    except _DAMAGE:
        raise BadRequest(f"A buffer's {buffer.encoding} data is damaged.") from None


def encode(pixels: Pixels, role: Role, encoding: Encoding) -> Buffer:
    """A buffer of (h, w), (h, w, 3) or (h, w, 4) pixels; colour is sent as rgba8, opaque where alpha is missing."""
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = opaque(pixels)
    height, width = pixels.shape[:2]
    format = "gray8" if pixels.ndim == 2 else "rgba8"
    if encoding in ("raw", "zlib"):
        return pack(role, width, height, format, np.ascontiguousarray(pixels).tobytes(), encoding)
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    if encoding == "png":
        image.save(file, "PNG", compress_level=1)
    else:
        image.save(file, "WEBP", lossless=True, exact=True, method=0)
    return Buffer(role, width, height, format, encoding, file.getvalue())  # type: ignore[arg-type]


def resize(pixels: Pixels, size: Size, box: Box | None = None) -> Pixels:
    """`box` (left, top, right, bottom in px, default all) of (h, w, 3) pixels, resampled onto `size`, corner to corner.

    Lanczos, widened when shrinking so that nothing aliases; the same array when nothing changes.
    """
    whole = (0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))
    box = box or whole
    if (box[2] - box[0], box[3] - box[1]) == tuple(size) and all(float(edge).is_integer() for edge in box):
        left, top = int(box[0]), int(box[1])
        return pixels[top : top + size.height, left : left + size.width]
    return np.asarray(Image.fromarray(pixels).resize((size.width, size.height), Image.Resampling.LANCZOS, box))


def stretched(pixels: Pixels, size: Size) -> Pixels:
    """(h, w, 3) pixels without any detail, enlarged: bilinear, corner to corner."""
    return np.asarray(Image.fromarray(pixels).resize((size.width, size.height), Image.Resampling.BILINEAR))


def colours(pixels: Pixels) -> Pixels:
    """(h, w, 3) of (h, w, 4) pixels, without gaps in memory: Pillow is many times quicker at that than numpy."""
    return np.asarray(Image.fromarray(pixels).convert("RGB"))


def opaque(pixels: Pixels) -> Pixels:
    """(h, w, 4) of (h, w, 3)."""
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def on_paper(pixels: Pixels, paper: int = 255) -> Pixels:
    """(h, w, 3) of (h, w, 4), over an even grey of 0..255."""
    alpha = pixels[..., 3:].astype(np.uint16)
    if (alpha == 255).all():
        return pixels[..., :3]
    covered: Pixels = ((pixels[..., :3] * alpha + paper * (255 - alpha) + 127) // 255).astype(np.uint8)
    return covered


def as_bytes(values: NDArray[np.floating]) -> Pixels:
    """Rounded to the nearest of 0..255."""
    rounded: Pixels = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return rounded


def mixed(below: Pixels, above: Pixels, share: Pixels) -> Pixels:
    """(h, w, 3) pixels, from `below` where the (h, w) share is 0 to `above` where it is 255."""
    images = (Image.fromarray(np.ascontiguousarray(part)) for part in (above, below, share))
    return np.asarray(Image.composite(*images))
