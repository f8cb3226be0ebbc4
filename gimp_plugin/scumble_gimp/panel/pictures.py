"""Raw pixels as pictures on the screen. No image loaders: those need helper processes that fail in sandboxes."""

from __future__ import annotations

from typing import Any

from gi.repository import GdkPixbuf, GLib
from scumble.protocol.geometry import Size


def picture(size: Size, rgba: bytes, side: int, enlarge: bool = False) -> Any:
    """A pixbuf that fits a square of `side` px; smaller pictures stay as they are unless they are to be enlarged."""
    stride = size.width * 4
    full = GdkPixbuf.Pixbuf.new_from_bytes(
        GLib.Bytes.new(rgba), GdkPixbuf.Colorspace.RGB, True, 8, size.width, size.height, stride
    )
    scale = side / max(size)
    if scale >= 1 and not enlarge:
        return full
    width, height = max(round(size.width * scale), 1), max(round(size.height * scale), 1)
    # Averaging millions of pixels takes longer than the main loop may be held up; every n-th of them will do.
    quality = GdkPixbuf.InterpType.BILINEAR if size.area < 4_000_000 else GdkPixbuf.InterpType.NEAREST
    return full.scale_simple(width, height, quality)
