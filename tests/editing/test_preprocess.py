"""What the preprocessors find in drawn pictures, and where."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from scumble.editing.plan import Pixels
from scumble.editing.preprocess import preprocess
from scumble.protocol.messages import Preprocessor

LINES: tuple[Preprocessor, ...] = ("canny", "lineart", "soft_edges")


def square(low: int = 40, high: int = 200) -> Pixels:
    """A dark square on a light ground: pixels 64..191 of 256."""
    image = np.full((256, 256, 3), high, np.uint8)
    image[64:192, 64:192] = low
    return image


def near_border(width: int) -> np.ndarray:
    """Within so many px of the square's border."""
    distance = np.abs(np.arange(256) - 63.5), np.abs(np.arange(256) - 191.5)
    edge = np.minimum(*distance) < width
    inside = np.abs(np.arange(256) - 127.5) < 64 + width
    return (edge[:, None] & inside) | (edge & inside[:, None])


@pytest.mark.parametrize("kind", ["canny", "soft_edges"])
@pytest.mark.parametrize("colours", [(40, 200), (200, 40)])
def test_the_border_of_a_square_is_found_where_it_is_and_nothing_else(
    kind: Preprocessor, colours: tuple[int, int]
) -> None:
    found = preprocess(kind, square(*colours))[..., 0]
    assert found[~near_border(5)].max() < 8
    for line in (found[63:65, 80:176], found[191:193, 80:176], found[80:176, 63:65].T, found[80:176, 191:193].T):
        assert (line.max(axis=0) > 200).all()  # without a gap


def test_an_edge_of_colour_alone_is_an_edge() -> None:
    """Red and green of the same brightness."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32], image[:, 32:] = (200, 0, 0), (0, 102, 0)
    for kind in ("canny", "soft_edges"):
        assert (preprocess(kind, image)[:, 30:34].max(axis=(1, 2)) > 200).all()


def test_lineart_finds_strokes_and_no_areas() -> None:
    image = np.full((256, 256, 3), 230, np.uint8)
    image[100:103, 30:226] = 40  # a stroke
    image[150:, :] = 120  # a darker ground
    found = preprocess("lineart", image)[..., 0]
    assert (found[100:103, 40:216] > 200).all()
    assert found[:90].max() < 8
    assert found[220:].max() < 8  # the dark area is no stroke


def test_soft_edges_tell_strong_from_weak() -> None:
    image = np.full((512, 512, 3), 60, np.uint8)
    image[:, 128:] = 100
    image[:, 384:] = 250
    found = preprocess("soft_edges", image)[256, :, 0].astype(int)
    assert found[382:386].max() > 200
    assert 20 < found[126:130].max() < found[382:386].max() / 2
    assert np.count_nonzero(found[370:398] > 60) >= 4  # and they are wide


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("noise", [0, 3])
def test_an_even_picture_has_no_lines(kind: Preprocessor, noise: int) -> None:
    image = np.random.default_rng(0).integers(120 - noise, 121 + noise, (128, 128, 3), np.uint8)
    assert preprocess(kind, image).max() < 110


def test_inverted_strokes_are_white_on_black() -> None:
    image = np.full((8, 8, 3), 255, np.uint8)
    image[4] = 0
    inverted = preprocess("invert", image)
    assert (inverted[4] == 255).all()
    assert not inverted[:4].any()


def test_blur_keeps_colours_and_loses_detail() -> None:
    random = np.random.default_rng(1)
    image = np.clip(square().astype(int) + random.integers(-40, 41, (256, 256, 3)), 0, 255).astype(np.uint8)
    blurred = preprocess("blur", image).astype(int)
    assert np.abs(blurred[100:150, 100:150].mean() - 40) < 3
    assert blurred[100:150, 100:150].std() < image[100:150, 100:150].std() / 5


def test_luminance_is_how_bright_colours_look() -> None:
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]], np.uint8)
    grey = preprocess("luminance", image)
    assert (grey == grey[..., :1]).all()
    red, green, blue, same = grey[0, :, 0].tolist()
    assert green > red > blue
    assert same == 90


def test_widths_follow_the_size_of_the_picture() -> None:
    """The same drawing at twice the size gives the same lines at twice the size."""
    small, large = square(), square().repeat(2, 0).repeat(2, 1)
    for kind in ("lineart", "soft_edges", "blur"):
        halved = preprocess(kind, large)[::2, ::2].astype(int)
        assert np.abs(halved - preprocess(kind, small)).mean() < 3


@pytest.mark.parametrize("kind", [kind for kind in get_args(Preprocessor) if kind != "depth"])  # by a model
def test_every_preprocessor_keeps_size_and_input(kind: Preprocessor) -> None:
    image = np.random.default_rng(2).integers(0, 256, (37, 53, 3), np.uint8)
    before = image.copy()
    made = preprocess(kind, image[:, ::-1])  # a view, as crops are
    assert (made.shape, made.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(made, preprocess(kind, image[:, ::-1].copy()))
