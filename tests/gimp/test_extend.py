"""By how much the canvas grows."""

from __future__ import annotations

from typing import Any

import pytest
from scumble.client.document import Edges
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Size
from scumble_gimp.extend import edges_for, read_ratio, size_of_ratio

CANVAS = Size(320, 256)


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ({"left": 10, "bottom": 3}, (10, 0, 0, 3)),
        ({"left": 10, "width": 900, "ratio": "2:1"}, (10, 0, 0, 0)),
        ({"width": 330}, (5, 0, 5, 0)),
        ({"width": 331, "height": 256}, (5, 0, 6, 0)),
        ({"width": 330, "height": 260, "anchor": "top-left"}, (0, 0, 10, 4)),
        ({"width": 330, "height": 260, "anchor": "bottom"}, (5, 4, 5, 0)),
        ({"width": 330, "height": 260, "anchor": "right"}, (10, 2, 0, 2)),
        ({"ratio": "3:2"}, (32, 0, 32, 0)),
        ({"ratio": "1:1", "anchor": "bottom-left"}, (0, 64, 0, 0)),
        ({"ratio": "1.503", "anchor": "left"}, (0, 0, 65, 0)),  # 384.77 px wide
        ({"ratio": "1:1.503", "anchor": "top"}, (0, 0, 0, 225)),  # 480.96 px high
    ],
)
def test_edges(values: dict[str, Any], edges: tuple[int, ...]) -> None:
    assert edges_for(CANVAS, values) == Edges(*edges)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "does not grow"),
        ({"width": 320, "height": 256}, "does not grow"),
        ({"ratio": "5:4"}, "does not grow"),
        ({"width": 100}, "smaller than the picture"),
        ({"ratio": "wide"}, "no ratio"),
        ({"ratio": "0:1"}, "no ratio"),
    ],
)
def test_what_cannot_be_meant(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words) as raised:
        edges_for(CANVAS, values)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("16:9", (16, 9)), (" 3 / 2 ", (3, 2)), ("1,85:1", (1.85, 1)), ("1.5", (1.5, 1)), ("2x3", (2, 3))],
)
def test_ratios_as_people_write_them(text: str, ratio: tuple[float, float]) -> None:
    assert read_ratio(text) == ratio


@pytest.mark.parametrize("ratio", [(16.0, 9.0), (1.0, 1.0), (2.0, 3.0), (2.39, 1.0)])
def test_target_holds_the_canvas_and_has_the_ratio(ratio: tuple[float, float]) -> None:
    size = size_of_ratio(CANVAS, *ratio)
    assert size.width >= CANVAS.width
    assert size.height >= CANVAS.height
    assert CANVAS.width == size.width or CANVAS.height == size.height
    assert abs(size.width - size.height * ratio[0] / ratio[1]) <= max(ratio[0] / ratio[1], 1)
