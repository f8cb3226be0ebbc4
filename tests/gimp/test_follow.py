"""Which image the panel follows, and where everything goes when a canvas changes."""

from __future__ import annotations

from scumble.protocol.geometry import Bounds, Size
from scumble_gimp.follow import followed
from scumble_gimp.placement import shift_between

PLAIN = (Size(10, 10), None, False)
SELECTED = (Size(10, 10), Bounds(1, 1, 2, 2), False)
BASE = Bounds(0, 0, 100, 80)


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


def test_resized_canvas_moves_all_layers() -> None:
    before = {1: BASE, 2: Bounds(5, 5, 10, 10)}
    assert shift_between(before, {1: BASE.translate(20, 0), 2: Bounds(25, 5, 10, 10)}) == (20, 0)
    assert shift_between(before, {1: BASE.translate(20, 0), 3: BASE}) == (20, 0)


def test_unknown_where_layers_disagree_or_change() -> None:
    before = {1: BASE, 2: Bounds(5, 5, 10, 10)}
    assert shift_between(before, {1: BASE, 2: Bounds(25, 5, 10, 10)}) is None
    assert shift_between(before, {1: Bounds(0, 0, 50, 40), 2: Bounds(2, 2, 5, 5)}) is None
    assert shift_between(before, {}) is None
