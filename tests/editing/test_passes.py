"""Crops above a model's size: composed small, refined at their own. C1 and C2 for both passes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scumble.editing.compositor import composite
from scumble.editing.masks import grown
from scumble.editing.passes import enlarged, refined_size, windows
from scumble.editing.pixels import resize
from scumble.editing.planner import plan_edit
from scumble.protocol.geometry import Bounds, Size

from .pictures import DIFFUSION, disc, photo, plan_of
from .test_compositor import edits

TWO_PASS = replace(DIFFUSION, refine_area=2048**2)
SMALL = replace(DIFFUSION, native=128, multiple=8, max_area=192**2, refine_area=512**2)


def test_a_large_crop_is_composed_at_native_size_and_refined_at_its_own():
    plan = plan_of(np.zeros((1500, 2000, 3), np.uint8), disc(700), (600, 400), TWO_PASS)
    assert 0.8 * 512**2 < plan.size.area <= 512**2
    assert plan.tiles == (Bounds.of_size(plan.size),)
    second = plan.refinement
    assert second is not None
    assert all(abs(side - own) <= 4 for side, own in zip(second.size, plan.crop.size, strict=True))
    assert second.image.shape == (second.size.height, second.size.width, 3)
    assert second.mask.shape == second.known.shape == second.image.shape[:2]
    assert len(second.tiles) > 1
    assert 0.3 <= second.strength <= 0.45


def test_a_crop_above_what_a_second_pass_may_see_is_refined_at_that():
    plan = plan_of(np.zeros((900, 1200, 3), np.uint8), None, traits=SMALL, mode="img2img", strength=0.8)
    assert plan.refinement is not None
    assert 0.97 * 512**2 < plan.refinement.size.area < 1.03 * 512**2


def test_at_low_strength_a_large_picture_is_its_own_composition():
    plan = plan_of(np.zeros((1200, 1600, 3), np.uint8), None, traits=TWO_PASS, mode="img2img", strength=0.5)
    assert plan.refinement is None
    assert plan.size == plan.crop.size == Size(1600, 1200)
    assert len(plan.tiles) > 1
    assert (
        plan_of(np.zeros((1200, 1600, 3), np.uint8), None, traits=TWO_PASS, mode="txt2img", strength=0.5).refinement
        is not None
    )


@pytest.mark.parametrize("side", [60, 300, 380])
def test_small_selections_zoom_in_and_need_one_pass(side):
    mask = np.full((side, side), 255, np.uint8)
    plan = plan_of(photo(1200, 1200), mask, (400, 400), TWO_PASS)
    assert plan.refinement is None
    assert 0.75 * 512**2 <= plan.size.area <= 768**2
    zoom = plan.size.width / plan.crop.width
    assert zoom > 3 if side <= 60 else zoom == 1


def test_a_model_without_a_second_pass_is_shown_one():
    assert plan_of(np.zeros((1500, 2000, 3), np.uint8), disc(700), (600, 400)).refinement is None
    assert refined_size(Size(600, 600), Size(512, 512), TWO_PASS) is None, "nothing to gain"


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1 << 20), st.sampled_from([TWO_PASS, SMALL]))
@settings(max_examples=100, deadline=None)
def test_windows_cover_the_mask_on_the_models_grid_and_overlap(across, down, seed, traits):
    width, height = across * 32, down * 32
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    mask[random.integers(height) :, random.integers(width) :] = 1
    tiles = windows(mask, traits)
    covers = np.zeros(mask.shape, np.uint8)
    for tile in tiles:
        assert Bounds(0, 0, width, height).contains(tile)
        assert tile.size.area <= max(traits.max_area, width * 8, height * 8)
        assert all(value % traits.multiple == 0 for value in tile)
        assert mask[tile.slices()].any()
        covers[tile.slices()] += 1
    assert covers[mask > 0].all()
    for axis in (0, 1):
        spans = sorted({(tile[axis], tile[axis] + tile[axis + 2]) for tile in tiles})
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end - start >= traits.native // 4


def test_the_second_pass_starts_with_the_document_outside_and_the_first_pass_inside():
    document = photo(1500, 1500)
    plan = plan_of(document, disc(600, soft=60), (400, 500), TWO_PASS)
    second = plan.refinement
    composed = np.clip(plan.work_image.astype(int) + 25, 0, 255).astype(np.uint8)  # of another tint
    start = enlarged(second, composed, membrane=True)
    hole = second.mask > 0
    np.testing.assert_array_equal(start[~hole], second.image[~hole])
    plain = enlarged(second, composed, membrane=False)
    np.testing.assert_array_equal(plain[hole], resize(composed, second.size)[hole])
    rim = (grown(hole.astype(np.uint8), 3) > 0) & ~(grown((~hole).astype(np.uint8), 3) == 0) & hole
    steps = [np.abs(image.astype(int) - second.image)[rim].mean() for image in (start, plain)]
    assert steps[0] < 10 < steps[1]


@given(edits())
@settings(max_examples=40, deadline=None)
def test_c1_alpha_stays_below_the_grown_selection_after_both_passes(edit):
    request, source, _ = edit
    plan = plan_edit(request, source, SMALL)
    noise = np.random.default_rng(1).integers(0, 256, (plan.size.height, plan.size.width, 3), np.uint8)
    painted = enlarged(plan.refinement, noise, request.membrane) if plan.refinement else noise
    (layer,) = composite(plan, [painted])
    reach = request.mask.pad(request.grow)
    assert reach.contains(layer.bounds)
    ceiling = grown(np.pad(source.mask, request.grow), request.grow)[layer.bounds.relative_to(reach).slices()]
    assert (layer.rgba[..., 3] <= ceiling).all()


@given(st.integers(30, 400), st.integers(30, 400), st.sampled_from([(200, 90), (300, 300), (90, 350)]))
@settings(max_examples=15, deadline=None)
def test_c2_a_marker_stays_in_its_place_through_both_passes(x, y, sides):
    width, height = sides
    x, y = min(x, 400 - width), min(y, 400 - height)
    centre = np.array([y + 0.4 * height, x + 0.6 * width])
    down, across = (np.exp(-((np.arange(430) + 0.5 - middle) ** 2) / 64).astype(np.float32) for middle in centre)
    picture = (230 * down[:, None] * across).astype(np.uint8)[..., None].repeat(3, 2)
    plan = plan_of(picture, np.full((height, width), 255, np.uint8), (x, y), SMALL, prefill="none")
    assert plan.refinement is not None
    (layer,) = composite(plan, [enlarged(plan.refinement, plan.work_image, membrane=True)])
    weight = layer.rgba[..., 0].astype(float) ** 2
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    found = np.array([(rows * weight).sum(), (columns * weight).sum()]) / weight.sum()
    assert np.abs(found + np.array([layer.bounds.y, layer.bounds.x]) - centre).max() < 0.5
