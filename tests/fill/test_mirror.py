from __future__ import annotations

import numpy as np
import pytest
from scumble.fill.mirror import mirror_margins
from scumble.protocol.geometry import Bounds


def numbered(height, width):
    return np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("turns", range(4))
def test_the_far_side_of_a_hole_mirrors_its_near_side(turns):
    view = numbered(40, 100)
    hole = np.zeros((40, 100), bool)
    hole[:, 50:] = True  # known to 50; the tile ends at 80; what lies beyond it is shown from 50 backwards
    expected = view.copy()
    expected[:, 80:] = view[:, 30:50][:, ::-1]
    view, hole, expected = (np.ascontiguousarray(np.rot90(array, turns)) for array in (view, hole, expected))
    tile = [Bounds(20, 0, 60, 40), Bounds(0, 20, 40, 60), Bounds(20, 0, 60, 40), Bounds(0, 20, 40, 60)][turns]
    mirror_margins(view, hole, tile)
    np.testing.assert_array_equal(view, expected)
    assert np.count_nonzero(hole) == 40 * 30, "only the tile's own hole is left"


def test_what_is_known_is_not_mirrored_over():
    view = numbered(50, 50)
    hole = np.zeros((50, 50), bool)
    hole[20:30, 20:30] = True
    before = view.copy()
    mirror_margins(view, hole, Bounds(10, 10, 30, 30))
    np.testing.assert_array_equal(view, before)
    assert np.count_nonzero(hole) == 100


def test_a_picture_smaller_than_its_margin_is_mirrored_until_it_is_full():
    view = np.zeros((64, 64, 3), np.uint8)
    hole = np.ones((64, 64), bool)
    view[30:33, 31:33] = 9
    hole[30:33, 31:33] = False
    mirror_margins(view, hole, Bounds(31, 30, 2, 3))
    assert not hole.any()
    assert (view == 9).all()


def test_with_nothing_known_all_stays_a_hole():
    view, hole = np.zeros((30, 30, 3), np.uint8), np.ones((30, 30), bool)
    mirror_margins(view, hole, Bounds(10, 10, 10, 10))
    assert hole.all()
