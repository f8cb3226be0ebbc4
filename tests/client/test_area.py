"""Which part of a document an edit needs, and masks made of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble.client.area import alpha_of, bounds_to_send, edges_around, is_blank, is_empty, mask_of_edges, touches_empty
from scumble.client.document import Edges
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size

small = st.integers(0, 6)


@given(st.integers(1, 8), st.integers(1, 8), st.builds(Edges, small, small, small, small).filter(any))
def test_the_mask_of_edges_selects_exactly_what_lies_beyond_the_canvas(width: int, height: int, edges: Edges) -> None:
    bounds, mask = mask_of_edges(Size(width, height), edges)
    selected = {
        (x, y)
        for y in range(bounds.top, bounds.bottom)
        for x in range(bounds.left, bounds.right)
        if mask[(y - bounds.y) * bounds.width + x - bounds.x] == 255
    }
    assert len(mask) == bounds.area
    assert set(mask) <= {0, 255}
    assert selected == {
        (x, y)
        for y in range(-edges.top, height + edges.bottom)
        for x in range(-edges.left, width + edges.right)
        if not (0 <= x < width and 0 <= y < height)
    }
    assert edges_around(Size(width, height), bounds) == edges


def test_one_edge_needs_no_mask_over_the_canvas() -> None:
    assert mask_of_edges(Size(6000, 4000), Edges(right=3))[0] == Bounds(6000, 0, 3, 4000)


@pytest.mark.parametrize("edges", [Edges(), Edges(-1, 5)])
def test_a_canvas_that_does_not_grow_is_refused(edges: Edges) -> None:
    with pytest.raises(BadRequest):
        mask_of_edges(Size(4, 4), edges)


@st.composite
def masks_in_canvases(draw: st.DrawFn) -> tuple[Bounds, Size]:
    canvas = Size(draw(st.integers(1, 16384)), draw(st.integers(1, 16384)))
    x, y = draw(st.integers(0, canvas.width - 1)), draw(st.integers(0, canvas.height - 1))
    return Bounds(x, y, draw(st.integers(1, canvas.width - x)), draw(st.integers(1, canvas.height - y))), canvas


@given(masks_in_canvases())
def test_what_is_sent_holds_the_mask_and_its_context_and_lies_in_the_canvas(case: tuple[Bounds, Size]) -> None:
    mask, canvas = case
    sent = bounds_to_send(mask, canvas)
    context = max(max(mask.size) // 16, sum(mask.size) // 4)
    assert sent.contains(mask.pad(context).intersect(Bounds.of_size(canvas)))
    assert Bounds.of_size(canvas).contains(sent)
    assert sent.width >= min(1024, canvas.width)
    assert sent.height >= min(1024, canvas.height)


@given(st.integers(1, 600), st.integers(1, 600))
def test_what_is_sent_does_not_depend_on_the_canvas(width: int, height: int) -> None:
    mask = Bounds(3000, 3000, width, height)
    assert bounds_to_send(mask, Size(8192, 8192)).size == bounds_to_send(mask, Size(16384, 16384)).size


def test_beyond_the_canvas_the_part_next_to_it_is_sent() -> None:
    sent = bounds_to_send(Bounds(4000, 0, 256, 600), Size(4000, 600))
    assert (sent.right, sent.top, sent.bottom) == (4000, 0, 600)
    assert 400 < sent.width < 1200


def test_empty_canvas_counts_only_where_it_is_selected() -> None:
    alpha = bytearray(b"\xff" * 16)  # 4 x 4 at (10, 10)
    around, mask = Bounds(10, 10, 4, 4), Bounds(11, 11, 2, 2)
    assert not touches_empty(b"\xff" * 4, mask, bytes(alpha), around)
    alpha[0] = 0  # (10, 10): not under the mask
    alpha[5] = 1  # (11, 11): nearly empty is not empty
    assert not touches_empty(b"\xff" * 4, mask, bytes(alpha), around)
    alpha[10] = 0  # (12, 12)
    assert touches_empty(b"\xff" * 4, mask, bytes(alpha), around)
    assert touches_empty(b"\0\0\0\1", mask, bytes(alpha), around)
    assert not touches_empty(b"\xff\xff\xff\0", mask, bytes(alpha), around)


def test_blank() -> None:
    assert is_blank(b"")
    assert is_blank(bytes(10))
    assert not is_blank(b"\0\1\0")


def test_nothing_needs_no_room() -> None:
    assert edges_around(Size(8, 8), Bounds(-5, 20, 0, 3)) == Edges()


def test_empty_pixels_have_no_alpha_whatever_their_colour() -> None:
    assert is_empty(b"")
    assert is_empty(b"\xff\xff\xff\0" * 40_000)
    assert not is_empty(b"\xff\xff\xff\0" * 40_000 + b"\0\0\0\1")
    assert not is_empty(b"\0\0\0\1" + b"\xff\xff\xff\0" * 40_000)


def test_pixels_may_be_a_view_of_the_hosts_memory() -> None:
    view = memoryview(bytearray(b"\xff\xff\xff\0" * 40_000 + b"\0\0\0\1"))
    assert not is_empty(view)
    assert is_empty(view[:-4])
    assert alpha_of(view) == bytes(40_000) + b"\1"
