from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scumble.editing.plan import Source, Traits
from scumble.editing.planner import at_resolution, choose_crop, plan_edit
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest, Reference

from .pictures import DIFFUSION, disc, photo, plan_of

FILL = Traits(native=512, multiple=1, max_area=640 * 640, prompt=False, reach=160)
NANO = Traits(native=128, multiple=64, max_area=192 * 192, prompt=True, reach=1 << 20)
ALL_TRAITS = (DIFFUSION, FILL, NANO)
MOST = 16384


@st.composite
def places(draw):
    """A request with a canvas of any size, a selection in it, at its edge or partly beyond, and what was sent of it."""
    canvas = Size(draw(st.integers(1, MOST)), draw(st.integers(1, MOST)))
    width = min(canvas.width, draw(st.one_of(st.just(1), st.integers(1, 700), st.integers(1, MOST))))
    height = min(canvas.height, draw(st.one_of(st.just(1), st.integers(1, 700), st.integers(1, MOST))))
    beyond = draw(st.sampled_from([0, 0, 200]))
    selected = Bounds(
        draw(st.integers(-beyond, canvas.width - width + beyond)),
        draw(st.integers(-beyond, canvas.height - height + beyond)),
        width,
        height,
    )
    whole = Bounds.of_size(canvas)
    sent = draw(st.sampled_from([whole, selected.pad(700).intersect(whole), selected.intersect(whole)]))
    assume(not sent.is_empty)
    context = draw(st.sampled_from([None, None, 0, 7, 100]))
    request = EditRequest(mode="fill", canvas=canvas, image=sent, mask=selected, context=context)
    return request, selected


@given(places(), st.sampled_from(ALL_TRAITS))
@settings(max_examples=400, deadline=None)
def test_a_crop_holds_the_selection_and_fits_the_model(place, traits):
    request, selected = place
    crop, size = choose_crop(request, selected, traits)
    assert crop.contains(selected)
    assert size.width % traits.multiple == 0
    assert size.height % traits.multiple == 0
    assert size.area <= traits.max_area or min(size) == traits.multiple
    across, down = size.width / crop.width, size.height / crop.height
    # Alike in both directions, to half a pixel of rounding on each side.
    assert abs(across / down - 1) <= 0.5 / crop.width + 0.5 / crop.height + 1e-9
    assert max(across, down) <= 4.5
    if not traits.prompt:
        assert max(across, down) <= 1 + 0.5 / min(crop.size) + 1e-9


@given(places(), st.sampled_from(ALL_TRAITS))
@settings(max_examples=300, deadline=None)
def test_the_cost_follows_the_selection_and_not_the_canvas(place, traits):
    request, selected = place
    crop, _ = choose_crop(request, selected, traits)
    context = (
        request.context if request.context is not None else max(sum(selected.size) // 4, max(selected.size) // 16, 32)
    )
    longest = max(selected.size) + 2 * context
    # The model's own smallest pictures set the rest: its native side, a strip's least width, one multiple of rounding.
    bound = max(longest, traits.native) + max(longest // 2, traits.native)
    assert max(crop.size) <= bound + 2 * traits.multiple * max(1, longest // traits.native)


@given(places(), st.sampled_from(ALL_TRAITS))
@settings(max_examples=300, deadline=None)
def test_a_crop_leaves_what_was_sent_only_where_it_does_not_fit(place, traits):
    request, selected = place
    crop, _ = choose_crop(request, selected, traits)
    region = request.image.intersect(Bounds.of_size(request.canvas)).union(selected)
    if crop.width <= region.width:
        assert region.left <= crop.left
        assert crop.right <= region.right
    if crop.height <= region.height:
        assert region.top <= crop.top
        assert crop.bottom <= region.bottom


@pytest.mark.parametrize("canvas", [Size(1024, 1024), Size(8192, 8192), Size(16384, 16384)])
def test_a_selection_of_half_native_size_is_seen_pixel_for_pixel(canvas):
    selected = Bounds(300, 400, 256, 256)
    request = EditRequest(mode="fill", canvas=canvas, image=Bounds.of_size(canvas), mask=selected)
    assert choose_crop(request, selected, DIFFUSION) == (Bounds(172, 272, 512, 512), Size(512, 512))


def test_small_selections_zoom_in_and_large_ones_scale_down():
    canvas = Size(4000, 4000)

    def scale(side, **fields):
        selected = Bounds(1500, 1500, side, side)
        request = EditRequest(mode="fill", canvas=canvas, image=Bounds.of_size(canvas), mask=selected, **fields)
        crop, size = choose_crop(request, selected, DIFFUSION)
        return size.width / crop.width

    assert scale(60) > 3
    assert scale(200) == 1
    assert scale(380) == 1
    assert 0.4 < scale(900) < 0.45
    assert scale(200, context=40) == pytest.approx(512 / 280, rel=0.02)


def test_the_artist_may_choose_the_size_that_the_model_is_given():
    canvas = Size(4000, 4000)
    selected = Bounds(1500, 1500, 900, 900)
    request = EditRequest(mode="fill", canvas=canvas, image=Bounds.of_size(canvas), mask=selected)
    for resolution in (256, 512, 1024, 2048):
        crop, size = choose_crop(request, selected, at_resolution(DIFFUSION, resolution))
        assert crop.contains(selected)
        assert 0.9 * resolution <= math.sqrt(size.area) <= 1.5 * resolution
        assert (size.width % DIFFUSION.multiple, size.height % DIFFUSION.multiple) == (0, 0)
        assert choose_crop(request, selected, at_resolution(FILL, resolution))[1].area <= resolution**2
    assert at_resolution(DIFFUSION, None) is DIFFUSION
    twice = replace(DIFFUSION, refine_area=1400**2)
    small, usual = (plan_of(photo(1500, 1500), disc(1000), (250, 250), twice, resolution=side) for side in (256, None))
    assert usual.refinement is not None
    assert small.refinement is None, "a second pass overruled the choice"
    assert small.size.area <= 2.25 * 256**2


@pytest.mark.parametrize(("width", "height"), [(500, 500), (1, 1), (768, 512), (2000, 1000), (9000, 30)])
@pytest.mark.parametrize("mode", ["img2img", "txt2img"])
def test_without_a_selection_the_whole_canvas_is_painted(width, height, mode):
    plan = plan_of(photo(width, height), None, mode=mode)
    assert plan.crop.contains(Bounds(0, 0, width, height))
    assert abs(plan.crop.left + plan.crop.right - width) <= 1, "not in the middle"
    assert abs(plan.crop.top + plan.crop.bottom - height) <= 1, "not in the middle"
    inside = Bounds(0, 0, width, height).relative_to(plan.crop).slices()
    assert (plan.mask[inside] == 255).all()
    assert np.count_nonzero(plan.mask) == width * height, "a mask beyond the canvas"
    assert 0.3 * 512**2 < plan.size.area <= 768**2 or max(width, height) < 100


def test_at_scale_one_the_model_sees_the_document_itself():
    picture = photo(1280, 850)
    plan = plan_of(picture, disc(200), (700, 500), prefill="none")
    assert plan.size == plan.crop.size == Size(512, 512)
    np.testing.assert_array_equal(plan.work_image, picture[plan.crop.slices()])
    np.testing.assert_array_equal(plan.image, picture[plan.crop.slices()])
    assert plan.known.all()
    assert plan.tiles == (Bounds(0, 0, 512, 512),)


def test_context_that_was_not_sent_is_continued_and_not_known():
    picture = photo(900, 900)
    mask = np.full((100, 100), 255, np.uint8)
    request = EditRequest(
        mode="fill", canvas=Size(900, 900), image=Bounds(400, 400, 100, 100), mask=Bounds(390, 400, 100, 100)
    )
    sent = np.dstack([picture[400:500, 400:500], np.full((100, 100), 255, np.uint8)])
    plan = plan_edit(request, Source(sent, mask), DIFFUSION)
    part = Bounds(400, 400, 100, 100).relative_to(plan.crop).slices()
    np.testing.assert_array_equal(plan.image[part], picture[400:500, 400:500])
    assert np.count_nonzero(plan.known) == 100 * 100
    assert plan.image[~plan.known].min() > 0


def test_grow_reaches_the_canvas_edge_and_beyond_it_only_where_the_selection_did():
    picture = photo(300, 300)
    mask = np.full((20, 20), 255, np.uint8)
    plan = plan_of(picture, mask, (2, 100), grow=8)
    grown_at = np.argwhere(plan.mask) + np.array([plan.crop.y, plan.crop.x])
    assert grown_at.min(axis=0).tolist() == [92, 0]
    assert grown_at.max(axis=0).tolist() == [127, 29]
    beyond = plan_of(picture, mask, (-20, 100), mode="outpaint", grow=8)
    assert (np.argwhere(beyond.mask)[:, 1] + beyond.crop.x).min() == -20


def test_nothing_selected_is_said():
    with pytest.raises(BadRequest, match="Nothing is selected") as caught:
        plan_of(photo(50, 50), np.zeros((9, 9), np.uint8))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("image", "mask"),
    [((50, 51, 4), (9, 9)), ((50, 50, 3), (9, 9)), ((50, 50, 4), (9, 8)), ((50, 50, 4), None)],
)
def test_buffers_of_other_sizes_are_refused(image, mask):
    request = EditRequest(mode="fill", canvas=Size(50, 50), image=Bounds(0, 0, 50, 50), mask=Bounds(0, 0, 9, 9))
    source = Source(np.zeros(image, np.uint8), None if mask is None else np.full(mask, 255, np.uint8))
    with pytest.raises(BadRequest):
        plan_edit(request, source, DIFFUSION)


@pytest.mark.parametrize("sent", [(), ((30, 20, 3),), ((20, 30, 4),), ((30, 20, 4), (30, 20, 4))])
def test_references_of_other_sizes_are_refused(sent):
    request = EditRequest("txt2img", Size(9, 9), Bounds(0, 0, 9, 9), references=(Reference("r", Size(20, 30)),))
    source = Source(np.zeros((9, 9, 4), np.uint8), references=tuple(np.zeros(shape, np.uint8) for shape in sent))
    with pytest.raises(BadRequest, match="references"):
        plan_edit(request, source, DIFFUSION)


def test_a_selection_in_a_huge_canvas_costs_what_it_costs_in_a_small_one():
    mask, picture = disc(256), photo(640, 640)
    plans = []
    for side in (1024, 16384):
        at = Bounds(side - 700, side - 800, 640, 640)
        request = EditRequest(
            mode="fill", canvas=Size(side, side), image=at, mask=Bounds(at.x + 200, at.y + 200, 256, 256)
        )
        plans.append(plan_edit(request, Source(np.dstack([picture, np.full((640, 640), 255, np.uint8)]), mask), FILL))
    assert plans[0].crop.size == plans[1].crop.size
    np.testing.assert_array_equal(plans[0].work_image, plans[1].work_image)


@pytest.mark.parametrize("mode", ["txt2img", "fill", "outpaint"])
def test_a_selection_with_nothing_around_is_a_picture_of_its_own(mode):
    empty, selection = np.zeros((1500, 1500, 4), np.uint8), disc(512)
    plan = plan_of(empty, selection, (400, 300), mode=mode)
    assert (plan.crop, plan.size) == (Bounds(400, 300, 512, 512), (512, 512))
    assert (plan.work_mask == 255).all(), "no grey is held around it"
    np.testing.assert_array_equal(plan.mask, selection)
    empty[400, 390] = 255
    shown = plan_of(empty, selection, (400, 300), mode=mode)
    assert shown.crop.contains(plan.crop.pad(16))
    assert shown.work_mask.min() == 0


def test_a_canvas_that_suits_no_model_is_painted_from_nothing_too():
    plan = plan_of(np.zeros((1, 1, 4), np.uint8), None, mode="txt2img")
    assert plan.crop.area > 1
    assert (plan.work_mask == 255).all()
    assert np.count_nonzero(plan.mask) == 1
