"""Where everything has gone when something was done to GIMP's canvas without our doing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from scumble.client.mirroring import mirroring_since
from scumble.client.placement import (
    Looks,
    Placement,
    are_alike,
    find_rows,
    is_scaling,
    layers_scaled,
    layers_shift,
    scaling,
)
from scumble.protocol.geometry import Bounds, Size


class Seen(NamedTuple):
    """An image at one moment: its size, its layers by id, some rows of a region of the visible picture, and the looks of
    all of it."""

    canvas: Size
    layers: Mapping[int, Bounds]
    region: Bounds
    rows: Mapping[Bounds, bytes]
    looks: Looks


def placement_since(
    before: Seen,
    canvas: Size,
    layers: Mapping[int, Bounds],
    looks: Looks,
    read: Callable[[Bounds], bytes],
) -> Placement | None:
    """Where everything has gone on the present `canvas`, with these `layers` and `looks`; None where that cannot be told
    for certain.

    GIMP moves every layer when the canvas is resized; where it is cropped it cuts them off; where it is scaled they change
    their sizes alike. `read` shows the picture as it is now.
    """
    if canvas == before.canvas:
        return mirroring_since(before.rows, before.looks, canvas, looks, read)
    turned = canvas == before.canvas[::-1]  # layers may keep their sizes when the image is rotated
    shift = None if turned else layers_shift(before.layers, layers)
    shift = shift or find_rows(before.rows, canvas, read)
    if shift is not None:
        return Placement(*shift)
    placement = scaling(before.canvas, canvas)
    is_scaled = is_scaling(placement) and layers_scaled(before.layers, layers, placement)
    return placement if is_scaled and are_alike(before.looks, looks) else None
