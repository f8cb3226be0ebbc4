"""Whether a picture was mirrored or turned without our doing, which leaves the size of its canvas as it was. Pure."""

from __future__ import annotations

from array import array
from typing import Mapping, Optional

from ..protocol.geometry import Bounds, Size
from .placement import LEAST_ROWS, Looks, Placement, Read, alike, difference, sample, tells

CLEARLY = 2
"""How many times more a picture must look like its mirror image than like itself to be taken for it without proof: what is
nearly symmetrical, and was repainted as a whole, has not moved."""


def mirroring_since(
    rows: Mapping[Bounds, bytes], before: Looks, canvas: Size, now: Looks, read: Read
) -> Optional[Placement]:
    """How everything was mirrored on a canvas of this size (both ways: turned by 180 degrees); the Placement that moves
    nothing where nothing of that kind shows. None where it does, but cannot be told for certain or followed (90 degrees).

    rows         of the picture before, each 1 px high
    before, now  of all of it

    The looks point to it, rows that are found again prove it. Whatever the artist has painted meanwhile, the picture is
    more like itself than like its mirror image.
    """
    was = sample(before)
    ways = [(across, down) for across in (False, True) for down in (False, True)]
    shown = {(*way, False): sample(now, *way) for way in ways}
    if canvas.width == canvas.height:
        shown.update({(*way, True): sample(now, *way, turned=True) for way in ways})
    likely = min(shown, key=lambda way: difference(was, shown[way]))
    across, down, turned = likely
    if not (across or down or turned) or _in_place(rows, Placement(), read):
        return Placement()
    placement = Placement(
        canvas.width if across else 0, canvas.height if down else 0, -1 if across else 1, -1 if down else 1
    )
    if not turned and _in_place(rows, placement, read):
        return placement
    plain = difference(was, shown[False, False, False])
    is_clear = alike(was, shown[likely]) and difference(was, shown[likely]) * CLEARLY <= plain
    return None if is_clear else Placement()


def _in_place(rows: Mapping[Bounds, bytes], placement: Placement, read: Read) -> bool:
    """Whether enough of the rows are where this placement says."""
    found = 0
    for place, row in rows.items():
        if tells(row) and read(placement.of(place)) == mirrored(row, place.size, *placement.mirrored):
            found += 1
            if found == LEAST_ROWS:
                return True
    return False


def mirrored(pixels: bytes, size: Size, across: bool, down: bool) -> bytes:
    """The pixels (4 bytes each) with left and right, top and bottom exchanged."""
    stride = size.width * 4
    rows = [pixels[start : start + stride] for start in range(0, len(pixels), stride)]
    if across:
        rows = [array("I", row)[::-1].tobytes() for row in rows]
    return b"".join(reversed(rows) if down else rows)
