"""GIMP's images as Scumble sees them: the only place that touches GIMP's image API.

Pixels are read and written in named formats of babl, so that GEGL converts from and to whatever the image is: linear,
16-bit, float, grey, indexed, with its own colour profile. Masks are read as linear numbers, "Y u8": with "Y' u8" a
half selected pixel comes out brighter.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from gi.repository import Gegl, Gimp
from scumble.client.document import Document, Edges, Mark, NewLayer
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.schema import to_json

from .placement import shift_between

PARASITE = "scumble"
PERSISTENT_AND_UNDOABLE = 3
IMAGE_FORMAT, MASK_FORMAT = "R'G'B'A u8", "Y u8"


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
        self._seen: dict[int, Bounds] = {}

    @property
    def identity(self) -> str:
        return str(self.image.get_id())

    @property
    def is_open(self) -> bool:
        return bool(self.image.is_valid())

    @property
    def canvas(self) -> Size:
        if not self.is_open:
            raise BadRequest("The image has been closed.", "Its result is kept: open the panel to use it elsewhere.")
        return Size(self.image.get_width(), self.image.get_height())

    def selection(self) -> tuple[Bounds, bytes] | None:
        bounds = self.selection_bounds()
        if bounds is None:
            return None
        return bounds, _read(self.image.get_selection(), bounds, MASK_FORMAT)

    def selection_bounds(self) -> Bounds | None:
        _, selected, left, top, right, bottom = Gimp.Selection.bounds(self.image)
        return Bounds.from_edges(left, top, right, bottom) if selected else None

    def read(self, bounds: Bounds) -> bytes:
        if self.from_layer:
            selected = self.image.get_selected_drawables()
            if not selected:
                raise BadRequest("No layer is active.", "Choose a layer in the layers dialog.")
            _, x, y = selected[0].get_offsets()
            return _read(selected[0], bounds.translate(-x, -y), IMAGE_FORMAT)
        if not any(layer.get_visible() for layer in self.image.get_layers()):
            return bytes(bounds.area * 4)
        merged = Gimp.Layer.new_from_visible(self.image, self.image, "scumble")
        try:
            return _read(merged, bounds, IMAGE_FORMAT)
        finally:
            merged.delete()

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
        new = Gimp.Layer.new(self.image, layer.name, *layer.bounds.size, kind, 100.0, Gimp.LayerMode.NORMAL)
        new.set_offsets(layer.bounds.x, layer.bounds.y)
        buffer = new.get_buffer()
        buffer.set(Gegl.Rectangle.new(0, 0, *layer.bounds.size), IMAGE_FORMAT, layer.pixels)
        buffer.flush()
        note = {"job": layer.job, "index": layer.index, "request": to_json(layer.request)}
        data = list(json.dumps(note, ensure_ascii=False).encode())
        new.attach_parasite(Gimp.Parasite.new(PARASITE, PERSISTENT_AND_UNDOABLE, data))
        active = self.image.get_selected_layers()
        self.image.insert_layer(new, None, 0)
        if self.keeps_active and active:
            self.image.set_selected_layers(active)
        if self.as_mask:
            new.add_mask(new.create_mask(Gimp.AddMaskType.ALPHA_TRANSFER))
        self.inserted.append(new)

    def mark(self) -> Mark:
        canvas, before = self.canvas, self._seen
        self._seen = {layer.get_id(): _bounds_of(layer) for layer in _walk(self.image.get_layers())}
        if self._expected not in (None, canvas):
            shift = shift_between(before, self._seen)
            if shift is not None:
                self._mark = Mark(self._mark.epoch, self._mark.left + shift[0], self._mark.top + shift[1])
                self._expected = canvas
        return super().mark()

    def contains(self, job: str, index: int) -> bool:
        if not self.is_open:
            return False
        notes = (note_of(layer) for layer in _walk(self.image.get_layers()))
        return any((note.get("job"), note.get("index")) == (job, index) for note in notes)

    def grow_canvas(self, edges: Edges) -> None:
        super().grow_canvas(edges)
        self.mark()  # sees the layers where they are now

    @contextlib.contextmanager
    def undo_group(self, name: str) -> Iterator[None]:
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


def _read(drawable: Any, bounds: Bounds, babl_format: str) -> bytes:
    """The drawable's own pixels; 0 where it has none."""
    area = Gegl.Rectangle.new(*bounds)
    return bytes(drawable.get_buffer().get(area, 1.0, babl_format, Gegl.AbyssPolicy.NONE))


def _bounds_of(layer: Any) -> Bounds:
    _, x, y = layer.get_offsets()
    return Bounds(x, y, layer.get_width(), layer.get_height())


def _walk(layers: list[Any]) -> Iterator[Any]:
    for layer in layers:
        yield layer
        if layer.is_group():
            yield from _walk(layer.get_children())
