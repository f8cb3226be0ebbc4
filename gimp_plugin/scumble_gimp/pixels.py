"""Pixels of GIMP's drawables, read in named formats of babl: GEGL converts from whatever the image is (linear, 16-bit,
float, grey, indexed, with its own colour profile). Masks are linear numbers, "Y u8": with "Y' u8" a half selected pixel
comes out brighter.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from gi.repository import Gegl, Gimp
from scumble.client.placement import Looks
from scumble.protocol.geometry import Bounds, Size

IMAGE_FORMAT, MASK_FORMAT, ALPHA_FORMAT = "R'G'B'A u8", "Y u8", "A u8"
LOOKS_SIDE = 64
"""Px of the longer side of the small picture of everything that is remembered."""


def read(drawable: Any, bounds: Bounds, babl_format: str) -> bytes:
    """A drawable's own pixels, at its own coordinates; 0 where it has none."""
    return _bytes_of(drawable.get_buffer(), bounds, babl_format)


def read_layer(layer: Any, bounds: Bounds, babl_format: str) -> bytes:
    """As `read`, of a layer as it shows: what its filters make of it, and what its layer mask leaves of it."""
    if any(each.get_visible() for each in layer.get_filters()):
        with _alone(layer, bounds) as image, Picture(image) as picture:
            return picture.read(Bounds.of_size(bounds.size), babl_format)
    mask = layer.get_mask() if layer.get_apply_mask() else None
    if mask is None:
        return read(layer, bounds, babl_format)
    _start_gegl()
    graph = Gegl.Node()
    masked = graph.create_child("gegl:opacity")
    for pad, drawable in (("input", layer), ("aux", mask)):
        source = graph.create_child("gegl:buffer-source")
        source.set_property("buffer", drawable.get_buffer())
        source.connect_to("output", masked, pad)
    made = Gegl.Buffer.new(babl_format, *bounds)
    masked.blit_buffer(made, Gegl.Rectangle.new(*bounds), 0, Gegl.AbyssPolicy.NONE)
    return _bytes_of(made, bounds, babl_format)


@contextlib.contextmanager
def _alone(layer: Any, bounds: Bounds) -> Iterator[Any]:
    """These bounds of a layer as an image for a moment: GIMP shows what filters make of it in images only."""
    home = layer.get_image()
    is_grey = home.get_base_type() == Gimp.ImageBaseType.GRAY
    kind = Gimp.ImageBaseType.GRAY if is_grey else Gimp.ImageBaseType.RGB  # filters make colours that no palette has
    image = Gimp.Image.new_with_precision(*bounds.size, kind, home.get_precision())
    try:
        image.undo_disable()
        image.set_color_profile(home.get_color_profile())
        copy = Gimp.Layer.new_from_drawable(layer, image)
        image.insert_layer(copy, None, 0)
        _, x, y = copy.get_offsets()
        image.resize(*bounds.size, -x - bounds.x, -y - bounds.y)  # moves what is locked, too
        copy.set_lock_visibility(False)
        copy.set_visible(True)
        copy.set_opacity(100)
        copy.set_mode(Gimp.LayerMode.NORMAL)
        copy.set_show_mask(False)
        yield image
    finally:
        image.delete()


@functools.cache
def _start_gegl() -> None:
    """Loads GEGL's operations, which takes a moment; buffers do without them."""
    Gegl.init(None)


def _bytes_of(buffer: Any, bounds: Bounds, babl_format: str) -> bytes:
    return bytes(buffer.get(Gegl.Rectangle.new(*bounds), 1.0, babl_format, Gegl.AbyssPolicy.NONE))


class Picture:
    """What one sees of an image, merged when it is first read; nothing at all where no layer is visible."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self._merged: Any = None

    def __enter__(self) -> Picture:
        return self

    def __exit__(self, *error: object) -> None:
        if self._merged is not None:
            self._merged.delete()

    def read(self, bounds: Bounds, babl_format: str = IMAGE_FORMAT) -> bytes:
        if self._merged is None:
            if not any(layer.get_visible() for layer in self._image.get_layers()):
                return bytes(bounds.area * 4)
            self._merged = Gimp.Layer.new_from_visible(self._image, self._image, "scumble")
        return read(self._merged, bounds, babl_format)


def looks_of(image: Any) -> Looks:
    """GIMP keeps a thumbnail of each image, which costs next to nothing as long as nothing has changed."""
    data, width, height, channels = image.get_thumbnail_data(LOOKS_SIDE, LOOKS_SIDE)
    if data is None:
        return Looks(Size(1, 1), bytes(3))
    pixels, planes = data.get_data(), bytearray(width * height * 3)
    for channel in range(3):  # one or two: grey, and its alpha
        planes[channel::3] = pixels[channel if channels > 2 else 0 :: channels]
    return Looks(Size(width, height), bytes(planes))
