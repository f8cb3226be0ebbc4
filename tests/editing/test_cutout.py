"""Objects cut out of plain backgrounds, against mixtures whose alpha is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scumble.editing.compositor import composite
from scumble.editing.cutout import cut_out
from scumble.editing.plan import Pixels
from scumble.protocol.geometry import Bounds
from scumble.protocol.messages import replace as replace_request

from .pictures import plan_of

ALL = np.ones((120, 160), np.bool_)
RED, WHITE, GREEN, BLACK = (200, 40, 30), (250, 248, 245), (40, 170, 60), (12, 10, 14)


def disc(radius: int = 36) -> Pixels:
    """(120, 160) alpha of a disc with a soft edge, 4 px wide."""
    hard = cv2.circle(np.zeros((120, 160), np.uint8), (80, 60), radius, 255, -1)
    return np.asarray(cv2.GaussianBlur(hard, (0, 0), 1.2))


def before(background: Sequence[int], colour: Sequence[int], alpha: Pixels, noise: float = 2.0) -> Pixels:
    """The object on its background, which is shaded from left to right, with some noise on all."""
    shade = np.linspace(0, 14, 160)[:, None] * np.ones(3)
    share = alpha[..., None] / 255
    mixed = np.array(colour) * share + (np.array(background) - shade) * (1 - share)
    mixed = mixed + np.random.default_rng(1).normal(0, noise, mixed.shape)
    return mixed.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("background", "colour"), [(WHITE, RED), (WHITE, BLACK), (BLACK, WHITE), (GREEN, RED), (GREEN, WHITE), (RED, GREEN)]
)
def test_alpha_and_colours_are_those_of_the_object(background: Sequence[int], colour: Sequence[int]) -> None:
    alpha = disc()
    rgba = cut_out(before(background, colour, alpha), ALL)
    assert rgba is not None
    error = np.abs(rgba[..., 3].astype(int) - alpha)
    assert error.mean() < 2
    assert error[alpha == 255].max() == 0
    assert rgba[:8, :, 3].max() == 0
    solid = rgba[..., 3] > 128
    assert np.abs(rgba[..., :3][solid].astype(int) - colour).mean() < 8, "no fringe of the background"


def test_what_the_background_does_not_reach_is_not_cut_away() -> None:
    """A white eye, and an outline that is thinner than what counts as inside."""
    alpha = disc()
    picture = before(WHITE, RED, alpha)
    picture = cv2.circle(picture, (80, 60), 8, WHITE, -1)
    picture = cv2.circle(picture, (80, 60), 38, BLACK, 3)
    rgba = cut_out(picture, ALL)
    assert rgba is not None
    assert (rgba[58:63, 78:83] == (*WHITE, 255)).all()
    line = rgba[60, 41:44]
    assert line[:, 3].min() > 200
    assert line[:, :3].max() < 60


def test_an_object_may_touch_the_edge() -> None:
    alpha = cv2.rectangle(np.zeros((120, 160), np.uint8), (60, 60), (100, 119), 255, -1)
    rgba = cut_out(before(WHITE, RED, alpha), ALL)
    assert rgba is not None
    assert rgba[118, 80, 3] == 255
    assert rgba[5:50, :, 3].max() == 0


def test_without_a_plain_background_nothing_is_cut() -> None:
    random = np.random.default_rng(2).integers(0, 255, (120, 160, 3), np.uint8)
    assert cut_out(random, ALL) is None
    assert cut_out(before(WHITE, WHITE, disc()), ALL) is None
    assert cut_out(before(WHITE, RED, disc()), ~ALL) is None


def test_of_a_selection_its_own_edge_counts() -> None:
    """What lies around it is another picture."""
    selected = cv2.ellipse(np.zeros((120, 160), np.uint8), (80, 60), (70, 52), 0, 0, 360, 255, -1) > 0
    picture = before(WHITE, RED, disc())
    picture[~selected] = (20, 90, 200)
    rgba = cut_out(picture, selected)
    assert rgba is not None
    error = np.abs(rgba[..., 3].astype(int) - disc())[selected]
    assert error.mean() < 2


def test_a_layer_is_cut_out_within_its_soft_selection() -> None:
    """Nothing is fitted to the surroundings, and alpha stays below the selection's (C1)."""
    around = np.dstack([np.full((120, 160, 3), (20, 90, 200), np.uint8), np.full((120, 160), 255, np.uint8)])
    mask = np.zeros((120, 160), np.uint8)
    mask[10:110, 20:140] = 128
    plan = plan_of(around, mask, transparent=True)
    picture = before(WHITE, RED, disc())[plan.crop.slices()]
    (layer,) = composite(plan, [np.asarray(cv2.resize(picture, tuple(plan.size), interpolation=cv2.INTER_LANCZOS4))])
    assert layer.bounds == Bounds(20, 10, 120, 100)
    alpha = layer.rgba[..., 3]
    assert alpha.max() == 128
    assert alpha[:10].max() == 0
    assert (layer.rgba[alpha == 0] == 0).all()
    assert np.abs(layer.rgba[50, 60, :3].astype(int) - RED).max() < 12
    removed = replace(plan, request=replace_request(plan.request, mode="remove"))
    (whole,) = composite(removed, [np.asarray(cv2.resize(picture, tuple(plan.size)))])
    assert (whole.rgba[..., 3] == 128).all()
    (whole,) = composite(plan, [np.random.default_rng(2).integers(0, 255, (*plan.size[::-1], 3), np.uint8)])
    assert (whole.rgba[..., 3] == 128).all()
