"""C1 (untouched outside) and C2 (in place) for plan and composite together, with engines whose answer is known."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scumble.editing.compositor import composite
from scumble.editing.masks import grown
from scumble.editing.plan import Source
from scumble.editing.planner import plan_edit
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import MAX_SEED, EditRequest

from .pictures import DIFFUSION, disc, merged, opaque, photo, plan_of
from .test_planner import ALL_TRAITS, FILL


def selection(kind, width, height, random):
    """Every shape that a selection can have."""
    mask = np.zeros((height, width), np.uint8)
    if kind == "pixel":
        mask[random.integers(height), random.integers(width)] = 255
    elif kind == "line":
        mask[random.integers(height)] = 255
    elif kind == "islands":
        mask[random.random((height, width)) < 0.01] = 255
        mask[0, 0] = 255
    elif kind == "soft":
        mask[:] = np.linspace(0, 255, width, dtype=np.uint8)[None]
        mask[-1, -1] = 1
    else:
        mask[:] = 255
    return mask


@st.composite
def edits(draw):
    canvas = Size(draw(st.integers(1, 16384)), draw(st.integers(1, 16384)))
    width, height = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    beyond = draw(st.sampled_from([0, 60]))
    x = draw(st.integers(-min(beyond, width - 1), canvas.width - 1))
    y = draw(st.integers(-min(beyond, height - 1), canvas.height - 1))
    mask_at = Bounds(x, y, width, height)
    sent = mask_at.pad(draw(st.sampled_from([0, 30, 200]))).intersect(Bounds.of_size(canvas))
    kind = draw(st.sampled_from(["pixel", "line", "islands", "soft", "full"]))
    seed = draw(st.integers(0, 1 << 20))
    request = EditRequest(
        mode=draw(st.sampled_from(["fill", "refine", "outpaint", "remove", "img2img"])),
        canvas=canvas,
        image=sent,
        mask=mask_at,
        seed=seed,
        strength=draw(st.sampled_from([1.0, 0.5])),
        grow=draw(st.sampled_from([0, 0, 3, 20])),
        feather=draw(st.sampled_from([0, 5])),
    )
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (sent.height, sent.width, 4), np.uint8)
    if draw(st.booleans()):
        image[..., 3] = 255
    return request, Source(image, selection(kind, width, height, random)), draw(st.sampled_from(ALL_TRAITS))


@given(edits())
@settings(max_examples=80, deadline=None)
def test_alpha_stays_below_the_grown_selection_everywhere(edit):
    request, source, traits = edit
    plan = plan_edit(request, source, traits)
    noise = np.random.default_rng(1).integers(0, 256, (plan.size.height, plan.size.width, 3), np.uint8)
    (layer,) = composite(plan, [noise])
    reach = request.mask.pad(request.grow)
    assert reach.contains(layer.bounds)
    ceiling = grown(np.pad(source.mask, request.grow), request.grow)[layer.bounds.relative_to(reach).slices()]
    alpha = layer.rgba[..., 3]
    assert (alpha <= ceiling).all()
    assert not layer.rgba[alpha == 0].any()
    if request.feather == 0:
        np.testing.assert_array_equal(alpha, ceiling)


@given(st.integers(0, 1079), st.integers(0, 649), st.sampled_from([3, 40, 170, 200]), st.sampled_from([0, 9]))
@settings(max_examples=25, deadline=None)
def test_an_engine_that_changes_nothing_gives_the_document_back(x, y, side, grow):
    picture = photo(1280, 850)
    plan = plan_of(picture, disc(side), (x, y), FILL, prefill="none", grow=grow)
    assert plan.size == plan.crop.size
    (layer,) = composite(plan, [plan.work_image])
    np.testing.assert_array_equal(merged(picture, layer.bounds, layer.rgba), picture)


@given(
    st.integers(30, 1100),
    st.integers(30, 1100),
    st.sampled_from([(60, 60), (90, 41), (700, 300), (900, 900)]),
    st.integers(0, 9),
)
@settings(max_examples=12, deadline=None)
def test_a_marker_stays_in_its_place_at_every_scale(x, y, sides, seed):
    width, height = sides
    x, y = min(x, 1270 - width), min(y, 1270 - height)
    random = np.random.default_rng(seed)
    centre = np.array([y + random.uniform(0.3, 0.7) * height, x + random.uniform(0.3, 0.7) * width])
    down, across = (np.exp(-((np.arange(1300) + 0.5 - middle) ** 2) / 32).astype(np.float32) for middle in centre)
    picture = (230 * down[:, None] * across).astype(np.uint8)[..., None].repeat(3, 2)
    plan = plan_of(picture, np.full((height, width), 255, np.uint8), (x, y), prefill="none")
    (layer,) = composite(plan, [plan.work_image])
    weight = layer.rgba[..., 0].astype(float) ** 2
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    found = np.array([(rows * weight).sum(), (columns * weight).sum()]) / weight.sum() + (
        layer.bounds.y,
        layer.bounds.x,
    )
    assert np.abs(found - centre).max() < 0.5


def test_outpainting_is_opaque_to_the_edge_and_has_no_step_where_it_joins():
    truth = photo(900, 496, 4)
    document = opaque(truth)[:, :600]
    mask = np.zeros((496, 330), np.uint8)
    mask[:, 30:] = 255
    mask[:, :30] = np.linspace(0, 254, 30, dtype=np.uint8)
    plan = plan_of(document, mask, (570, 0), mode="outpaint", feather=10, context=200)
    drawn = np.clip(truth[plan.crop.slices()] + np.array([20, -12, 8]), 0, 255).astype(np.uint8)
    assert plan.size == plan.crop.size
    (layer,) = composite(plan, [drawn])
    assert (layer.rgba[:, 600 - layer.bounds.x :, 3] == 255).all()
    page = np.zeros((496, 900, 3), np.uint8)
    page[:, :600] = document[..., :3]
    result = merged(page, layer.bounds, layer.rgba)
    wrong = np.abs(result.astype(int) - truth).mean(axis=(0, 2))
    assert wrong[590:620].max() < 1.5
    np.testing.assert_array_equal(result[:, :570], truth[:, :570])


@pytest.mark.parametrize(
    ("canvas", "at", "context", "fading"),
    [
        pytest.param(1200, Bounds(400, 300, 256, 200), 0, {"left", "top", "right", "bottom"}, id="all of the crop"),
        pytest.param(1200, Bounds(0, 300, 256, 200), 0, {"top", "right", "bottom"}, id="and an edge of the canvas"),
        pytest.param(512, Bounds(0, 0, 512, 512), None, set(), id="all of the canvas"),
        pytest.param(500, Bounds(0, 0, 500, 500), None, set(), id="and the crop reaches beyond"),
        pytest.param(700, None, None, set(), id="without a selection"),
        pytest.param(500, Bounds(0, 0, 500, 260), None, {"bottom"}, id="to three edges of the canvas"),
    ],
)
def test_a_selection_fades_inside_the_canvas_and_not_at_its_edge(canvas, at, context, fading):
    mask = None if at is None else np.full((at.height, at.width), 255, np.uint8)
    corner = (0, 0) if at is None else (at.x, at.y)
    plan = plan_of(photo(canvas, canvas), mask, corner, mode="img2img", feather=12, context=context)
    (layer,) = composite(plan, [plan.work_image])
    alpha = layer.rgba[..., 3]
    middle = alpha.shape[0] // 2, alpha.shape[1] // 2
    edges = {"left": alpha[middle[0], 0], "right": alpha[middle[0], -1]}
    edges |= {"top": alpha[0, middle[1]], "bottom": alpha[-1, middle[1]]}
    assert {name for name, value in edges.items() if value < 255} == fading
    assert alpha[middle] == 255


def test_a_selection_does_not_fade_where_nothing_lies_below():
    document = opaque(photo(600, 500))
    document[:, 300:] = 0
    plan = plan_of(document, np.full((200, 200), 255, np.uint8), (200, 150), mode="outpaint", feather=12)
    (layer,) = composite(plan, [plan.work_image])
    alpha = layer.rgba[..., 3]
    assert (alpha[:, 100:] == 255).all()
    assert alpha[100, 0] < 50
    assert alpha[0, 50] < 50


def test_each_image_has_its_own_seed():
    plan = plan_of(photo(64, 64), disc(20), seed=MAX_SEED, count=2)
    assert [layer.seed for layer in composite(plan, [plan.work_image] * 2)] == [MAX_SEED, 0]


@pytest.mark.parametrize("mode", ["img2img", "txt2img"])
@pytest.mark.parametrize("size", [(500, 333), (77, 1900)])
def test_a_whole_picture_is_an_opaque_layer_of_the_canvas(mode, size):
    plan = plan_of(photo(*size), None, mode=mode)
    (layer,) = composite(plan, [plan.work_image])
    assert layer.bounds == Bounds(0, 0, *size)
    assert (layer.rgba[..., 3] == 255).all()


def test_plan_and_composite_are_quick():
    picture, mask = photo(1280, 850), disc(200)
    started = time.process_time()
    for _ in range(3):
        plan = plan_of(picture, mask, (500, 300), FILL)
        composite(plan, [plan.work_image])
    assert (time.process_time() - started) / 3 < 0.3


def test_diffusion_traits_get_one_tile():
    assert len(plan_of(photo(1500, 900), np.full((900, 1500), 255, np.uint8), traits=DIFFUSION).tiles) == 1


@pytest.mark.parametrize(("side", "ring"), [(40, 10), (160, 40), (600, 64)])
def test_colours_are_fitted_to_what_is_near(side, ring):
    """To an eighth of the selection's width and height together, and to no more than 64 px, around it."""
    picture = photo(1000, 900)
    plan = plan_of(picture, np.full((side, side), 255, np.uint8), (200, 150), color_match=True, membrane=False)
    tinted = plan.work_image.astype(np.int16)
    across, down = plan.size.width / plan.crop.width, plan.size.height / plan.crop.height
    near = Bounds(200, 150, side, side).translate(-plan.crop.x, -plan.crop.y).pad(ring)
    left, top = max(round(near.left * across), 0), max(round(near.top * down), 0)
    tinted[top : round(near.bottom * down), left : round(near.right * across)] += 20
    (layer,) = composite(plan, [tinted.clip(0, 255).astype(np.uint8)])
    (plain,) = composite(plan, [plan.work_image])
    assert np.abs(layer.rgba[..., :3].astype(int) - plain.rgba[..., :3]).mean() < 1.5
