"""Which image the panel follows."""

from __future__ import annotations

from scumble.protocol.geometry import Bounds, Size
from scumble_gimp.follow import followed

PLAIN = (Size(10, 10), None, False)
SELECTED = (Size(10, 10), Bounds(1, 1, 2, 2), False)


def test_the_image_that_changes_is_followed() -> None:
    assert followed(1, {1: PLAIN, 2: PLAIN}, {1: PLAIN, 2: SELECTED}) == 2
    assert followed(1, {1: PLAIN, 2: PLAIN}, {1: SELECTED, 2: SELECTED}) == 1
    assert followed(1, {1: PLAIN, 2: PLAIN}, {1: PLAIN, 2: PLAIN}) == 1


def test_new_and_closed_images() -> None:
    assert followed(1, {1: PLAIN}, {1: PLAIN, 2: PLAIN}) == 2
    assert followed(1, {}, {1: PLAIN, 2: PLAIN}) == 1
    assert followed(2, {1: PLAIN, 2: PLAIN}, {1: PLAIN}) == 1
    assert followed(1, {1: PLAIN}, {}) is None
    assert followed(None, {}, {3: PLAIN}) == 3
