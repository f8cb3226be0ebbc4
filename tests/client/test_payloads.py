"""Pixels on their way between a program's memory and the wire."""

from __future__ import annotations

import pytest
from scumble.client.ledger import Draft
from scumble.client.payloads import CHUNK, reorder, to_payload
from scumble.protocol.frames import decode, unpack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest, Limits, Region, Submit


@pytest.mark.parametrize("length", [0, 4, CHUNK - 4, CHUNK, CHUNK + 8, 3 * CHUNK])
def test_red_and_blue_change_places_piece_by_piece(length: int) -> None:
    pixels = (bytes(range(256)) * (length // 256 + 1))[:length]
    turned = reorder(memoryview(bytearray(pixels)), "bgra")
    assert [turned[channel::4] for channel in range(4)] == [pixels[channel::4] for channel in (2, 1, 0, 3)]
    assert reorder(turned, "bgra") == pixels
    assert reorder(pixels, "rgba") is pixels


def test_the_mask_of_a_region_may_lie_among_the_pixels_of_its_layer() -> None:
    size = Size(1024, CHUNK // 1024 + 1)
    whole = Bounds.of_size(size)
    alpha = (bytes(range(251)) * (size.area // 251 + 1))[: size.area]
    layer = bytearray(b"\x07" * (4 * size.area))
    layer[3::4] = alpha
    request = EditRequest("txt2img", size, Bounds(0, 0, 1, 1), regions=(Region("a star", whole),))
    draft = Draft(Submit("0" * 32, request), bytes(4), None, regions=(memoryview(layer)[3::4],))
    message, (_, region) = decode(b"".join(to_payload(draft, Limits())))
    assert isinstance(message, Submit)
    assert unpack(region) == alpha
