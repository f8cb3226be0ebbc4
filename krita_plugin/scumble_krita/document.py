"""Krita's documents as Scumble sees them: with `documents.py` the only place that touches Krita's document API.

Pixels are as Krita keeps them, B G R A of 8 bits with straight alpha: the client's threads turn them round
(`Client(order="bgra")`). What is not 8-bit sRGB goes through Krita's own conversion.

Krita's API writes pixels without undo and has no macros: a layer is filled first and added afterwards, so that one undo
step takes it away; the growth of the canvas is a step of its own before that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from krita import Krita

from .lib.scumble.client.area import edges_around, touches_empty
from .lib.scumble.client.document import Document, Edges, Mark, NewLayer, Pixels
from .lib.scumble.client.mirroring import mirroring_since
from .lib.scumble.client.placement import Layer, Placement, Seen, has_moved, scaling, scaling_since, shift_since
from .lib.scumble.protocol.errors import BadRequest
from .lib.scumble.protocol.geometry import Bounds, Size
from .lib.scumble.protocol.schema import to_json
from .pixels import AT_ONCE, PLAIN, Space, Strip, bytes_of, lent, scaled, space_of, spread, strips
from .qt import QtCore
from .slots import guarded

ANNOTATION = "scumble"
"""Under this name a document carries its panel's settings and what made its layers."""
ACTIVATION = (0, 50, 200)
"""Milliseconds after which Krita has made a new layer the active one, sooner or later."""
CHOOSE_ANOTHER = "Choose another one under LoRAs, controls, regions."
LAYERS = ("paintlayer", "grouplayer", "vectorlayer", "filelayer", "clonelayer", "filllayer")
"""Kinds of nodes that have a picture of their own, as Krita names them."""
WAIT = 20
"""Milliseconds between two looks whether Krita has done what it does in the background."""


class Situation(NamedTuple):
    """What of a document decides the mode; a good guess, as Generate looks again."""

    selected: bool
    empty: bool
    transparent: bool


class KritaDocument(Document):
    """One open document. `from_layer`: the active layer or group is the source, not the visible picture."""

    def __init__(self, handle: Any, identity: str) -> None:
        super().__init__()
        self.from_layer = False
        self._handle, self._identity = handle, identity
        self._seen: Seen | None = None
        self._grown = Edges()
        self._growths: dict[str, tuple[Edges, Size]] = {}
        self._enlarged_from: Size | None = None
        self._enlargements: dict[str, Size] = {}
        self._shown: dict[tuple[str, int], list[Strip]] = {}
        self._ready: tuple[NewLayer, Any, list[Strip]] | None = None
        self._replaced: tuple[str, int] | None = None
        self._newest: Any = None

    # ---- the contract of Document ------------------------------------------------------------------------------------

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def canvas(self) -> Size:
        return Size(self._open.width(), self._open.height())

    def selection(self) -> tuple[Bounds, bytes] | None:
        found = self._selection_bounds()
        if found is None:
            return None
        selection, bounds = found
        bounds = bounds.intersect(Bounds.of_size(self.canvas))
        if bounds.is_empty:
            raise BadRequest("The selection lies beyond the canvas.", "Use Extend to grow the canvas over it.")
        return bounds, selection.pixelData(*bounds).data()

    def read(self, bounds: Bounds) -> Pixels:
        node = self._active_layer() if self.from_layer else None
        return self.read_visible(bounds) if node is None else self._read_node(node, bounds)

    def read_visible(self, bounds: Bounds) -> Pixels:
        if space_of(self._open).is_plain:
            return memoryview(self._open.pixelData(*bounds))
        return self._visible(bounds)

    def read_layer(self, layer: str, bounds: Bounds) -> Pixels:
        return self._read_node(self._layer(layer), bounds)

    def read_reference(self, layer: str | None) -> tuple[Size, Pixels]:
        """What of it lies on the canvas; of a layer no more than it has pixels."""
        bounds = Bounds.of_size(self.canvas)
        if layer is None:
            return bounds.size, self.read_visible(bounds)
        node = self._layer(layer)
        bounds = _bounds_of(node).intersect(bounds)
        if bounds.is_empty:
            raise BadRequest(f"There is nothing on the layer {node.name()}.", CHOOSE_ANOTHER)
        return bounds.size, self._read_node(node, bounds)

    def resize_canvas(self, edges: Edges) -> None:
        width, height = self.canvas
        self._open.resizeImage(
            -edges.left, -edges.top, width + edges.left + edges.right, height + edges.top + edges.bottom
        )
        self._grown = edges

    def insert_layer(self, layer: NewLayer) -> None:
        node = self._replaceable()
        ready, self._ready = self._ready, None
        if node is not None:
            written = list(self._fill(node, layer))
            node.setName(layer.name)
            self._open.refreshProjection()
        else:
            if ready is not None and ready[0] == layer:
                _, node, written = ready
            else:
                node = self._open.createNode(layer.name, "paintlayer")
                written = list(self._fill(node, layer))
            self._add(node)
        self._shown[layer.job, layer.index] = written
        if any(self._grown):
            self._growths[layer.job] = self._grown, self.canvas
            self._grown = Edges()
        if self._enlarged_from is not None:
            self._enlargements[layer.job], self._enlarged_from = self._enlarged_from, None
        self._remember(layer, node)

    def contains(self, job: str, index: int) -> bool | None:
        return self._node_of(job, index) is not None

    # ---- results on the canvas ---------------------------------------------------------------------------------------

    def takes_long(self, size: Size) -> bool:
        """Whether a layer of this size should be got ready before it is inserted."""
        return self._replaced is None and size.area * 4 > AT_ONCE

    def get_ready(self, layer: NewLayer) -> Iterator[None]:
        """Fills a node for this layer, strip by strip, with Krita's event loop in between: `insert_layer` takes it, if the
        layer still belongs to the same place then."""
        node = self._open.createNode(layer.name, "paintlayer")
        written = []
        for strip in self._fill(node, layer):
            written.append(strip)
            yield
        self._ready = layer, node, written

    def replace_next(self, job: str, index: int) -> None:
        """The next layer takes the place of this one, unless somebody has painted on it."""
        self._replaced = job, index

    def enlarging(self, factor: int) -> Iterator[int]:
        """As `enlarge`, with Krita's event loop in between for so many milliseconds: Krita scales in the background."""
        self.mark()
        before = self.canvas
        self._open.scaleImage(before.width * factor, before.height * factor, *[self._open.resolution()] * 2, "Bicubic")
        while self.is_busy:
            yield WAIT
        self._enlarged_from = before
        self.follow(scaling(before, self.canvas))
        self._look_again()

    def remove_layer(self, job: str, index: int) -> bool:
        """Takes a result's layer away, and the canvas back to its size where it has grown for it. True: the picture stays
        enlarged, as it has been worked on since."""
        before = self._enlargements.pop(job, None)
        if before is not None and self._undo_enlargement(job, index, before):
            return False
        node = self._node_of(job, index)
        if node is not None:
            node.remove()
        edges, grown = self._growths.pop(job, (Edges(), Size(0, 0)))
        if any(edges) and grown == self.canvas:
            width, height = grown.width - edges.left - edges.right, grown.height - edges.top - edges.bottom
            self.mark()
            self._open.resizeImage(edges.left, edges.top, width, height)
            self.follow(Placement(-edges.left, -edges.top))
            self._look_again()
        return before is not None

    def _undo_enlargement(self, job: str, index: int, before: Size) -> bool:
        """Whether Krita's own undo has taken back this layer and then the enlargement, and nothing else. Nothing else gives
        back every pixel as it was."""
        if Krita.instance().activeDocument() != self._handle or self._node_of(job, index) is None:
            return False
        self.mark()
        enlarged = self.canvas
        are_done = (lambda: self._node_of(job, index) is None, lambda: self.canvas == before)
        for steps, is_done in enumerate(are_done, 1):
            self._act("edit_undo")
            if not is_done():
                for _ in range(steps):
                    self._act("edit_redo")
                return False
        self.follow(scaling(enlarged, before))
        self._look_again()
        return True

    def _act(self, name: str) -> None:
        Krita.instance().action(name).trigger()
        self._open.waitForDone()

    def apply_layer(self, job: str, index: int, others: list[int]) -> None:
        """Makes a result's layer the active one, in one group with the `others` of its job that were applied before."""
        node = self._node_of(job, index)
        if node is None:
            raise BadRequest("The layer is no longer there.", "Click its picture to show it again.")
        siblings = [found for found in (self._node_of(job, other) for other in others) if found is not None]
        if siblings:
            group = siblings[0].parentNode()
            if group.type() != "grouplayer" or group == self._open.rootNode():
                group = self._open.createGroupLayer(f"Scumble: {siblings[0].name()}")
                self._open.rootNode().addChildNode(group, None)
                for sibling in siblings:
                    sibling.remove()
                    group.addChildNode(sibling, None)
            node.remove()
            group.addChildNode(node, None)
        self._newest = None
        self._open.setActiveNode(node)

    def forget(self, job: str) -> None:
        """No layer of this job will be replaced any more."""
        self._shown = {shown: written for shown, written in self._shown.items() if shown[0] != job}

    # ---- what the panel wants to know --------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return any(self._handle == other for other in Krita.instance().documents())

    @property
    def is_busy(self) -> bool:
        """True while Krita works on the picture, so that reading it would give a state in between."""
        if not self._open.tryBarrierLock():
            return True
        self._open.unlock()
        return False

    def is_handle(self, handle: Any) -> bool:
        return bool(self._handle == handle)

    def situation(self) -> Situation:
        """A look at a few rows of the selection, or of the picture: cheap enough to be repeated."""
        found = self._selection_bounds()
        frame = Bounds.of_size(self.canvas)
        bounds = frame if found is None else found[1].intersect(frame)
        if bounds.is_empty:
            return Situation(found is not None, False, True)
        empty, transparent = True, False
        handle = self._open
        for strip in spread(bounds):
            alpha = bytes_of(handle.projection(*strip))[3::4]
            empty = empty and not any(alpha)
            if found is not None and not transparent:
                transparent = touches_empty(found[0].pixelData(*strip).data(), strip, alpha, strip)
        return Situation(found is not None, empty and self._is_empty(), transparent)

    def layers(self) -> list[tuple[str, str]]:
        """Ids and names of what an edit could take beside the picture, the topmost first."""
        nodes = [node for node in _walk(self._open.rootNode()) if node.type() in LAYERS]
        return [(node.uniqueId().toString(), node.name()) for node in reversed(nodes)]

    def edges_to_selection(self) -> Edges:
        """By how much the canvas must grow to hold the selection."""
        found = self._selection_bounds()
        return Edges() if found is None else edges_around(self.canvas, found[1])

    @property
    def settings(self) -> dict[str, Any]:
        """What the panel stored with this document; {} at first."""
        panel = self._annotation().get("panel", {})
        return panel if isinstance(panel, dict) else {}

    @settings.setter
    def settings(self, values: dict[str, Any]) -> None:
        """Alone they are nothing that Krita should ask to save: they are saved with the document's next change."""
        modified = self._open.modified()
        self._annotate(panel=values)
        self._open.setModified(modified)

    # ---- where is what was at (x, y)? --------------------------------------------------------------------------------

    def mark(self) -> Mark:
        canvas, layers = self.canvas, self._paint_layers()
        handle = self._open
        rows = {strip.y: bytes_of(handle.projection(*strip)) for strip in spread(Bounds.of_size(canvas))}
        seen = Seen(canvas, layers, rows)
        if self._seen is not None and seen != self._seen:
            placement = self._placement_since(self._seen, seen)
            if placement is None:
                self.lose_track()
            else:
                self.follow(placement)
        self._seen = seen
        return super().mark()

    def _placement_since(self, before: Seen, now: Seen) -> Placement | None:
        if now.canvas != before.canvas:
            return shift_since(before, now.canvas, now.layers, self._visible) or scaling_since(before, now)
        mirrored = mirroring_since(before.strips, before.looks, now.canvas, now.looks, self._visible)
        if mirrored == Placement() and has_moved(before, now):
            return shift_since(before, now.canvas, now.layers, self._visible) or mirrored
        return mirrored

    def grow_canvas(self, edges: Edges) -> None:
        super().grow_canvas(edges)
        self._look_again()

    def enlarge(self, factor: int) -> None:
        for _ in self.enlarging(factor):
            self._open.waitForDone()

    def _look_again(self) -> None:
        """What was seen was so only until now: the layers have moved with the canvas."""
        self._seen = None
        self.mark()

    def _paint_layers(self) -> dict[str, Layer]:
        return {
            node.uniqueId().toString(): Layer(node.position().x(), node.position().y(), _bounds_of(node))
            for node in _walk(self._open.rootNode())
            if node.type() == "paintlayer"
        }

    def _visible(self, bounds: Bounds) -> bytes:
        return bytes_of(self._open.projection(*bounds))

    # ---- under the bonnet --------------------------------------------------------------------------------------------

    @property
    def _open(self) -> Any:
        """Krita's document; many of its methods crash Krita when it has been closed. Raises BadRequest."""
        if not self.is_open:
            raise BadRequest("The document has been closed.", "Its result is kept: open it as a new document.")
        return self._handle

    def _selection_bounds(self) -> tuple[Any, Bounds] | None:
        selection = self._open.selection()
        if selection is None:
            selection = self._local_selection()
        if selection is None or selection.width() < 1 or selection.height() < 1:
            return None
        return selection, Bounds(selection.x(), selection.y(), selection.width(), selection.height())

    def _local_selection(self) -> Any:
        """That of the active layer, or of a group around it, while Krita uses it: its API names only the global one. None
        where there are several masks, as it does not tell which is active."""
        application = Krita.instance()
        if application.activeDocument() != self._handle or not application.action("deselect").isEnabled():
            return None
        node = self._active_layer()
        while node is not None:
            masks = [child for child in node.childNodes() if child.type() == "selectionmask" and child.visible()]
            if masks:
                return masks[0].selection() if len(masks) == 1 else None
            node = node.parentNode()
        return None

    def _layer(self, layer: str) -> Any:
        """Raises BadRequest where it is not there (any more)."""
        node = next((node for node in _walk(self._open.rootNode()) if node.uniqueId().toString() == layer), None)
        if node is None:
            raise BadRequest("A layer that was chosen is gone.", CHOOSE_ANOTHER)
        return node

    def _active_layer(self) -> Any:
        """Where a mask is active, the layer that it is on: a mask's own pixels are no picture."""
        node = self._open.activeNode()
        while node is not None and node.type().endswith("mask"):
            node = node.parentNode()
        return node

    def _is_empty(self) -> bool:
        """Nothing at all on any visible layer."""
        return all(_bounds_of(node).is_empty for node in _walk(self._open.rootNode()) if node.visible())

    def _read_node(self, node: Any, bounds: Bounds) -> Pixels:
        data = node.projectionPixelData(*bounds)
        return memoryview(self._convert(data, bounds, space_of(node), PLAIN))

    def _convert(self, data: Any, bounds: Bounds, source: Space, target: Space) -> Any:
        """Krita converts the pixels (its kind of bytes) on a layer that never becomes part of the document."""
        if source == target or (source.is_plain and target.is_plain):
            return data
        node = self._open.createNode("conversion", "paintlayer")
        place = (0, 0, bounds.width, bounds.height)
        node.setColorSpace(*source)
        node.setPixelData(data, *place)
        node.setColorSpace(*target)
        return node.pixelData(*place)

    def _fill(self, node: Any, layer: NewLayer) -> Iterator[Strip]:
        """Writes the layer's pixels into a node of the document's colour space, strip by strip."""
        bounds, pixels = layer.bounds, layer.pixels
        if layer.size != bounds.size:
            pixels = scaled(pixels, layer.size, bounds.size)
        for strip in strips(bounds):
            start = (strip.y - bounds.y) * bounds.width * 4
            owner = pixels[start : start + strip.area * 4]
            data = self._convert(lent(owner), strip, PLAIN, space_of(self._open))
            node.setPixelData(data, *strip)
            yield Strip(strip, data, owner)

    def _add(self, node: Any) -> None:
        active = self._open.activeNode()
        self._open.rootNode().addChildNode(node, None)
        self._newest = node
        if active is not None:
            for delay in ACTIVATION:
                QtCore.QTimer.singleShot(delay, guarded(lambda: self._give_back(active, node)))

    def _give_back(self, active: Any, new: Any) -> None:
        """Krita makes a new layer the active one, but the artist may be painting on another."""
        if self._newest is not new:
            return  # it has been applied meanwhile
        if (
            self.is_open
            and self._handle.activeNode() == new
            and any(node == active for node in _walk(self._handle.rootNode()))
            and self._newest is new  # Krita 6 handles events while it is asked
        ):
            self._handle.setActiveNode(active)

    def _replaceable(self) -> Any:
        replaced, self._replaced = self._replaced, None
        node = self._node_of(*replaced) if replaced else None
        written = self._shown.pop(replaced, None) if replaced else None
        if node is None or written is None:
            return None
        bounds = _bounds_of(node)
        entry = self._layers()[node.uniqueId().toString()]
        painted = any(node.pixelData(*strip.bounds) != strip.data for strip in written)
        return None if painted or not Bounds(*entry["bounds"]).contains(bounds) else node

    def _node_of(self, job: str, index: int) -> Any:
        """Not by `nodeByUniqueID`, which may hand out a bare QObject."""
        made = {
            identity
            for identity, entry in self._layers().items()
            if (entry.get("job"), entry.get("index")) == (job, index)
        }
        if not made:
            return None
        return next((node for node in _walk(self._open.rootNode()) if node.uniqueId().toString() in made), None)

    def _remember(self, layer: NewLayer, node: Any) -> None:
        layers = self._layers()
        layers[node.uniqueId().toString()] = {
            "job": layer.job,
            "index": layer.index,
            "bounds": list(layer.bounds),
            "request": to_json(layer.request),
        }
        self._annotate(layers=layers)

    def _layers(self) -> dict[str, Any]:
        layers = self._annotation().get("layers", {})
        return layers if isinstance(layers, dict) else {}

    def _annotation(self) -> dict[str, Any]:
        try:
            values = json.loads(self._open.annotation(ANNOTATION).data().decode("utf-8"))
        except ValueError:
            return {}
        return values if isinstance(values, dict) else {}

    def _annotate(self, **changes: Any) -> None:
        text = json.dumps({**self._annotation(), **changes}, ensure_ascii=False)
        self._open.setAnnotation(ANNOTATION, "Scumble", QtCore.QByteArray(text.encode("utf-8")))


def _bounds_of(node: Any) -> Bounds:
    rectangle = node.bounds()
    return Bounds(rectangle.x(), rectangle.y(), rectangle.width(), rectangle.height())


def _walk(node: Any) -> Iterator[Any]:
    """All layers and masks below the node."""
    for child in node.childNodes():
        yield child
        yield from _walk(child)
