"""Steps whose truth is known: a tint is put on, the step has to take it off again."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.editing.colour import STRONGEST_GAIN, match_colours
from scumble.editing.compositor import composite
from scumble.editing.membrane import STRONGEST_SHIFT, fit_seam, spread

from .pictures import disc, merged, opaque, photo, plan_of

TINT = np.array([14.0, -10.0, 6.0], np.float32)


def tinted(picture, gain=1.1):
    return np.clip((picture.astype(np.float32) - 128) * gain + 128 + TINT, 0, 255).astype(np.uint8)


def error_of(picture, drawn, mask, at, **steps):
    """Mean absolute error inside the mask, and the mean step across its edge that the truth does not have."""
    plan = plan_of(picture, mask, at, prefill="none", **steps)
    crop = drawn[plan.crop.slices()]
    (layer,) = composite(plan, [crop])
    result = merged(picture, layer.bounds, layer.rgba).astype(float)
    wrong = result - picture
    inside = np.zeros(picture.shape[:2], bool)
    inside[at[1] : at[1] + mask.shape[0], at[0] : at[0] + mask.shape[1]] = mask > 0
    edge = inside & ~np.roll(inside, 1, axis=1)
    return np.abs(wrong[inside]).mean(), np.abs(wrong[edge]).mean(), np.abs(wrong[~inside]).max()


def test_each_step_takes_off_what_it_should():
    picture, mask, at = photo(700, 600), disc(200), (250, 200)
    drawn = tinted(picture)
    none = error_of(picture, drawn, mask, at, color_match=False, membrane=False)
    colour = error_of(picture, drawn, mask, at, color_match=True, membrane=False)
    membrane = error_of(picture, drawn, mask, at, color_match=False, membrane=True)
    both = error_of(picture, drawn, mask, at)
    assert none[0] > 9
    assert none[1] > 9
    assert colour[0] < 1
    assert membrane[1] < 1
    assert membrane[0] < none[0] / 3
    assert both[0] < 1
    assert both[1] < 1
    assert all(outcome[2] == 0 for outcome in (none, colour, membrane, both)), "changed outside the mask"


def test_the_membrane_takes_off_a_tint_that_changes_along_the_edge():
    picture, mask, at = photo(700, 600, 1), disc(200), (250, 200)
    slope = np.linspace(-20, 20, 700, dtype=np.float32)[None, :, None]
    drawn = np.clip(picture + slope, 0, 255).astype(np.uint8)
    colour = error_of(picture, drawn, mask, at, color_match=True, membrane=False)
    both = error_of(picture, drawn, mask, at)
    assert colour[1] > 2
    assert both[1] < 1
    assert both[0] < colour[0] * 0.6


@pytest.mark.parametrize("step", ["color_match", "membrane"])
@pytest.mark.parametrize("beside", ["partly selected", "unknown"])
def test_only_what_is_known_and_not_selected_tells_how_colours_are_off(step, beside):
    side, soft = (240, 40) if beside == "partly selected" else (200, 0)
    mask, at = disc(side, soft), (230, 180)
    document, drawn = opaque(photo(700, 600)), photo(700, 600) + TINT
    if beside == "unknown":
        document[:, :330] = 0
        drawn[:, :330] = 250
    drawn[at[1] : at[1] + side, at[0] : at[0] + side][mask > 0] = 150 + TINT
    plan = plan_of(document, mask, at, **{"color_match": False, "membrane": False, step: True})
    (layer,) = composite(plan, [drawn.astype(np.uint8)[plan.crop.slices()]])
    painted = layer.rgba[layer.rgba[..., 3] > 0, :3].astype(int)
    assert np.abs(painted - 150).max() <= 2


def test_a_feather_takes_off_a_hard_edge():
    picture, mask, at = photo(700, 600, 2), disc(200), (250, 200)
    drawn = tinted(picture)
    off = {"color_match": False, "membrane": False}
    assert error_of(picture, drawn, mask, at, **off)[1] > 9
    assert error_of(picture, drawn, mask, at, feather=16, **off)[1] < 0.5


def test_colours_are_not_taken_from_under_the_mask():
    truth = photo(64, 64).astype(np.float32)
    sample = np.ones((64, 64), bool)
    sample[16:48, 16:48] = False
    painted = truth * 1.1 - 8
    wild = painted.copy()
    wild[~sample] = 0
    np.testing.assert_allclose(match_colours(painted, truth, sample), truth, atol=0.01)
    np.testing.assert_allclose(match_colours(wild, truth, sample)[sample], truth[sample], atol=0.01)


def test_colours_stay_where_there_is_nothing_to_compare():
    painted = photo(8, 8).astype(np.float32)
    assert match_colours(painted, painted + 50, np.zeros((8, 8), bool)) is painted


def test_other_contents_do_not_change_contrast_without_limit():
    flat = np.full((32, 32, 3), 100, np.float32)
    flat[::2] = 150
    wild = np.random.default_rng(0).uniform(0, 255, (32, 32, 3)).astype(np.float32)
    matched = match_colours(flat, wild, np.ones((32, 32), bool))
    assert np.ptp(matched[..., 0]) == pytest.approx(50 * STRONGEST_GAIN)


def test_what_is_painted_on_plain_ground_keeps_its_colours():
    ground = np.full((64, 64, 3), 250, np.float32)
    painted = ground + np.random.default_rng(0).normal(-2, 5, ground.shape).astype(np.float32)
    painted[24:40, 24:40] = thing = np.array([20, 60, 220], np.float32)
    sample = np.ones((64, 64), bool)
    sample[16:48, 16:48] = False
    matched = match_colours(painted, ground, sample)
    assert np.abs(matched[sample].mean(0) - 250).max() < 0.1
    assert np.abs(matched[32, 32] - thing).max() < 3


def test_spread_keeps_a_constant_and_follows_a_slope():
    weights = np.zeros((65, 90), np.float32)
    weights[:, :4] = weights[:, -4:] = 1
    constant = spread(np.full((65, 90, 3), 7, np.float32), weights)
    np.testing.assert_allclose(constant, 7, atol=1e-4)
    slope = np.linspace(0, 90, 90, dtype=np.float32)[None, :, None].repeat(65, 0)
    assert np.abs(spread(slope, weights) - slope).max() < 25
    assert not spread(slope, np.zeros_like(weights)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 3)])
def test_spread_of_the_smallest(shape):
    result = spread(np.full((*shape, 1), 3, np.float32), np.ones(shape, np.float32))
    np.testing.assert_allclose(result, 3, atol=1e-5)


def test_the_seam_fit_is_clamped():
    hole = disc(40) > 0
    painted = np.zeros((40, 40, 3), np.float32)
    fitted = fit_seam(painted, painted + 200, hole, np.ones_like(hole))
    assert fitted.max() <= STRONGEST_SHIFT + 1e-3
    assert fitted[20, 20].min() > STRONGEST_SHIFT * 0.9
