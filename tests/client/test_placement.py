"""Where everything has gone when a canvas was changed without our doing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from scumble.client.placement import (
    PROBE,
    Layer,
    Looks,
    Placement,
    Seen,
    are_alike,
    find_rows,
    is_scaling,
    layers_scaled,
    layers_shift,
    scaling,
    scaling_since,
    shift_since,
)
from scumble.protocol.geometry import Bounds, Size


def test_layers_that_agree_tell_where_everything_has_gone() -> None:
    base, dot = Layer(0, 0, Bounds(0, 0, 400, 300)), Layer(0, 0, Bounds(30, 40, 10, 10))
    before, now = Seen(Size(400, 300), {"base": base, "dot": dot}, {}), Size(500, 400)
    moved = {"base": Layer(25, 15, Bounds(0, 0, 500, 400)), "dot": Layer(25, 15, Bounds(55, 55, 10, 10))}
    scaled = {"base": Layer(0, 0, Bounds(0, 0, 500, 400)), "dot": Layer(0, 0, Bounds(38, 53, 12, 13))}
    apart = {"base": moved["base"], "dot": dot}

    def shift(layers: dict[str, Layer], seen: Seen = before) -> Placement | None:
        return shift_since(seen, now, layers, lambda place: b"")

    assert shift(moved) == Placement(25, 15)
    assert shift(scaled) is None
    assert shift(apart) is None
    assert shift({"base": moved["base"]}, Seen(Size(400, 300), {"base": base}, {})) is None
    assert shift({}) is None
    # A layer that may have been cut off at the edge tells nothing, also where it has kept its size.
    assert shift({"base": Layer(25, 15, Bounds(25, 15, 400, 300))}, Seen(Size(400, 300), {"base": base}, {})) is None


def test_rows_of_the_picture_tell_a_crop_from_a_scaling() -> None:
    def picture(scale: int, dx: int, dy: int, colours: int = 251) -> Callable[[Bounds], bytes]:
        def read(place: Bounds) -> bytes:
            across = range(place.left - dx, place.right - dx)
            return b"".join(
                bytes(4) if colours == 1 else bytes([(x * scale * 7 + (y - dy) * scale * 3) % colours] * 4)
                for y in range(place.top, place.bottom)
                for x in across
            )

        return read

    def seen(colours: int = 251) -> Seen:
        row = {y: picture(1, 0, 0, colours)(Bounds(0, y, 80, 1)) for y in (0, 20, 40, 59)}
        return Seen(Size(80, 60), {"base": Layer(0, 0, Bounds(0, 0, 80, 60))}, row)

    cropped, layers = Size(40, 30), {"base": Layer(-10, -15, Bounds(0, 0, 40, 30))}
    assert shift_since(seen(), cropped, layers, picture(1, -10, -15)) == Placement(-10, -15)
    one = seen()._replace(rows={20: seen().rows[20]})
    assert shift_since(one, cropped, layers, picture(1, -10, -15)) is None, "one row alone may be anywhere"
    scaled = {"base": Layer(0, 0, Bounds(0, 0, 40, 30))}
    assert shift_since(seen(), cropped, scaled, picture(2, 0, 0)) is None
    assert shift_since(seen(1), cropped, layers, picture(1, -10, -15, 1)) is None  # one colour proves nothing


def shown(turn: Callable[[int, int], tuple[int, int]], grain: int = 1) -> Callable[[Bounds], bytes]:
    """Reads a picture that shows at (x, y) what a textured one has at turn(x, y)."""

    def read(place: Bounds) -> bytes:
        pixels = [turn(x, y) for y in range(place.top, place.bottom) for x in range(place.left, place.right)]
        return b"".join(bytes([texture(x // grain, y // grain)] * 4) for x, y in pixels)

    return read


def texture(x: int, y: int) -> int:
    return (x * x * 31 + y * y * 17 + x * y * 7 + x * x * x // 97) % 251


def rows_of(read: Callable[[Bounds], bytes], region: Bounds) -> dict[Bounds, bytes]:
    rows = [Bounds(region.x, region.y + 7 * number, region.width, 1) for number in range(region.height // 7)]
    return {row: read(row) for row in rows}


REGION = Bounds(90, 40, 150, 70)


@pytest.mark.parametrize("shift", [(0, 0), (-60, -30), (25, 4), (-110, -55), (0, -13)])
def test_rows_are_found_where_they_have_gone(shift: tuple[int, int]) -> None:
    """Also where the crop has cut some of them off, in width and number."""
    rows = rows_of(shown(lambda x, y: (x, y)), REGION)
    now = shown(lambda x, y: (x - shift[0], y - shift[1]))
    assert find_rows(rows, Size(220, 130), now) == shift


def test_rows_are_found_in_a_canvas_that_is_no_wider_than_what_is_looked_for() -> None:
    rows = rows_of(shown(lambda x, y: (x, y)), REGION)
    assert find_rows(rows, Size(PROBE, 60), shown(lambda x, y: (x + 100, y + 45))) == (-100, -45)


def test_rows_that_tell_nothing_are_not_found() -> None:
    here = shown(lambda x, y: (x, y))
    rows = rows_of(here, REGION)
    assert find_rows(rows, Size(50, 130), here) is None
    assert find_rows(rows, Size(220, 130), shown(lambda x, y: (x + 999, y))) is None
    assert find_rows({}, Size(220, 130), here) is None
    flat = shown(lambda x, y: (0, 0))
    assert find_rows(rows_of(flat, REGION), Size(220, 130), flat) is None
    # A pattern comes again and again: nobody can say which of them it is.
    tiled = shown(lambda x, y: (x % 32, y))
    assert find_rows(rows_of(tiled, REGION), Size(220, 130), tiled) is None
    twice = shown(lambda x, y: (x, y % 70))
    assert find_rows(rows_of(twice, REGION), Size(260, 210), twice) is None
    # One row alone may be anywhere.
    assert find_rows(dict(list(rows.items())[:1]), Size(220, 130), here) is None


def test_resized_canvas_moves_all_layers() -> None:
    base = Bounds(0, 0, 100, 80)
    before = {1: base, 2: Bounds(5, 5, 10, 10)}
    assert layers_shift(before, {1: base.translate(20, 0), 2: Bounds(25, 5, 10, 10)}) == (20, 0)
    assert layers_shift(before, {1: base.translate(20, 0), 3: base}) == (20, 0)
    assert layers_shift(before, {1: base, 2: Bounds(25, 5, 10, 10)}) is None
    assert layers_shift(before, {1: Bounds(0, 0, 50, 40), 2: Bounds(2, 2, 5, 5)}) is None
    assert layers_shift(before, {}) is None
    assert layers_shift({1: base}, {1: Bounds(0, 0, 50, 40)}) is None, "scaled about the corner"


def test_scaled_layers() -> None:
    half = scaling(Size(100, 80), Size(50, 40))
    before = {1: Bounds(0, 0, 100, 80), 2: Bounds(5, 5, 11, 11)}
    assert layers_scaled(before, {1: Bounds(0, 0, 50, 40), 2: Bounds(2, 3, 5, 6)}, half)
    assert not layers_scaled(before, {1: Bounds(0, 0, 50, 40), 2: Bounds(5, 5, 11, 11)}, half)
    assert is_scaling(half)
    assert is_scaling(scaling(Size(50, 40), Size(50, 44)))
    assert not is_scaling(scaling(Size(100, 80), Size(96, 77)))


def looks(read: Callable[[Bounds], bytes], size: Size) -> Looks:
    pixels = read(Bounds.of_size(size))
    return Looks(size, b"".join(pixels[start : start + 3] for start in range(0, len(pixels), 4)))


def test_a_scaled_picture_looks_alike_and_a_cropped_one_does_not() -> None:
    before = looks(shown(lambda x, y: (x, y), grain=9), Size(60, 40))
    assert are_alike(before, looks(shown(lambda x, y: (x * 2, y * 2), grain=9), Size(30, 20)))
    assert are_alike(before, looks(shown(lambda x, y: (x * 2, y), grain=9), Size(30, 40)))
    assert not are_alike(before, looks(shown(lambda x, y: (x + 20, y + 10), grain=9), Size(30, 20)))
    assert not are_alike(before, looks(shown(lambda x, y: (59 - x, y), grain=9), Size(60, 40)))
    flat = looks(shown(lambda x, y: (0, 0)), Size(60, 40))
    assert not are_alike(flat, flat)


def test_a_scaling_is_told_by_layers_that_stay_and_a_picture_that_looks_alike() -> None:
    whole, dot = Bounds(0, 0, 60, 48), Bounds(6, 12, 12, 12)

    def seen(size: Size, layers: dict[str, Layer], across: float, down: float) -> Seen:
        read = shown(lambda x, y: (int(x * across), int(y * down)), grain=9)
        rows = sorted({(size.height - 1) * part // 15 for part in range(16)})
        return Seen(size, layers, {y: read(Bounds(0, y, size.width, 1)) for y in rows})

    before = seen(Size(60, 48), {"base": Layer(0, 0, whole), "dot": Layer(0, 0, dot)}, 1, 1)
    twice = {"base": Layer(0, 0, Bounds(0, 0, 120, 96)), "dot": Layer(0, 0, Bounds(12, 24, 24, 24))}
    assert scaling_since(before, seen(Size(120, 96), twice, 0.5, 0.5)) == (0, 0, 2, 2)
    assert scaling_since(before, seen(Size(120, 96), twice, 1, 1)) is None, "another picture"
    assert scaling_since(before, seen(Size(120, 96), {**twice, "dot": Layer(9, 0, dot)}, 0.5, 0.5)) is None
    assert scaling_since(before, seen(Size(120, 96), {**twice, "dot": Layer(0, 0, dot)}, 0.5, 0.5)) is None
    assert scaling_since(before, seen(Size(120, 96), {}, 0.5, 0.5)) is None
    assert scaling_since(before, seen(Size(62, 50), before.layers, 1, 1)) is None


def test_placements_follow_one_another() -> None:
    moved, half = Placement(20, -10), scaling(Size(300, 200), Size(150, 100))
    both = moved.then(half)
    assert both.of(Bounds(4, 12, 10, 6)) == Bounds(12, 1, 5, 3)
    assert both.since(moved) == half
    assert both.since(Placement()) == both
    assert both.since(both) == Placement()
    assert half.of(Bounds(7, 7, 1, 1)).area == 1
    mirror = Placement(300, 0, -1, 1)
    assert mirror.of(Bounds(4, 12, 10, 6)) == Bounds(286, 12, 10, 6)
    assert mirror.then(half).of(Bounds(4, 12, 10, 6)) == Bounds(143, 6, 5, 3)
    assert mirror.then(half).since(mirror) == half
    assert mirror.then(mirror) == Placement()
    assert mirror.then(half).mirrored == (True, False)
    third = scaling(Size(9, 9), Size(3, 3))
    pieces = [third.of(Bounds(x, 0, 4, 9)) for x in (0, 4)]
    assert pieces[0].right == pieces[1].left
    assert half.of(Bounds(0, 0, 0, 0)).is_empty
    shifted = Placement(Fraction(1, 2), 0)
    assert [shifted.of(Bounds(x, 0, 1, 1)) for x in range(3)] == [Bounds(x + 1, 0, 1, 1) for x in range(3)]
