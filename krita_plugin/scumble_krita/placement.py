"""Where everything has gone when the canvas has changed its size without our doing. Pure."""

from __future__ import annotations

from .lib.scumble.protocol.geometry import Bounds, Size

Seen = dict[str, tuple[int, int, Bounds]]
"""Layers by id: the position of its origin, and the bounds of what is on it."""


def shift_between(before: Seen, after: Seen, was: Size, now: Size) -> tuple[int, int] | None:
    """By how many px everything has moved; None where that cannot be told for certain.

    Krita moves the origins of all layers when the canvas is resized or cropped, but leaves them when the picture is
    scaled. So all layers must agree, and the bounds of one must have moved in the same way without a change of size: of
    one that reached to no edge of either canvas, as crops cut there and backgrounds fill whatever there is.
    """
    common = [name for name in before if name in after]
    shifts = {(after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in common}
    if len(shifts) != 1:
        return None
    ((dx, dy),) = shifts
    for name in common:
        bounds = before[name][2]
        inside = Bounds.of_size(was).pad(-1).contains(bounds) and Bounds.of_size(now).pad(-1).contains(after[name][2])
        if not bounds.is_empty and inside and after[name][2] == bounds.translate(dx, dy):
            return dx, dy
    return None
