"""Controls lie where the picture lies, at any crop and scale (C2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scumble.editing.controls import control_image
from scumble.editing.plan import Source, Traits
from scumble.editing.planner import plan_edit
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Control, EditRequest, Preprocessor

TRAITS = Traits(native=64, multiple=8, max_area=96 * 96, prompt=True, reach=1 << 15)


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = 255
    return pixels


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_control_is_cropped_and_scaled_exactly_as_the_picture_is(data: st.DataObject) -> None:
    """The document's own pixels as a control: the network sees what the denoiser sees, wherever the buffer was cut."""
    side = st.integers(20, 200)
    canvas = Size(data.draw(side), data.draw(side))
    selected = Bounds(
        data.draw(st.integers(0, canvas.width - 1)), data.draw(st.integers(0, canvas.height - 1)), 12, 9
    ).intersect(Bounds.of_size(canvas))
    pixels = noise(*canvas)
    request = EditRequest(
        "fill", canvas, Bounds.of_size(canvas), selected, strength=0.5, prefill="none", prompt="x",
        context=data.draw(st.none() | st.integers(0, 60)),
        controls=(Control("c", Bounds.of_size(canvas)),),
    )  # fmt: skip
    source = Source(pixels, np.full((selected.height, selected.width), 255, np.uint8), (pixels,))
    plan = plan_edit(request, source, TRAITS)
    shown = control_image(plan.request.controls[0], plan.controls[0], plan.crop, plan.size)
    assert shown.shape == plan.work_image.shape
    # The crop may reach beyond a small canvas; there the picture is continued, and a control holds nothing.
    inside = Bounds.of_size(canvas).contains(plan.crop)
    if inside:
        np.testing.assert_array_equal(shown, plan.work_image)
    # Sent in part only, the same pixels lie in the same places.
    part = Bounds(data.draw(st.integers(-30, 10)), data.draw(st.integers(-30, 10)), 300, 300)
    wider = np.zeros((300, 300, 4), np.uint8)
    common = part.intersect(Bounds.of_size(canvas))
    wider[common.relative_to(part).slices()] = pixels[common.slices()]
    moved = replace(request.controls[0], image=part)
    if inside and part.contains(plan.crop):
        np.testing.assert_array_equal(control_image(moved, wider, plan.crop, plan.size), shown)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_point_of_the_canvas_lies_where_the_crop_is_scaled_to(scale: int) -> None:
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[17, 23] = 255
    shown = control_image(
        Control("c", Bounds(100, 200, 60, 40)), pixels, Bounds(110, 210, 32, 24), Size(32 * scale, 24 * scale)
    )
    y, x = np.unravel_index(shown[..., 0].argmax(), shown.shape[:2])
    assert (x // scale, y // scale) == (123 - 110, 217 - 210)


@pytest.mark.parametrize(
    ("kind", "seen"), [("none", [0, 0, 0]), ("invert", [0, 0, 0]), ("luminance", [255] * 3), ("blur", [255] * 3)]
)
def test_transparent_pixels_hold_nothing(kind: Preprocessor, seen: list[int]) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., :3] = 77  # what lies in transparent pixels is of no meaning
    shown = control_image(Control("c", Bounds(0, 0, 16, 16), kind), pixels, Bounds(0, 0, 16, 16), Size(16, 16))
    assert (shown == seen).all()


def test_black_strokes_on_a_transparent_layer_become_white_lines() -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[16, 4:28, 3] = 255
    shown = control_image(Control("c", Bounds(0, 0, 32, 32), "invert"), pixels, Bounds(0, 0, 32, 32), Size(32, 32))
    assert (shown[16, 4:28] == 255).all()
    assert not shown[:16].any()


@pytest.mark.parametrize("kind", ["canny", "soft_edges", "lineart", "invert", "none"])
def test_where_a_control_ends_there_are_no_lines(kind: Preprocessor) -> None:
    """Its rim is no edge, and what it does not reach (the new part of an outpaint, say) stays free."""
    pixels = np.full((64, 40, 4), 255, np.uint8)
    pixels[..., :3] = 90
    shown = control_image(Control("c", Bounds(0, 0, 40, 64), kind), pixels, Bounds(0, 0, 64, 64), Size(128, 128))
    assert not shown[:, 80:].any()
    if kind in ("canny", "soft_edges", "lineart"):
        assert not shown.any()


def test_the_colours_of_areas_go_on_where_a_control_ends() -> None:
    pixels = np.full((64, 40, 4), 255, np.uint8)
    pixels[..., :3] = 90
    shown = control_image(Control("c", Bounds(0, 0, 40, 64), "blur"), pixels, Bounds(-8, 0, 64, 64), Size(64, 64))
    assert (shown == 90).all()


def test_what_was_sent_must_be_what_the_request_names() -> None:
    canvas = Size(32, 32)
    request = EditRequest(
        "txt2img", canvas, Bounds(0, 0, 1, 1), prompt="x", controls=(Control("c", Bounds(0, 0, 8, 4)),)
    )
    image = np.zeros((1, 1, 4), np.uint8)
    plan_edit(request, Source(image, controls=(np.zeros((4, 8, 4), np.uint8),)), TRAITS)
    for wrong in ((), (np.zeros((8, 4, 4), np.uint8),), (np.zeros((4, 8, 4), np.uint8),) * 2):
        with pytest.raises(BadRequest, match="controls"):
            plan_edit(request, Source(image, controls=wrong), TRAITS)
