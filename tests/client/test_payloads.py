"""Pixels on their way between a program's memory and the wire."""

from __future__ import annotations

import pytest
from scumble.client.payloads import CHUNK, reorder


@pytest.mark.parametrize("length", [0, 4, CHUNK - 4, CHUNK, CHUNK + 8, 3 * CHUNK])
def test_red_and_blue_change_places_piece_by_piece(length: int) -> None:
    pixels = (bytes(range(256)) * (length // 256 + 1))[:length]
    turned = reorder(memoryview(bytearray(pixels)), "bgra")
    assert [turned[channel::4] for channel in range(4)] == [pixels[channel::4] for channel in (2, 1, 0, 3)]
    assert reorder(turned, "bgra") == pixels
    assert reorder(pixels, "rgba") is pixels
