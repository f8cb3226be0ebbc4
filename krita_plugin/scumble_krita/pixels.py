"""Pixels as Krita and Qt hold them: colour spaces, strips of a picture, and what shares memory with what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .lib.scumble.protocol.geometry import Bounds, Size
from .qt import QtCore, QtGui

SRGB = "sRGB-elle-V2-srgbtrc.icc"
PLAIN_PROFILES = (SRGB, "sRGB-elle-V4-srgbtrc.icc", "sRGB built-in")
SAMPLES = 16
"""Rows of a selection or picture that are looked at where all of it would take too long."""
AT_ONCE = 1 << 23
"""Bytes of pixels that are written into a layer before Krita's event loop comes round."""
TILE = 64
"""Side in px of the tiles that Krita keeps pixels in: strips that end with one are written in half the time."""


class Space(NamedTuple):
    """A colour space as Krita names it."""

    model: str
    depth: str
    profile: str

    @property
    def is_plain(self) -> bool:
        return (self.model, self.depth) == ("RGBA", "U8") and self.profile in PLAIN_PROFILES


PLAIN = Space("RGBA", "U8", SRGB)


class Strip(NamedTuple):
    """What was written into a layer: where, and Krita's kind of bytes. `owner` keeps the memory that these may use."""

    bounds: Bounds
    data: Any
    owner: bytes


def space_of(holder: Any) -> Space:
    """Of a document or a layer."""
    return Space(holder.colorModel(), holder.colorDepth(), holder.colorProfile())


def bytes_of(image: Any) -> bytes:
    bits = image.constBits()
    return bits.asstring(image.width() * image.height() * 4) if bits is not None else b""


def lent(data: bytes) -> Any:
    """Qt's kind of bytes, to be used as long as `data` lives. PyQt5 needs no copy for that, PyQt6 always makes one."""
    return getattr(QtCore.QByteArray, "fromRawData", QtCore.QByteArray)(data)


def scaled(pixels: bytes, size: Size, wanted: Size) -> bytes:
    image = QtGui.QImage(pixels, size.width, size.height, size.width * 4, QtGui.QImage.Format.Format_ARGB32)
    keep, mode = QtCore.Qt.AspectRatioMode.IgnoreAspectRatio, QtCore.Qt.TransformationMode.SmoothTransformation
    return bytes_of(image.scaled(wanted.width, wanted.height, keep, mode).convertToFormat(image.format()))


def strips(bounds: Bounds) -> Iterator[Bounds]:
    """The bounds from top to bottom, in pieces of about AT_ONCE bytes."""
    rows = max(AT_ONCE // (bounds.width * 4) // TILE, 1) * TILE
    top = bounds.top
    while top < bounds.bottom:
        bottom = min(top // TILE * TILE + rows, bounds.bottom)
        yield Bounds.from_edges(bounds.left, top, bounds.right, bottom)
        top = bottom


def spread(bounds: Bounds) -> list[Bounds]:
    """Some rows, evenly spread, the first and the last among them."""
    rows = sorted({bounds.top + (bounds.height - 1) * part // (SAMPLES - 1) for part in range(SAMPLES)})
    return [Bounds(bounds.x, row, bounds.width, 1) for row in rows]
