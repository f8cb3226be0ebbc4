"""By how much the canvas grows: to reach a ratio, or as it did before. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lib.scumble.protocol.messages import EditRequest

RATIOS = (("1:1", 1, 1), ("4:3", 4, 3), ("3:2", 3, 2), ("16:9", 16, 9), ("3:4", 3, 4), ("2:3", 2, 3), ("9:16", 9, 16))


def edges_for_ratio(width: int, height: int, across: int, down: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) px that make a canvas the smallest one of this ratio, the picture in its middle."""
    wanted_width = max(width, -(-height * across // down))
    wanted_height = max(height, -(-width * down // across))
    if wanted_width > width:
        wanted_height = height
    dx, dy = wanted_width - width, wanted_height - height
    return dx // 2, dy // 2, dx - dx // 2, dy - dy // 2


def edges_of_request(request: EditRequest) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) px by which an earlier edit's canvas was to grow."""
    from .lib.scumble.client.again import edges_again

    return edges_again(request)
