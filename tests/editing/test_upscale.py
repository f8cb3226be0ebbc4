"""Plans of upscales, and what comes back of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scumble.editing.compositor import composite
from scumble.editing.controls import control_image
from scumble.editing.pixels import resize
from scumble.editing.plan import Source, Traits
from scumble.editing.planner import plan_edit
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Control, EditRequest, Reference, Region

from .pictures import DIFFUSION, opaque, photo, plan_of

SMALL = replace(DIFFUSION, native=64, max_area=64 * 96)
NETWORK = Traits(native=64, multiple=4, max_area=96 * 96, prompt=False, reach=1 << 20)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("size", [(100, 75), (33, 130)])
def test_a_diffusion_model_is_given_windows_of_the_enlarged_picture(factor, size):
    picture = photo(*size)
    plan = plan_of(picture, None, traits=SMALL, mode="upscale", factor=factor, strength=0.3)
    larger = Size(size[0] * factor, size[1] * factor)
    assert plan.refinement is None
    assert plan.size == plan.crop.size
    assert 0 <= plan.size.width - larger.width < 8
    assert 0 <= plan.size.height - larger.height < 8
    np.testing.assert_array_equal(plan.work_image[: larger.height, : larger.width], resize(picture, larger))
    assert all(tile.size.area <= SMALL.max_area for tile in plan.tiles)
    (layer,) = composite(plan, [plan.work_image])
    assert layer.bounds == Bounds.of_size(larger)
    np.testing.assert_array_equal(layer.rgba, opaque(resize(picture, larger)))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_network_that_enlarges_by_itself_is_given_the_picture_as_it_is(factor):
    picture = photo(101, 75)
    plan = plan_of(picture, None, traits=NETWORK, mode="upscale", factor=factor)
    assert plan.size == Size(104, 76)
    np.testing.assert_array_equal(plan.work_image[:75, :101], picture)
    four_times = plan.work_image.repeat(4, axis=0).repeat(4, axis=1)  # what a network for four times might make of it
    (layer,) = composite(plan, [four_times])
    assert layer.bounds == Bounds(0, 0, 101 * factor, 75 * factor)
    shrunk = resize(layer.rgba[..., :3], Size(101, 75))
    assert np.abs(shrunk.astype(int) - picture)[4:-4, 4:-4].mean() < 2, "it lies where it was"


@pytest.mark.parametrize(
    ("size", "zoom"),
    [((8, 8), 4), ((16, 16), 2), ((17, 15), 2), ((17, 17), 1), ((100, 3), 2), ((100, 2), 4), ((100, 5), 1)],
)
def test_a_very_small_picture_is_painted_larger_than_its_result(size, zoom):
    """At 32 px a model for 64 makes mud of it."""
    picture = photo(*size)
    plan = plan_of(picture, None, traits=SMALL, mode="upscale", factor=2, strength=0.3)
    width, height = 2 * size[0], 2 * size[1]
    assert plan.size == Size(-(-width * zoom // 8) * 8, -(-height * zoom // 8) * 8)
    assert (plan.crop.width * zoom, plan.crop.height * zoom) == plan.size
    painted = plan.work_image[: height * zoom, : width * zoom]
    np.testing.assert_array_equal(painted, resize(picture, Size(width * zoom, height * zoom)))
    (layer,) = composite(plan, [plan.work_image])
    assert layer.bounds == Bounds(0, 0, width, height)
    assert np.abs(layer.rgba[..., :3].astype(int) - resize(picture, layer.bounds.size)).max() < 12, (
        "it lies where it was"
    )


def test_controls_and_regions_grow_with_the_picture():
    canvas, place = Size(60, 50), Bounds(10, 20, 30, 20)
    request = EditRequest(
        "upscale", canvas, Bounds.of_size(canvas), factor=2, strength=0.3,
        controls=(Control("c", place),), regions=(Region("a star", place),), references=(Reference("r", Size(30, 20)),),
    )  # fmt: skip
    drawn = opaque(photo(30, 20))
    source = Source(opaque(photo(60, 50)), None, (drawn,), (), (np.full((20, 30), 255, np.uint8),), (drawn,))
    plan = plan_edit(request, source, SMALL)
    assert plan.references == (drawn,)  # lies nowhere
    assert plan.request.controls[0].image == Bounds(20, 40, 60, 40)
    seen = control_image(plan.request.controls[0], plan.controls[0], plan.crop, plan.size)
    assert np.abs(seen[40:80, 20:80].astype(int) - resize(drawn[..., :3], Size(60, 40)))[4:-4, 4:-4].mean() < 6
    assert not seen[:38].any()
    (region,) = plan.regions
    assert region.shape == (50, 60)
    assert np.count_nonzero(region) == 30 * 20


def test_what_is_transparent_stays_so_and_costs_nothing():
    picture = opaque(photo(200, 60))
    picture[:, 40:, 3] = 0
    plan = plan_of(picture, None, traits=SMALL, mode="upscale", factor=2, strength=0.3, feather=12)
    assert max(tile.left for tile in plan.tiles) < 100
    (layer,) = composite(plan, [plan.work_image])
    assert layer.bounds.width < 90
    whole = np.zeros((120, 400), np.uint8)
    whole[layer.bounds.slices()] = layer.rgba[..., 3]
    assert (whole[:, :76] == 255).all()
    assert not whole[:, 86:].any()
    with pytest.raises(BadRequest):
        plan_of(picture * np.uint8(0), None, traits=SMALL, mode="upscale")
