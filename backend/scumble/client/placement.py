"""Where everything has gone when a canvas was changed without our doing. Pure.

Hosts do not say what was done, so it is told from what is seen before and afterwards: where the layers are, and where
rows of the picture are found again. No pixel loops: rows are compared and looked up as bytes of 4 a pixel.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, TypeVar, Union

from ..protocol.geometry import Bounds, Size

Number = Union[int, Fraction]
Key = TypeVar("Key")
Read = Callable[[Bounds], bytes]
"""Gives the pixels that one sees now; the bounds lie on the canvas."""

LEAST_COLOURS = 16
"""Different bytes in a row of pixels below which it proves nothing."""
PROBE = 64
"""Px of a row that are looked for, before all of it is compared."""
LEAST_ROWS = 2
GRID = 16
"""Points per side at which two pictures are compared that have been scaled."""
LEAST_CONTRAST, GREATEST_DIFFERENCE = 6.0, 1 / 8
"""Mean deviation of a picture below which its looks prove nothing; mean difference of like pictures, in contrasts."""
LEAST_SCALING = Fraction(11, 10)
"""Nearer to 1, a scaled picture looks too much like one that was cropped."""


class Placement(NamedTuple):
    """Where what was at (x, y) is now: at (x * across + left, y * down + top). Negative factors mirror."""

    left: Number = 0
    top: Number = 0
    across: Number = 1
    down: Number = 1

    @property
    def mirrored(self) -> Tuple[bool, bool]:
        """Whether left and right, top and bottom are exchanged."""
        return self.across < 0, self.down < 0

    def of(self, bounds: Bounds) -> Bounds:
        """Where these bounds are now, to the nearest px; never without a pixel where they had one."""
        if bounds.is_empty:
            return bounds
        left, right = sorted(_round(x * self.across + self.left) for x in (bounds.left, bounds.right))
        top, bottom = sorted(_round(y * self.down + self.top) for y in (bounds.top, bounds.bottom))
        return Bounds.from_edges(left, top, max(right, left + 1), max(bottom, top + 1))

    def then(self, later: Placement) -> Placement:
        """First this one, then the other."""
        return Placement(
            self.left * later.across + later.left,
            self.top * later.down + later.top,
            self.across * later.across,
            self.down * later.down,
        )

    def since(self, earlier: Placement) -> Placement:
        """What has to come after the earlier one to make this one."""
        across, down = Fraction(self.across) / earlier.across, Fraction(self.down) / earlier.down
        return Placement(self.left - earlier.left * across, self.top - earlier.top * down, across, down)


def scaling(before: Size, now: Size) -> Placement:
    """Of a picture that was scaled as a whole."""
    return Placement(0, 0, Fraction(now.width, before.width), Fraction(now.height, before.height))


# ---- hosts whose layers have an origin that moves with the canvas (Krita) --------------------------------------------


class Layer(NamedTuple):
    """Where a layer's origin lies on the canvas, and what is on it."""

    x: int
    y: int
    bounds: Bounds


class Seen(NamedTuple):
    """A document at one moment: its size, its paint layers by id, and some rows of the visible picture by their y."""

    canvas: Size
    layers: Dict[str, Layer]
    rows: Dict[int, bytes]

    @property
    def strips(self) -> Dict[Bounds, bytes]:
        """The rows by where they lie."""
        return {Bounds(0, y, self.canvas.width, 1): row for y, row in self.rows.items()}

    @property
    def looks(self) -> Looks:
        """The rows, one below the other, from B G R A to r g b."""
        row = b"".join(self.rows[y] for y in sorted(self.rows))
        pixels = bytearray(len(row) // 4 * 3)
        for channel in range(3):
            pixels[channel::3] = row[2 - channel :: 4]
        return Looks(Size(self.canvas.width, len(self.rows)), bytes(pixels))


def shift_since(before: Seen, canvas: Size, layers: Dict[str, Layer], read: Read) -> Optional[Placement]:
    """Where everything has moved on the present `canvas` with its `layers`; None where that cannot be told for certain.

    Krita moves the origins of all paint layers when the canvas is resized or cropped, but leaves them when the picture is
    scaled. So all layers must agree, and besides either a layer away from all edges must have moved alike without a change
    of its size, or two rows of the picture must be found again at their new place.
    """
    common = [name for name in before.layers if name in layers]
    shifts = {(layers[name].x - before.layers[name].x, layers[name].y - before.layers[name].y) for name in common}
    if len(shifts) != 1:
        return None
    ((dx, dy),) = shifts
    for name in common:
        was, now = before.layers[name].bounds, layers[name].bounds
        # Crops cut at the edges, and a background fills whatever there is: only what lies inside tells anything.
        inside = Bounds.of_size(before.canvas).pad(-1).contains(was) and Bounds.of_size(canvas).pad(-1).contains(now)
        if not was.is_empty and inside and now == was.translate(dx, dy):
            return Placement(dx, dy)
    found = sum(_is_found(place, row, dx, dy, canvas, read) for place, row in before.strips.items())
    return Placement(dx, dy) if found >= LEAST_ROWS else None


def has_moved(before: Seen, now: Seen) -> bool:
    """Whether any layer's origin lies elsewhere than it did."""
    return any(now.layers[name][:2] != layer[:2] for name, layer in before.layers.items() if name in now.layers)


def scaling_since(before: Seen, now: Seen) -> Optional[Placement]:
    """The scaling that made the one picture of the other; None where that is not certain.

    Krita leaves the origins of layers where they are and scales what is on them.
    """
    placement = scaling(before.canvas, now.canvas)
    common = [name for name in before.layers if name in now.layers]
    if not common or len(before.rows) != len(now.rows) or not is_scaling(placement):
        return None
    if any(before.layers[name][:2] != now.layers[name][:2] for name in common):
        return None
    was, shown = ({name: seen.layers[name].bounds for name in common} for seen in (before, now))
    if not layers_scaled(was, shown, placement):
        return None
    return placement if are_alike(before.looks, now.looks) else None


def _is_found(place: Bounds, row: bytes, dx: int, dy: int, canvas: Size, read: Read) -> bool:
    """Whether a row of pixels is where it would be after this shift, as far as it is still on the canvas."""
    moved = place.translate(dx, dy)
    rest = moved.intersect(Bounds.of_size(canvas))
    if rest.is_empty:
        return False
    was = row[(rest.left - moved.left) * 4 : (rest.right - moved.left) * 4]
    return tells(was) and was == read(rest)


# ---- hosts that only say where the layers' pixels are (GIMP) ---------------------------------------------------------


class Looks(NamedTuple):
    """A small picture, rgb: `size.area` * 3 bytes."""

    size: Size
    pixels: bytes


def find_rows(rows: Mapping[Bounds, bytes], canvas: Size, read: Read) -> Optional[Tuple[int, int]]:
    """By how many px these rows of the picture (each 1 px high, all of one width) have moved on the present canvas; None
    where fewer than two are found at one distance, or others at another.

    A crop cuts layers off, so that their positions do not tell by how much it moved them. All pieces of PROBE px of the
    rows are looked up in a few columns of the picture, which lie so close that at least one of them meets the rows.
    """
    telling = {place: row for place, row in rows.items() if place.width >= PROBE and tells(row)}
    pieces: Dict[bytes, Optional[Bounds]] = {}
    for place, row in telling.items():
        for x in range(place.width - PROBE + 1):
            piece = row[x * 4 : (x + PROBE) * 4]
            # What comes twice proves nothing.
            pieces[piece] = None if piece in pieces else Bounds(place.x + x, place.y, PROBE, 1)
    shifts: Counter[Tuple[int, int]] = Counter()
    for column in _columns(canvas, min((place.width for place in telling), default=0)):
        pixels = read(column)
        for y in range(column.height):
            piece = pixels[y * PROBE * 4 : (y + 1) * PROBE * 4]
            found = pieces.get(piece)
            if found is not None and tells(piece):
                shifts[column.x - found.x, y - found.y] += 1
    proven = [
        (dx, dy)
        for (dx, dy), _ in shifts.most_common(GRID)
        if sum(_is_found(place, row, dx, dy, canvas, read) for place, row in telling.items()) >= LEAST_ROWS
    ]
    return proven[0] if len(proven) == 1 else None


def _columns(canvas: Size, width: int) -> Iterator[Bounds]:
    """Columns of PROBE px, of which two or more meet whatever is `width` px wide."""
    if width < PROBE or canvas.width < PROBE:
        return
    step = max((width - PROBE) // 2, 1)
    for x in [*range(0, canvas.width - PROBE, step), canvas.width - PROBE]:
        yield Bounds(x, 0, PROBE, canvas.height)


def layers_shift(before: Mapping[int, Bounds], after: Mapping[int, Bounds]) -> Optional[Tuple[int, int]]:
    """By how many px all layers (by id) have moved; None where they disagree or have changed their sizes."""
    pairs = [(before[layer], after[layer]) for layer in before if layer in after]
    shifts = {(new.x - old.x, new.y - old.y) for old, new in pairs}
    same_size = all(new.size == old.size for old, new in pairs)
    return shifts.pop() if same_size and len(shifts) == 1 else None


def layers_scaled(before: Mapping[Key, Bounds], after: Mapping[Key, Bounds], placement: Placement) -> bool:
    """Whether all layers that are still there have gone there, rounded in whichever way."""
    pairs = [(placement.of(before[layer]), after[layer]) for layer in before if layer in after]
    return all(abs(value - wanted) <= 1 for old, new in pairs for value, wanted in zip(new, old))


def is_scaling(placement: Placement) -> bool:
    """Whether the sides differ enough from what they were for looks to prove anything."""
    factors = [max(factor, 1 / Fraction(factor)) for factor in (placement.across, placement.down)]
    return max(factors) >= LEAST_SCALING


def are_alike(before: Looks, now: Looks) -> bool:
    """Whether both show the same, at whatever sizes."""
    return alike(sample(before), sample(now))


def alike(was: List[int], shown: List[int]) -> bool:
    """The same of two samples."""
    means = [sum(was[channel::3]) / (GRID * GRID) for channel in range(3)]
    contrast = sum(abs(value - means[index % 3]) for index, value in enumerate(was)) / len(was)
    return contrast >= LEAST_CONTRAST and difference(was, shown) <= contrast * GREATEST_DIFFERENCE


def difference(was: List[int], shown: List[int]) -> float:
    """The mean of it, 0..255."""
    return sum(abs(a - b) for a, b in zip(was, shown)) / len(was)


def sample(looks: Looks, across: bool = False, down: bool = False, turned: bool = False) -> List[int]:
    """r, g, b at GRID x GRID points, row by row; of the picture mirrored across or down, rows and columns exchanged first
    where it is `turned` (all that turns by 90 degrees can come to)."""
    width, height = looks.size
    places = [(2 * index + 1) / (2 * GRID) for index in range(GRID)]
    columns = [width - 1 - int(place * width) if across else int(place * width) for place in places]
    rows = [height - 1 - int(place * height) if down else int(place * height) for place in places]
    points = [(x, y) for x in columns for y in rows] if turned else [(x, y) for y in rows for x in columns]
    return [value for x, y in points for value in looks.pixels[(y * width + x) * 3 : (y * width + x) * 3 + 3]]


def tells(pixels: bytes) -> bool:
    """Whether finding them somewhere proves anything."""
    return len(set(pixels)) >= LEAST_COLOURS


def _round(value: Number) -> int:
    """Halves upwards, so that neighbours stay neighbours."""
    return int((value * 2 + 1) // 2)
