"""GIMP's images as Scumble sees them: the only place that touches GIMP's image API.

Pixels are read and written in named formats of babl, so that GEGL converts from and to whatever the image is: linear,
16-bit, float, grey, indexed, with its own colour profile. Masks are read as linear numbers, "Y u8": with "Y' u8" a
half selected pixel comes out brighter.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gi.repository import Gegl, Gimp
from scumble.client.document import Document, Edges, Mark, NewLayer
from scumble.client.placement import Looks, Placement
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.schema import to_json

from .placement import Seen, placement_since

PARASITE = "scumble"
PERSISTENT_AND_UNDOABLE = 3
IMAGE_FORMAT, MASK_FORMAT, LOOKS_FORMAT = "R'G'B'A u8", "Y u8", "R'G'B' u8"
ROWS = 16
"""Rows of a region that are remembered, so that it is found again."""
LOOKS_SIDE = 64
"""Px of the longer side of the small picture of a region that is remembered."""


class GimpDocument(Document):
    """One open image.

    from_layer    the active layer is the source, not the visible picture
    as_mask       the shape of a new layer becomes its layer mask, not its transparency
    keeps_active  a new layer does not become the active one
    """

    def __init__(self, image: Any) -> None:
        super().__init__()
        self.image = image
        self.from_layer = False
        self.as_mask = False
        self.keeps_active = False
        self.inserted: list[Any] = []
        """The layers that came from us, newest last."""
        self._seen: Seen | None = None

    @property
    def identity(self) -> str:
        return str(self.image.get_id())

    @property
    def is_open(self) -> bool:
        return bool(self.image.is_valid())

    @property
    def canvas(self) -> Size:
        self._require_open()
        return Size(self.image.get_width(), self.image.get_height())

    @property
    def is_indexed(self) -> bool:
        return bool(self.image.get_base_type() == Gimp.ImageBaseType.INDEXED)

    def selection(self) -> tuple[Bounds, bytes] | None:
        bounds = self.selection_bounds()
        if bounds is None:
            return None
        return bounds, _read(self.image.get_selection(), bounds, MASK_FORMAT)

    def selection_bounds(self) -> Bounds | None:
        _, selected, left, top, right, bottom = Gimp.Selection.bounds(self.image)
        return Bounds.from_edges(left, top, right, bottom) if selected else None

    def read(self, bounds: Bounds) -> bytes:
        self.mark()  # what was done to the canvas until now has nothing to do with what is read
        with _merged(self.image) as picture:
            self._seen = self._see(picture, bounds)
            if not self.from_layer:
                return picture.read(bounds)
        selected = self.image.get_selected_drawables()
        if not selected:
            raise BadRequest("No layer is active.", "Choose a layer in the layers dialog.")
        _, x, y = selected[0].get_offsets()
        return _read(selected[0], bounds.translate(-x, -y), IMAGE_FORMAT)

    def resize_canvas(self, edges: Edges) -> None:
        width, height = self.canvas
        self.image.resize(width + edges.left + edges.right, height + edges.top + edges.bottom, edges.left, edges.top)

    def insert_layer(self, layer: NewLayer) -> None:
        if self.image.get_floating_sel() is not None:
            raise BadRequest("The image has a floating selection.", "Anchor it, or make it a layer, and apply again.")
        kind = {
            Gimp.ImageBaseType.RGB: Gimp.ImageType.RGBA_IMAGE,
            Gimp.ImageBaseType.GRAY: Gimp.ImageType.GRAYA_IMAGE,
            Gimp.ImageBaseType.INDEXED: Gimp.ImageType.INDEXEDA_IMAGE,
        }[self.image.get_base_type()]
        new = Gimp.Layer.new(self.image, layer.name, *layer.size, kind, 100.0, Gimp.LayerMode.NORMAL)
        new.set_offsets(layer.bounds.x, layer.bounds.y)
        buffer = new.get_buffer()
        buffer.set(Gegl.Rectangle.new(0, 0, *layer.size), IMAGE_FORMAT, layer.pixels)
        buffer.flush()
        note = {"job": layer.job, "index": layer.index, "request": to_json(layer.request)}
        data = list(json.dumps(note, ensure_ascii=False).encode())
        new.attach_parasite(Gimp.Parasite.new(PARASITE, PERSISTENT_AND_UNDOABLE, data))
        active = self.image.get_selected_layers()
        self.image.insert_layer(new, None, 0)
        if self.keeps_active and active:
            self.image.set_selected_layers(active)
        if layer.size != layer.bounds.size:
            new.scale(*layer.bounds.size, False)  # works in an image only
            new.set_offsets(layer.bounds.x, layer.bounds.y)
        if self.as_mask:
            new.add_mask(new.create_mask(Gimp.AddMaskType.ALPHA_TRANSFER))
        self.inserted.append(new)

    @property
    def is_watched(self) -> bool:
        """Whether an edit of ours wants to know what becomes of the canvas."""
        return self._seen is not None

    def mark(self) -> Mark:
        canvas = self.canvas
        if self._seen is None:
            self._see_all()
        elif canvas not in (self._seen.canvas, self._expected):
            with _merged(self.image) as picture:
                layers = _places(self.image)
                placement = placement_since(self._seen, canvas, layers, picture.read, picture.look)
                if placement is not None:
                    self.follow(placement)
                self._seen = self._see(picture, (placement or Placement()).of(self._seen.region))
        return super().mark()

    def contains(self, job: str, index: int) -> bool:
        if not self.is_open:
            return False
        notes = (note_of(layer) for layer in _walk(self.image.get_layers()))
        return any((note.get("job"), note.get("index")) == (job, index) for note in notes)

    def grow_canvas(self, edges: Edges) -> None:
        super().grow_canvas(edges)
        self._see_all()

    def _require_open(self) -> None:
        if not self.is_open:
            raise BadRequest("The image has been closed.", "Its result is kept: open the panel to use it elsewhere.")

    def _see_all(self) -> None:
        with _merged(self.image) as picture:
            self._seen = self._see(picture, Bounds.of_size(self.canvas))

    def _see(self, picture: _Picture, region: Bounds) -> Seen:
        region = region.intersect(Bounds.of_size(self.canvas))
        rows = {row: picture.read(row) for row in _spread(region)}
        return Seen(self.canvas, _places(self.image), region, rows, picture.look(region))

    @contextlib.contextmanager
    def undo_group(self, name: str) -> Iterator[None]:
        self._require_open()
        self.image.undo_group_start()
        try:
            yield
        finally:
            self.image.undo_group_end()
            Gimp.displays_flush()


def new_image(size: Size) -> GimpDocument:
    """An empty image, not on view yet."""
    return GimpDocument(Gimp.Image.new(*size, Gimp.ImageBaseType.RGB))


def put_on_view(document: GimpDocument) -> None:
    Gimp.Display.new(document.image)
    Gimp.displays_flush()


def note_of(layer: Any) -> dict[str, Any]:
    """What we have stored with a layer of ours: job, index, request. Empty for all others."""
    parasite = layer.get_parasite(PARASITE)
    if parasite is None:
        return {}
    try:
        note = json.loads(bytes(parasite.get_data()).decode())
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


class _Picture:
    """What one sees of an image; nothing at all where no layer is visible."""

    def __init__(self, merged: Any | None) -> None:
        self._merged = merged

    def read(self, bounds: Bounds) -> bytes:
        return bytes(bounds.area * 4) if self._merged is None else _read(self._merged, bounds, IMAGE_FORMAT)

    def look(self, bounds: Bounds) -> Looks:
        if self._merged is None or bounds.is_empty:
            return Looks(Size(1, 1), bytes(3))
        scale = min(LOOKS_SIDE / max(bounds.size), 1.0)
        # GEGL counts in scaled pixels here, and takes the mean of those that become one.
        small = Bounds(*(round(value * scale) for value in bounds))
        small = Bounds(small.x, small.y, max(small.width, 1), max(small.height, 1))
        return Looks(small.size, _read(self._merged, small, LOOKS_FORMAT, scale))


@contextlib.contextmanager
def _merged(image: Any) -> Iterator[_Picture]:
    if not any(layer.get_visible() for layer in image.get_layers()):
        yield _Picture(None)
        return
    merged = Gimp.Layer.new_from_visible(image, image, "scumble")
    try:
        yield _Picture(merged)
    finally:
        merged.delete()


def _read(drawable: Any, bounds: Bounds, babl_format: str, scale: float = 1.0) -> bytes:
    """The drawable's own pixels; 0 where it has none."""
    area = Gegl.Rectangle.new(*bounds)
    return bytes(drawable.get_buffer().get(area, scale, babl_format, Gegl.AbyssPolicy.NONE))


def _spread(region: Bounds) -> list[Bounds]:
    """Some of its rows, evenly spread."""
    rows = sorted({region.top + region.height * part // ROWS for part in range(ROWS)} if not region.is_empty else ())
    return [Bounds(region.x, row, region.width, 1) for row in rows]


def _places(image: Any) -> Mapping[int, Bounds]:
    return {layer.get_id(): _bounds_of(layer) for layer in _walk(image.get_layers())}


def _bounds_of(layer: Any) -> Bounds:
    _, x, y = layer.get_offsets()
    return Bounds(x, y, layer.get_width(), layer.get_height())


def _walk(layers: list[Any]) -> Iterator[Any]:
    for layer in layers:
        yield layer
        if layer.is_group():
            yield from _walk(layer.get_children())
