"""Integer rectangles on the canvas.

Unit: document pixels. Origin: top left of the canvas, x to the right, y down. Bounds are half open: a pixel (x, y)
belongs to them when ``left <= x < right`` and ``top <= y < bottom``. Bounds may lie outside the canvas, also at negative
coordinates: that is how an outpaint names the area which the canvas has yet to grow over.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Tuple

MAX_SIDE = 32768
"""Longest side, in pixels, of a canvas or a buffer that the protocol can name."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def area(self) -> int:
        return self.width * self.height


class Bounds(NamedTuple):
    """A half-open rectangle in canvas pixels; empty when a side is 0."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def from_edges(cls, left: int, top: int, right: int, bottom: int) -> Bounds:
        """The rectangle between four edges; crossed edges give an empty one."""
        return cls(left, top, max(right - left, 0), max(bottom - top, 0))

    @classmethod
    def of_size(cls, size: Tuple[int, int]) -> Bounds:
        """The rectangle of a canvas of this size, at the origin."""
        return cls(0, 0, size[0], size[1])

    @property
    def left(self) -> int:
        return self.x

    @property
    def top(self) -> int:
        return self.y

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    @property
    def area(self) -> int:
        return self.width * self.height

    @property
    def is_empty(self) -> bool:
        return self.width <= 0 or self.height <= 0

    def intersect(self, other: Bounds) -> Bounds:
        """The common part, empty when there is none."""
        return Bounds.from_edges(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def union(self, other: Bounds) -> Bounds:
        """The smallest rectangle that holds both; an empty one adds nothing."""
        if self.is_empty:
            return other
        if other.is_empty:
            return self
        return Bounds.from_edges(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def contains(self, other: Bounds) -> bool:
        """True when no pixel of `other` lies outside."""
        return other.is_empty or self.intersect(other) == other

    def pad(self, pixels: int) -> Bounds:
        """Grown by `pixels` on each side (shrunk where negative)."""
        return Bounds.from_edges(self.left - pixels, self.top - pixels, self.right + pixels, self.bottom + pixels)

    def translate(self, dx: int, dy: int) -> Bounds:
        return Bounds(self.x + dx, self.y + dy, self.width, self.height)

    def relative_to(self, frame: Bounds) -> Bounds:
        """The same rectangle in coordinates whose origin is `frame`'s top left corner."""
        return self.translate(-frame.x, -frame.y)

    def slices(self) -> Tuple[slice, slice]:
        """Index (rows, columns) of these bounds in an array whose origin is the canvas origin."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def subtract(whole: Bounds, part: Bounds) -> Iterator[Bounds]:
    """The up to four rectangles of `whole` that `part` does not cover: top, bottom, left, right."""
    inner = whole.intersect(part)
    if inner.is_empty:
        if not whole.is_empty:
            yield whole
        return
    pieces = (
        Bounds.from_edges(whole.left, whole.top, whole.right, inner.top),
        Bounds.from_edges(whole.left, inner.bottom, whole.right, whole.bottom),
        Bounds.from_edges(whole.left, inner.top, inner.left, inner.bottom),
        Bounds.from_edges(inner.right, inner.top, whole.right, inner.bottom),
    )
    for piece in pieces:
        if not piece.is_empty:
            yield piece
