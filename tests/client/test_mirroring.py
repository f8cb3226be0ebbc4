"""Pictures that were mirrored or turned on a canvas that kept its size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scumble.client.mirroring import mirrored, mirroring_since
from scumble.client.placement import Looks, Placement
from scumble.protocol.geometry import Bounds, Size

SIZE = Size(96, 64)
Point = Callable[[int, int], tuple[int, int]]


def read(turn: Point = lambda x, y: (x, y), offset: int = 0) -> Callable[[Bounds], bytes]:
    """Reads a picture that shows at (x, y) what a slope with some texture has at turn(x, y)."""

    def pixel(x: int, y: int) -> bytes:
        x, y = turn(x, y)
        return bytes([(x * 2 + (x * y) % 7 + offset) % 256, (y * 3 + (x * x + y) % 5) % 256, (x + y) % 256, 255])

    return lambda place: b"".join(
        pixel(x, y) for y in range(place.top, place.bottom) for x in range(place.left, place.right)
    )


def looks(shown: Callable[[Bounds], bytes], size: Size = SIZE) -> Looks:
    pixels = shown(Bounds.of_size(size))
    return Looks(size, b"".join(pixels[start : start + 3] for start in range(0, len(pixels), 4)))


def rows(shown: Callable[[Bounds], bytes], size: Size = SIZE) -> dict[Bounds, bytes]:
    places = [Bounds(8, y, size.width - 30, 1) for y in range(4, size.height, 5)]
    return {place: shown(place) for place in places}


def since(shown: Callable[[Bounds], bytes], size: Size = SIZE, **changes: object) -> Placement | None:
    before = read()
    evidence = {"rows": rows(before, size), "before": looks(before, size), "now": looks(shown, size), **changes}
    return mirroring_since(canvas=size, read=shown, **evidence)  # type: ignore[arg-type]


def moved(across: bool, down: bool, size: Size = SIZE) -> Point:
    return lambda x, y: (size.width - 1 - x if across else x, size.height - 1 - y if down else y)


WAYS = {
    (True, False): Placement(96, 0, -1, 1),
    (False, True): Placement(0, 64, 1, -1),
    (True, True): Placement(96, 64, -1, -1),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_mirrored_picture_is_followed(way: tuple[bool, bool]) -> None:
    placement = since(read(moved(*way)))
    assert placement == WAYS[way]
    # What lay at the left lies at the right, and what was made for it shows the same when it is mirrored too.
    place = Bounds(10, 5, 20, 30)
    was, now = read()(place), read(moved(*way))(placement.of(place))
    assert mirrored(was, place.size, *placement.mirrored) == now


def test_a_picture_that_was_painted_on_has_not_moved() -> None:
    assert since(read()) == Placement()
    assert since(read(offset=20)) == Placement()
    # Also where what was painted makes it look more like its mirror image: its rows are still there.
    assert since(read(), now=looks(read(moved(True, False)))) == Placement()
    # Nearly symmetrical, and made darker as a whole: it looks a little more like its mirror image.
    halves = read(lambda x, y: (min(x, 94 - x), y))
    darker = read(lambda x, y: (min(x, 96 - x), y), offset=20)
    assert since(darker, before=looks(halves), rows=rows(halves)) == Placement()
    # Another picture altogether tells nothing.
    assert since(read(lambda x, y: (x * 5 % 31, y * 11 % 37))) == Placement()


def test_what_looks_mirrored_and_cannot_be_proven_is_unknown() -> None:
    assert since(read(moved(True, False), offset=1)) is None
    assert since(read(moved(True, False)), rows={}) is None


@pytest.mark.parametrize(("lop_sided", "expected"), [(2, Placement()), (4, None)])
def test_it_must_look_twice_as_much_like_its_mirror_image(lop_sided: int, expected: Placement | None) -> None:
    """A picture that is mirrored but for so many px, with another tint as a whole, so that no row is found again."""
    before = read(lambda x, y: (min(x, 95 - x + lop_sided), y))
    now = read(lambda x, y: (min(95 - x, x + lop_sided), y), offset=6)
    assert since(now, before=looks(before), rows=rows(before)) == expected


def test_a_square_that_was_turned_by_90_degrees_is_unknown() -> None:
    square = Size(64, 64)
    for turn in (
        lambda x, y: (y, 63 - x),
        lambda x, y: (63 - y, x),
        lambda x, y: (y, x),
        lambda x, y: (63 - y, 63 - x),
    ):
        assert since(read(turn), square) is None
    assert since(read(moved(True, True, square)), square) == Placement(64, 64, -1, -1)


def test_mirrored_pixels() -> None:
    pixels = bytes(range(24))  # 3 x 2
    pixel = [pixels[start : start + 4] for start in range(0, 24, 4)]
    for way, order in (((True, False), "210543"), ((False, True), "345012"), ((True, True), "543210")):
        assert mirrored(pixels, Size(3, 2), *way) == b"".join(pixel[int(index)] for index in order)
