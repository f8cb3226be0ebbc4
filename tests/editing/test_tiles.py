from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scumble.editing.membrane import STRONGEST_SHIFT
from scumble.editing.plan import Traits
from scumble.editing.tiles import TiledPicture, order_tiles
from scumble.protocol.geometry import Bounds

from .pictures import photo
from .test_planner import FILL

SMALL = Traits(native=128, multiple=1, max_area=1 << 20, prompt=False, reach=40)


@st.composite
def holes(draw):
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    mask = np.zeros((height, width), np.uint8)
    for _ in range(draw(st.integers(1, 3))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[y : y + draw(st.integers(1, 300)), x : x + draw(st.integers(1, 300))] = draw(st.sampled_from([1, 255]))
    return mask


@given(holes())
@settings(max_examples=60, deadline=None)
def test_tiles_cover_the_hole_inside_the_picture_and_each_paints_something(mask):
    remaining = mask > 0
    for tile in order_tiles(mask, SMALL):
        assert Bounds(0, 0, mask.shape[1], mask.shape[0]).contains(tile)
        assert remaining[tile.slices()].any()
        remaining[tile.slices()] = False
    assert not remaining.any()


@pytest.mark.timeout(20)  # there was no end to it
def test_scattered_specks_are_all_painted_in_a_picture_that_is_no_whole_number_of_cells():
    mask = np.zeros((465, 557), np.uint8)
    rows = [80, 63, 20, 74, 275, 248, 23, 395, 367, 202, 202, 405, 339, 417]
    mask[rows, [19, 113, 339, 14, 370, 331, 414, 54, 4, 540, 177, 268, 304, 300]] = 255
    remaining = mask > 0
    for tile in order_tiles(mask, FILL):
        assert remaining[tile.slices()].any()
        remaining[tile.slices()] = False
    assert not remaining.any()


def test_a_small_hole_in_a_large_picture_is_one_tile_around_it():
    mask = np.zeros((300, 300), np.uint8)
    mask[140:170, 120:150] = 255
    (tile,) = order_tiles(mask, SMALL)
    centre = np.array([tile.x + tile.width / 2, tile.y + tile.height / 2])
    assert np.abs(centre - (135, 155)).max() <= 16


def test_an_outpaint_goes_outwards_from_what_is_known():
    mask = np.zeros((80, 400), np.uint8)
    mask[:, 100:] = 255
    tiles = order_tiles(mask, SMALL)
    lefts = [tile.left for tile in tiles]
    assert lefts == sorted(lefts)
    assert len(tiles) <= 8
    known = mask == 0
    for tile in tiles:
        view = tile.pad(24).intersect(Bounds(0, 0, 400, 80))
        assert known[view.slices()].mean() > 0.15
        known[tile.slices()] = True


@given(holes(), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_nothing_outside_the_mask_is_painted_and_all_of_it_is(mask, seed):
    image = photo(mask.shape[1], mask.shape[0], seed) // 4
    picture = TiledPicture(image, mask)
    for tile in order_tiles(mask, SMALL):
        view = Bounds(tile.x - 20, tile.y - 20, tile.width + 40, tile.height + 40)
        shown, hole = picture.look(tile, view)
        assert hole[tile.relative_to(view).slices()].any()
        picture.paste(tile, view, np.full_like(shown, 200))
    np.testing.assert_array_equal(picture.image[mask == 0], image[mask == 0])
    assert picture.image[mask > 0].min() >= 200 - STRONGEST_SHIFT - 1, "what was there shines through"


def test_tiles_of_different_tints_meet_without_a_step():
    truth = np.full((80, 400, 3), 120, np.uint8)
    mask = np.full((80, 400), 255, np.uint8)
    mask[:, :100] = 0
    picture = TiledPicture(truth, mask)
    for index, tile in enumerate(order_tiles(mask, SMALL)):
        view = Bounds(tile.x - 24, tile.y - 24, tile.width + 48, tile.height + 48)
        painted = np.full((view.height, view.width, 3), 120 + (15 if index % 2 else -15), np.uint8)
        picture.paste(tile, view, painted)
    assert np.abs(np.diff(picture.image[..., 0].astype(int), axis=1)).max() <= 3
