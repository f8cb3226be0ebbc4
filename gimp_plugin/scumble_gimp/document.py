"""GIMP's images as Scumble sees them: with `pixels.py` the only place that touches GIMP's image API."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gi.repository import Gegl, Gimp
from scumble.client.area import is_empty
from scumble.client.document import Document, Edges, Mark, NewLayer
from scumble.client.editor import CanvasChanged
from scumble.client.placement import Placement
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.schema import to_json

from . import pixels
from .kept import Lasting
from .pixels import ALPHA_FORMAT, IMAGE_FORMAT, MASK_FORMAT, Picture, looks_of
from .placement import Seen, placement_since

PARASITE, PANEL_PARASITE = "scumble", "scumble-panel"
"""What made a layer, and what is kept of the panel with an image."""
PERSISTENT, PERSISTENT_AND_UNDOABLE = 1, 3
PATIENCE = 30.0
ROWS = 16
"""Rows of a region that are remembered, so that it is found again."""


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
        return bounds, pixels.read(self.image.get_selection(), bounds, MASK_FORMAT)

    def selection_bounds(self) -> Bounds | None:
        _, selected, left, top, right, bottom = Gimp.Selection.bounds(self.image)
        return Bounds.from_edges(left, top, right, bottom) if selected else None

    def read(self, bounds: Bounds) -> bytes:
        self.mark()  # what was done to the canvas until now has nothing to do with what is read
        with Picture(self.image) as picture:
            if not self.from_layer:
                visible = picture.read(bounds)
                self._seen = self._see(bounds, lambda row: _row_of(visible, bounds, row))
                return visible
            self._seen = self._see(bounds, picture.read)
        selected = self.image.get_selected_layers()
        if not selected:
            raise BadRequest("No layer is active.", "Choose a layer in the layers dialog.")
        return pixels.read_layer(selected[0], _within(selected[0], bounds), IMAGE_FORMAT)

    def read_visible(self, bounds: Bounds) -> bytes:
        with Picture(self.image) as picture:
            return picture.read(bounds)

    def read_layer(self, layer: str, bounds: Bounds) -> bytes:
        found = self._layer(layer)
        return pixels.read_layer(found, _within(found, bounds), IMAGE_FORMAT)

    def read_region(self, layer: str, bounds: Bounds) -> bytes:
        found = self._layer(layer)
        return pixels.read_layer(found, _within(found, bounds), ALPHA_FORMAT)

    def read_reference(self, layer: str | None) -> tuple[Size, bytes]:
        """Of a layer all that it has, also beyond the canvas."""
        if layer is None:
            return self.canvas, self.read_visible(Bounds.of_size(self.canvas))
        found = self._layer(layer)
        size = _bounds_of(found).size
        shown = pixels.read_layer(found, Bounds.of_size(size), IMAGE_FORMAT)
        if is_empty(shown):
            raise BadRequest(f"There is nothing on the layer {found.get_name()}.", "Choose another one.")
        return size, shown

    def _layer(self, layer: str) -> Any:
        found = next((each for each in _walk(self.image.get_layers()) if str(each.get_id()) == layer), None)
        if found is None:
            raise BadRequest("A layer that the edit needs is not in this image.", "Choose another one.")
        return found

    def layer_names(self) -> dict[str, str]:
        """Of what there is to choose from, by ids as in `read_layer`, topmost first."""
        return {layer: lasting.name for layer, lasting in self.lasting_layers().items()}

    def lasting_layers(self) -> dict[str, Lasting]:
        """The same, as they are found again once the image has been saved and loaded."""
        layers = _walk(self.image.get_layers())
        return {str(layer.get_id()): Lasting(layer.get_tattoo(), layer.get_name()) for layer in layers}

    @property
    def note(self) -> dict[str, Any]:
        """What is kept with the image; empty where nothing is."""
        return _note_in(self.image, PANEL_PARASITE)

    def keep(self, note: Mapping[str, Any]) -> None:
        """Keeps JSON values with the image. That is no step to be undone, and the picture has not changed by it."""
        data = list(json.dumps(note, ensure_ascii=False).encode())
        self.image.attach_parasite(Gimp.Parasite.new(PANEL_PARASITE, PERSISTENT, data))

    def resize_canvas(self, edges: Edges) -> None:
        width, height = self.canvas
        self.image.resize(width + edges.left + edges.right, height + edges.top + edges.bottom, edges.left, edges.top)

    def scale_picture(self, size: Size) -> None:
        self.image.scale(*size)

    def insert_layer(self, layer: NewLayer) -> None:
        kind = {
            Gimp.ImageBaseType.RGB: Gimp.ImageType.RGBA_IMAGE,
            Gimp.ImageBaseType.GRAY: Gimp.ImageType.GRAYA_IMAGE,
            Gimp.ImageBaseType.INDEXED: Gimp.ImageType.INDEXEDA_IMAGE,
        }[self.image.get_base_type()]
        mark = self._mark
        new = Gimp.Layer.new(self.image, layer.name, *layer.size, kind, 100.0, Gimp.LayerMode.NORMAL)
        buffer = new.get_buffer()
        buffer.set(Gegl.Rectangle.new(0, 0, *layer.size), IMAGE_FORMAT, layer.pixels)
        buffer.flush()
        note = {"job": layer.job, "index": layer.index, "request": to_json(layer.request)}
        data = list(json.dumps(note, ensure_ascii=False).encode())
        new.attach_parasite(Gimp.Parasite.new(PARASITE, PERSISTENT_AND_UNDOABLE, data))
        active, channels = self.image.get_selected_layers(), self.image.get_selected_channels()
        # GIMP goes on while the layer is filled: the artist may have scaled the picture just now.
        moved = self.moved_since(mark)
        if moved is None or any(moved.mirrored):
            raise CanvasChanged("The canvas was changed while the layer was inserted.")
        bounds = moved.of(layer.bounds)
        new.set_offsets(bounds.x, bounds.y)
        self.image.insert_layer(new, None, 0)
        if self.keeps_active and active:
            self.image.set_selected_layers(active)
        if self.keeps_active and channels:  # of a quick mask, say
            self.image.set_selected_channels(channels)
        if layer.size != bounds.size:
            new.scale(*bounds.size, False)  # works in an image only
            new.set_offsets(bounds.x, bounds.y)
        if self.as_mask:
            new.add_mask(new.create_mask(Gimp.AddMaskType.ALPHA_TRANSFER))
        self.inserted.append(new)

    @property
    def is_watched(self) -> bool:
        """Whether an edit of ours wants to know what becomes of the canvas."""
        return self._seen is not None

    @property
    def is_changing(self) -> bool:
        """Whether GIMP is in the middle of scaling the image. It takes a second for each megapixel or two, and plug-ins are
        answered meanwhile: the canvas has its new size at once, the layers one after the other, and the selection, which
        is as large as the canvas else, after them (3.0, 3.2)."""
        canvas, selection = self._frame()
        return canvas != selection

    def _frame(self) -> tuple[Size, Size]:
        canvas, selection = self.canvas, self.image.get_selection()
        return canvas, Size(selection.get_width(), selection.get_height())

    def settle(self) -> None:
        """Waits until GIMP has done with the canvas. Not for ever: GIMP may be waiting for this call."""
        end = time.monotonic() + PATIENCE
        while self.is_changing and time.monotonic() < end:
            time.sleep(0.1)

    def mark(self) -> Mark:
        """In the middle of a change, one from which nobody can tell where anything goes."""
        seen = self._seen or self._see_all()
        while not self._follow_what_was_done(seen):
            if self.is_changing:
                return Mark(self._mark.epoch + 1, Placement())
        return self._mark

    def _follow_what_was_done(self, seen: Seen) -> bool:
        """False where the canvas is changing, or has changed between two looks at it."""
        frame, looks = self._frame(), looks_of(self.image)
        canvas, selection = frame
        if (canvas, looks) == (seen.canvas, seen.looks):
            return True
        if canvas != selection:
            return False
        with Picture(self.image) as picture:
            placement = placement_since(seen, canvas, _places(self.image), looks, picture.read)
            has_stayed = placement == Placement() and canvas == seen.canvas  # somebody has painted, that is all
            if has_stayed:
                now = seen._replace(looks=looks)
            else:
                now = self._see((placement or Placement()).of(seen.region), picture.read)
        if self._frame() != frame:
            return False
        self._seen = now
        if placement is None:
            self.lose_track()
        elif not has_stayed:
            self.follow(placement)
        return True

    def contains(self, job: str, index: int) -> bool:
        if not self.is_open:
            return False
        notes = (note_of(layer) for layer in _walk(self.image.get_layers()))
        return any((note.get("job"), note.get("index")) == (job, index) for note in notes)

    def grow_canvas(self, edges: Edges) -> None:
        super().grow_canvas(edges)
        self._see_all()

    def enlarge(self, factor: int) -> None:
        super().enlarge(factor)
        self._see_all()

    def _require_open(self) -> None:
        if not self.is_open:
            raise BadRequest("The image has been closed.", "Its result is kept: open the panel to use it elsewhere.")

    def _see_all(self) -> Seen:
        with Picture(self.image) as picture:
            self._seen = self._see(Bounds.of_size(self.canvas), picture.read)
        return self._seen

    def _see(self, region: Bounds, read: Callable[[Bounds], bytes]) -> Seen:
        region = region.intersect(Bounds.of_size(self.canvas))
        rows = {row: read(row) for row in _spread(region)}
        return Seen(self.canvas, _places(self.image), region, rows, looks_of(self.image))

    @contextlib.contextmanager
    def undo_group(self, name: str) -> Iterator[None]:
        self._require_open()
        if self.image.get_floating_sel() is not None:
            raise BadRequest("The image has a floating selection.", "Anchor it, or make it a layer, and apply again.")
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
    return _note_in(layer, PARASITE)


def _note_in(holder: Any, name: str) -> dict[str, Any]:
    """Of an image or a layer."""
    parasite = holder.get_parasite(name)
    if parasite is None:
        return {}
    try:
        note = json.loads(bytes(parasite.get_data()).decode())
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _row_of(pixels: bytes, bounds: Bounds, row: Bounds) -> bytes:
    """One whole row of the pixels of these bounds."""
    start = (row.y - bounds.y) * bounds.width * 4
    return pixels[start : start + bounds.width * 4]


def _spread(region: Bounds) -> list[Bounds]:
    """Some of its rows, evenly spread."""
    rows = sorted({region.top + region.height * part // ROWS for part in range(ROWS)} if not region.is_empty else ())
    return [Bounds(region.x, row, region.width, 1) for row in rows]


def _places(image: Any) -> Mapping[int, Bounds]:
    return {layer.get_id(): _bounds_of(layer) for layer in _walk(image.get_layers())}


def _within(layer: Any, bounds: Bounds) -> Bounds:
    """Bounds of the canvas at the layer's own coordinates."""
    return bounds.relative_to(_bounds_of(layer))


def _bounds_of(layer: Any) -> Bounds:
    _, x, y = layer.get_offsets()
    return Bounds(x, y, layer.get_width(), layer.get_height())


def _walk(layers: list[Any]) -> Iterator[Any]:
    for layer in layers:
        yield layer
        if layer.is_group():
            yield from _walk(layer.get_children())
