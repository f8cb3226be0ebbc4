"""Where everything has gone when the canvas has changed its size without our doing. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from scumble.protocol.geometry import Bounds


def shift_between(before: Mapping[int, Bounds], after: Mapping[int, Bounds]) -> tuple[int, int] | None:
    """By how many px all layers (by id) have moved; None where that cannot be told.

    GIMP moves every layer when the canvas is resized; where it is cropped or scaled they change their sizes.
    """
    pairs = [(before[layer], after[layer]) for layer in before if layer in after]
    shifts = {(new.x - old.x, new.y - old.y) for old, new in pairs}
    same_size = all(new.size == old.size for old, new in pairs)
    return shifts.pop() if same_size and len(shifts) == 1 else None
