"""What GIMP's layers and pixels tell when the canvas has changed; each piece of evidence is tested with the client."""

from __future__ import annotations

from fractions import Fraction

from scumble.client.placement import Looks, Placement
from scumble.protocol.geometry import Bounds, Size
from scumble_gimp.placement import Seen, placement_since

BASE = Bounds(0, 0, 160, 100)
CHECKS = Looks(Size(2, 2), bytes([0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0, 0]))
STRIPES = Looks(Size(2, 2), bytes([0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255]))


def pixels(place: Bounds) -> bytes:
    return b"".join(
        bytes([(x * x * 31 + y * y * 17 + x * y * 7 + x * x * x // 97) % 251] * 4)
        for y in range(place.top, place.bottom)
        for x in range(place.left, place.right)
    )


def since(
    canvas: Size, layers: dict[int, Bounds], shift: tuple[int, int] = (999, 999), looks: Looks = STRIPES
) -> Placement | None:
    rows = {Bounds(0, y, 160, 1): pixels(Bounds(0, y, 160, 1)) for y in range(0, 100, 7)}
    before = Seen(BASE.size, {1: BASE, 2: Bounds(40, 40, 50, 50)}, BASE, rows, CHECKS)
    moved = (-shift[0], -shift[1])
    return placement_since(before, canvas, layers, looks, lambda place: pixels(place.translate(*moved)))


def test_layers_pixels_then_looks() -> None:
    grown = {1: BASE.translate(20, 10), 2: Bounds(60, 50, 50, 50)}
    assert since(Size(200, 120), grown) == Placement(20, 10)
    cropped = {1: Bounds(0, 0, 100, 60), 2: Bounds(20, 30, 50, 30)}
    assert since(Size(100, 60), cropped, (-20, -10)) == Placement(-20, -10)
    assert since(Size(100, 60), cropped) is None
    half = {1: Bounds(0, 0, 80, 50), 2: Bounds(20, 20, 25, 25)}
    assert since(Size(80, 50), half, looks=CHECKS) == Placement(0, 0, Fraction(1, 2), Fraction(1, 2))
    assert since(Size(80, 50), half) is None
    assert since(Size(80, 50), cropped, looks=CHECKS) is None


def test_a_canvas_of_the_same_size_may_be_mirrored() -> None:
    same = {1: BASE, 2: Bounds(40, 40, 50, 50)}
    assert since(BASE.size, same, (0, 0), CHECKS) == Placement()
    assert since(BASE.size, same, (0, 0), STRIPES) == Placement(), "somebody has painted"


def test_a_rotated_picture_is_not_followed() -> None:
    """Square layers keep their sizes then, and may seem to have moved alike."""
    assert since(Size(100, 160), {2: Bounds(10, 40, 50, 50)}) is None
