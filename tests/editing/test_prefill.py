from __future__ import annotations

import numpy as np
import pytest
from scumble.editing.prefill import NEUTRAL, choose_prefill, continue_border, continue_smoothly, prefill
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest

from .pictures import disc, photo, plan_of


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("fill", "blur"),
        ("remove", "blur"),
        ("refine", "blur"),
        ("outpaint", "border"),
        ("img2img", "none"),
        ("txt2img", "neutral"),
    ],
)
def test_intent_decides_and_the_request_overrides(mode, kind):
    request = EditRequest(mode=mode, canvas=Size(9, 9), image=Bounds(0, 0, 9, 9), mask=Bounds(0, 0, 9, 9))
    assert choose_prefill(request) == kind
    named = EditRequest(
        mode=mode, canvas=Size(9, 9), image=Bounds(0, 0, 9, 9), mask=Bounds(0, 0, 9, 9), prefill="neutral"
    )
    assert choose_prefill(named) == "neutral"


@pytest.mark.parametrize("kind", ["blur", "border", "neutral"])
@pytest.mark.parametrize("rim", [255, 1])
def test_what_lies_under_the_mask_does_not_leak(kind, rim):
    picture, mask = photo(64, 64), np.zeros((64, 64), np.uint8)
    mask[16:44, 16:44] = rim
    mask[20:40, 20:40] = 255
    known = np.ones((64, 64), bool)
    other = picture.copy()
    other[mask > 0] = 255 - other[mask > 0]
    first = prefill(picture, known, mask, kind)
    np.testing.assert_array_equal(first[mask == 255], prefill(other, known, mask, kind)[mask == 255])
    np.testing.assert_array_equal(first[mask == 0], picture[mask == 0])


def test_blurred_surroundings_come_closer_to_the_truth_than_grey():
    y, x = np.mgrid[0:128, 0:128]
    picture = np.dstack([x, y, 255 - x]).astype(np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    mask[40:88, 40:88] = disc(48)
    known = np.ones_like(mask, bool)

    def error(kind):
        return np.abs(prefill(picture, known, mask, kind).astype(int) - picture)[mask > 0].mean()

    assert error("blur") < error("neutral") / 3
    assert error("none") == 0


def test_lines_that_meet_the_border_go_on():
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[8] = 200
    known = np.zeros((20, 30), bool)
    known[:, :15] = True
    continued = continue_border(picture * known[..., None], known)
    np.testing.assert_array_equal(continued, picture)


def test_a_corner_is_continued_from_one_pixel():
    picture = np.zeros((5, 7, 3), np.uint8)
    picture[2, 3] = (9, 8, 7)
    known = np.zeros((5, 7), bool)
    known[2, 3] = True
    assert (continue_border(picture, known) == (9, 8, 7)).all()


def test_a_soft_mask_mixes():
    picture = np.full((4, 4, 3), 200, np.uint8)
    result = prefill(picture, np.ones((4, 4), bool), np.full((4, 4), 128, np.uint8), "neutral")
    assert abs(int(result[0, 0, 0]) - (200 + (NEUTRAL - 200) * 128 / 255)) <= 0.5


def test_nothing_known_is_neutral():
    assert (continue_smoothly(photo(8, 8), np.zeros((8, 8), bool)) == NEUTRAL).all()


def test_below_full_strength_what_is_known_stays_and_what_is_not_is_continued():
    picture = np.dstack([photo(600, 600), np.full((600, 600), 255, np.uint8)])
    picture[:, 300:, 3] = 0
    picture[:, 300:, :3] = 7
    mask = np.full((200, 200), 255, np.uint8)
    plan = plan_of(picture, mask, (200, 200), strength=0.6)
    left = slice(200 - plan.crop.y, 400 - plan.crop.y), slice(200 - plan.crop.x, 290 - plan.crop.x)
    np.testing.assert_array_equal(plan.work_image[left], picture[200:400, 200:290, :3])
    right = slice(200 - plan.crop.y, 400 - plan.crop.y), slice(305 - plan.crop.x, 400 - plan.crop.x)
    assert plan.work_image[right].min() > 20, "the colour behind a transparent pixel was shown to the model"


@pytest.mark.parametrize("mode", ["img2img", "refine"])
def test_a_drawing_that_lies_on_nothing_is_seen_on_paper(mode):
    picture = np.zeros((100, 100, 4), np.uint8)
    picture[40:60, 40:60, 3] = 255
    picture[60:70, 40:60, 3] = 51
    mask = np.full((60, 60), 255, np.uint8) if mode == "refine" else None
    plan = plan_of(picture, mask, (20, 20), mode=mode, strength=0.5)
    canvas = plan.image[-plan.crop.y : 100 - plan.crop.y, -plan.crop.x : 100 - plan.crop.x]
    assert (canvas[40:60, 40:60] == 0).all()
    assert (canvas[60:70, 40:60] == 204).all()
    assert (canvas[:40] == 255).all()
    assert plan.known[50 - plan.crop.y, 10 - plan.crop.x]
    assert plan.work_image.min() == 0, "what is there is the start"


def test_there_is_no_paper_beyond_the_canvas():
    picture = np.full((9, 40, 4), 255, np.uint8)
    picture[..., :3] = 60
    picture[4, 10:20, 3] = 0
    plan = plan_of(picture, None, mode="img2img", strength=0.5)
    assert plan.crop.height > 9, "models make nothing of a narrow strip"
    y, x = -plan.crop.y, -plan.crop.x
    assert (plan.image[y + 4, x + 10 : x + 20] == 255).all()
    assert (plan.image[[0, -1]] < 100).all()


def test_a_faint_layer_has_surroundings_like_any_other():
    faint = np.dstack([photo(600, 600), np.full((600, 600), 200, np.uint8)])
    solid = np.dstack([photo(600, 600), np.full((600, 600), 255, np.uint8)])
    mask = np.full((200, 200), 255, np.uint8)
    seen, truth = (plan_of(each, mask, (200, 200)) for each in (faint, solid))
    assert seen.known.all()
    assert np.abs(seen.work_image.astype(int) - truth.work_image).mean() < 3


def test_half_transparent_pixels_lie_over_continued_content():
    picture = np.full((64, 64, 4), 255, np.uint8)
    picture[..., :3] = 100
    picture[20:40, 20:40] = (200, 200, 200, 128)
    plan = plan_of(picture, np.full((4, 4), 255, np.uint8))
    x, y = 30 - plan.crop.x, 30 - plan.crop.y
    assert 140 <= plan.image[y, x, 0] <= 175
    assert not plan.known[y, x]
