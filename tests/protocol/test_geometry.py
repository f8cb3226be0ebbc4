"""Rectangle arithmetic, against sets of pixels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scumble.protocol.geometry import Bounds, Size, subtract

small = st.integers(-6, 6)
rectangles = st.builds(Bounds, small, small, st.integers(0, 6), st.integers(0, 6))


def pixels(bounds: Bounds) -> set[tuple[int, int]]:
    return {(x, y) for x in range(bounds.left, bounds.right) for y in range(bounds.top, bounds.bottom)}


@given(rectangles, rectangles)
def test_intersection_and_containment_are_those_of_the_pixel_sets(a: Bounds, b: Bounds) -> None:
    assert pixels(a.intersect(b)) == pixels(a) & pixels(b)
    assert a.contains(b) == (pixels(b) <= pixels(a))


@given(rectangles, rectangles)
def test_union_is_the_smallest_rectangle_around_both(a: Bounds, b: Bounds) -> None:
    both = pixels(a) | pixels(b)
    union = a.union(b)
    assert pixels(union) >= both
    if both:
        assert union.left == min(x for x, _ in both)
        assert union.right == max(x for x, _ in both) + 1
        assert union.top == min(y for _, y in both)
        assert union.bottom == max(y for _, y in both) + 1


@given(rectangles, rectangles)
def test_subtract_covers_the_rest_once(whole: Bounds, part: Bounds) -> None:
    pieces = list(subtract(whole, part))
    assert len(pieces) <= 4
    assert sum(piece.area for piece in pieces) == len(pixels(whole) - pixels(part))
    assert set().union(*map(pixels, pieces)) == pixels(whole) - pixels(part)


@given(rectangles, small, small)
def test_moves_are_exactly_undone(bounds: Bounds, dx: int, dy: int) -> None:
    assert bounds.translate(dx, dy).translate(-dx, -dy) == bounds
    frame = Bounds(dx, dy, 1, 1)
    assert bounds.relative_to(frame).translate(dx, dy) == bounds


def test_slices_pad_and_size() -> None:
    bounds = Bounds.of_size(Size(5, 4))
    assert bounds.slices() == (slice(0, 4), slice(0, 5))
    assert bounds.pad(2) == Bounds(-2, -2, 9, 8)
    assert bounds.pad(-3).is_empty
    assert (bounds.size, bounds.area, bounds.size.area) == (Size(5, 4), 20, 20)
