from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scumble.editing.masks import covered, depth, feathered, grown, tight_bounds, window
from scumble.protocol.geometry import Bounds, Size

from .pictures import disc


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    dense = draw(st.sampled_from([0.02, 0.3, 0.9, 1.0]))
    values = random.integers(1, 256, (height, width)) if draw(st.booleans()) else np.full((height, width), 255)
    return np.where(random.random((height, width)) < dense, values, 0).astype(np.uint8)


@given(masks())
@settings(max_examples=60, deadline=None)
def test_tight_bounds_hold_all_and_nothing_more(mask):
    bounds = tight_bounds(mask)
    outside = mask.copy()
    outside[bounds.slices()] = 0
    assert not outside.any()
    inside = mask[bounds.slices()]
    assert bounds.is_empty == (not mask.any())
    if not bounds.is_empty:
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


@given(masks(), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_grown_is_the_largest_value_within_the_radius(mask, radius):
    expected = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        yy, xx = np.ogrid[: mask.shape[0], : mask.shape[1]]
        near = (yy - y) ** 2 + (xx - x) ** 2 <= radius**2
        expected[near] = np.maximum(expected[near], mask[y, x])
    np.testing.assert_array_equal(grown(mask, radius), expected)


@given(masks(), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_depth_is_the_euclidean_distance_to_the_outside(mask, limit):
    inside = mask > 0
    outside = np.argwhere(~inside)
    expected = np.full(mask.shape, float(limit))
    for y, x in np.ndindex(*mask.shape):
        if outside.size:
            expected[y, x] = min(limit, np.hypot(*(outside - (y, x)).T).min())
    np.testing.assert_allclose(depth(inside, limit), expected, atol=1e-4)


@given(masks(), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_feather_never_rises_above_the_mask_and_keeps_its_core(mask, width):
    share = feathered(mask, width)
    assert (share <= mask / 255 + 1e-6).all()
    way = depth(mask > 0, width + 1)
    deep = way == way.max()  # nowhere fainter than the mask where it is deepest, however wide the feather
    np.testing.assert_allclose(share[deep], mask[deep] / 255, atol=1e-6)
    if width == 0:
        np.testing.assert_allclose(share, mask / 255, atol=1e-6)


def test_a_wide_feather_takes_no_longer_than_a_narrow_one():
    mask = disc(800)

    def seconds(width: int) -> float:
        start = time.process_time()
        feathered(mask, width)
        return time.process_time() - start

    seconds(1)  # brings OpenCV
    assert seconds(300) < 0.1 + 5 * seconds(3)


def test_a_feather_is_a_smoothstep_of_the_distance():
    mask = np.zeros((1, 40), np.uint8)
    mask[0, 10:] = 255
    way = np.arange(1, 9) / 9
    np.testing.assert_allclose(feathered(mask, 8)[0, 10:18], 3 * way**2 - 2 * way**3, atol=1e-6)
    assert feathered(mask, 8)[0, 39] == 1, "the picture's edge is no edge of the selection"


def test_a_feather_wider_than_the_selection_leaves_its_middle():
    mask = np.zeros((220, 220), np.uint8)
    mask[10:210, 10:210] = 255
    share = feathered(mask, 400)
    assert share[110, 110] == 1
    assert share.mean() > 0.25
    assert share[10, 110] < 0.001
    assert (np.diff(share[110, 9:110]) >= 0).all()


@given(masks(), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=80, deadline=None)
def test_covered_loses_nothing_at_any_scale(mask, width, height):
    result = covered(mask, Size(width, height))
    down, across = height / mask.shape[0], width / mask.shape[1]
    for y, x in np.ndindex(height, width):
        rows = slice(int(np.floor(y / down + 1e-9)), int(np.ceil((y + 1) / down - 1e-9)))
        columns = slice(int(np.floor(x / across + 1e-9)), int(np.ceil((x + 1) / across - 1e-9)))
        assert result[y, x] == mask[rows, columns].max()


@given(masks(), *[st.integers(-30, 30)] * 2, *[st.integers(1, 40)] * 2)
@settings(max_examples=60, deadline=None)
def test_a_window_shows_what_lies_there_and_zeros_beyond(mask, x, y, width, height):
    lies_at = Bounds(3, -4, mask.shape[1], mask.shape[0])
    canvas = np.zeros((120, 120), np.uint8)
    canvas[lies_at.translate(50, 50).slices()] = mask
    wanted = Bounds(x, y, width, height)
    np.testing.assert_array_equal(window(mask, lies_at, wanted), canvas[wanted.translate(50, 50).slices()])
