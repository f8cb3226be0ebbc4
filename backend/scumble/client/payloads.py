"""Between what the client knows (drafts, raw pixels) and what the websocket carries. Called on the client's threads only:
packing and unpacking take their time."""

from __future__ import annotations

import io
from typing import List, Literal, Sequence, Tuple, Union

from ..protocol.errors import TooLarge
from ..protocol.frames import encode, encode_parts, pack, unpack
from ..protocol.geometry import Size
from ..protocol.messages import Buffer, Limits, Message
from .document import Pixels
from .ledger import Draft, Item

Order = Literal["rgba", "bgra"]
"""Of the bytes of a pixel in the client's program; on the wire it is rgba."""
CHUNK = 1 << 20
"""Bytes that are turned round in one go: the interpreter's lock is held for a millisecond, so that a painting program's
own Python goes on."""


def to_text(message: Message) -> str:
    """The payload of a message that carries no pixels."""
    payload = encode(message)
    return payload if isinstance(payload, str) else payload.decode()


def to_payload(item: Item, limits: Limits, order: Order = "rgba") -> Union[str, List[bytes]]:
    """A text, or the pieces of a binary message.

    Raises TooLarge when the backend would close the connection over it.
    """
    if not isinstance(item, Draft):
        return to_text(item)
    request = item.submit.request
    sizes = (
        request.image.size,
        request.mask.size if request.mask else Size(0, 0),
        *(control.image.size for control in request.controls),
        *(region.mask.size for region in request.regions),
        *(reference.size for reference in request.references),
    )
    for size in sizes:
        if size.area > limits.max_pixels:
            raise TooLarge("The selected area has more pixels than the backend takes.")
    # On loopback raw is quickest; masks are mostly even, so that packing them costs next to nothing.
    buffers = [pack("image", request.image.width, request.image.height, "rgba8", reorder(item.image, order))]
    if item.mask is not None and request.mask is not None:
        buffers.append(pack("mask", request.mask.width, request.mask.height, "gray8", item.mask, "zlib"))
    for control, pixels in zip(request.controls, item.controls):
        buffers.append(pack("control", control.image.width, control.image.height, "rgba8", reorder(pixels, order)))
    for region, pixels in zip(request.regions, item.regions):
        buffers.append(pack("region", region.mask.width, region.mask.height, "gray8", _gathered(pixels), "zlib"))
    for reference, pixels in zip(request.references, item.references):
        buffers.append(pack("reference", *reference.size, "rgba8", reorder(pixels, order)))
    pieces = encode_parts(item.submit, buffers)
    if sum(map(len, pieces)) > limits.max_frame_bytes:
        raise TooLarge("The selected area is larger than the backend takes in one piece.")
    return pieces


def to_raw(buffers: Sequence[Buffer], order: Order = "rgba") -> Tuple[Buffer, ...]:
    """The same buffers with raw pixels in this order, where the standard library can unpack them. Raises BadRequest."""
    return tuple(
        Buffer(buffer.role, buffer.width, buffer.height, buffer.format, "raw", _raw(buffer, order))
        if buffer.encoding in ("raw", "zlib")
        else buffer
        for buffer in buffers
    )


def _raw(buffer: Buffer, order: Order) -> bytes:
    pixels = unpack(buffer)
    return reorder(pixels, order) if buffer.format == "rgba8" else pixels


def _gathered(mask: Pixels) -> bytes:
    """A mask whose bytes may lie apart, piece by piece for the reason of `reorder`."""
    return b"".join(bytes(mask[start : start + CHUNK]) for start in range(0, len(mask), CHUNK))


def reorder(pixels: Pixels, order: Order) -> bytes:
    """From rgba8 to this order, or back. Each piece goes where it belongs at once: copying 64 MiB in one go would hold the
    interpreter's lock, and with it a painting program's window, for a twentieth of a second."""
    if order == "rgba":
        return bytes(pixels)
    view = memoryview(pixels)
    turned = io.BytesIO(bytes(len(view)))  # the bytes have no other owner, so that writing and reading copy nothing
    for start in range(0, len(view), CHUNK):
        piece = bytearray(view[start : start + CHUNK])
        piece[0::4], piece[2::4] = piece[2::4], piece[0::4]
        turned.write(piece)
    return turned.getvalue()
