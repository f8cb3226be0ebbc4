"""Krita's documents as Scumble sees them: the only place that touches Krita's document API.

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
from .lib.scumble.client.document import Document, Edges, Mark, NewLayer
from .lib.scumble.client.placement import Layer, Placement, Seen, scaling_since, shift_since
from .lib.scumble.protocol.errors import BadRequest
from .lib.scumble.protocol.geometry import Bounds, Size
from .lib.scumble.protocol.schema import to_json
from .qt import QtCore, QtGui
from .slots import guarded

ANNOTATION = "scumble"
"""Under this name a document carries its panel's settings and what made its layers."""
SRGB = "sRGB-elle-V2-srgbtrc.icc"
PLAIN_PROFILES = (SRGB, "sRGB-elle-V4-srgbtrc.icc", "sRGB built-in")
ACTIVATION = (0, 50, 200)
"""Milliseconds after which Krita has made a new layer the active one, sooner or later."""
LAYERS = ("paintlayer", "grouplayer", "vectorlayer", "filelayer", "clonelayer", "filllayer")
"""Kinds of nodes that have a picture of their own, as Krita names them."""
SAMPLES = 16
"""Rows of a selection or picture that are looked at where all of it would take too long."""


class Space(NamedTuple):
    """A colour space as Krita names it."""

    model: str
    depth: str
    profile: str

    @property
    def is_plain(self) -> bool:
        return (self.model, self.depth) == ("RGBA", "U8") and self.profile in PLAIN_PROFILES


PLAIN = Space("RGBA", "U8", SRGB)


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
        self._shown: dict[tuple[str, int], bytes] = {}
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

    def read(self, bounds: Bounds) -> bytes:
        node = self._open.activeNode() if self.from_layer else None
        if node is not None:
            data = node.projectionPixelData(*bounds).data()
            return self._convert(data, bounds, _space_of(node), PLAIN)
        if _space_of(self._open).is_plain:
            return self._open.pixelData(*bounds).data()
        return self._visible(bounds)

    def read_layer(self, layer: str, bounds: Bounds) -> bytes:
        node = next((node for node in _walk(self._open.rootNode()) if node.uniqueId().toString() == layer), None)
        if node is None:
            raise BadRequest("A layer that was to be followed is gone.", "Choose another one under LoRAs and controls.")
        return self._convert(node.projectionPixelData(*bounds).data(), bounds, _space_of(node), PLAIN)

    def resize_canvas(self, edges: Edges) -> None:
        width, height = self.canvas
        self._open.resizeImage(
            -edges.left, -edges.top, width + edges.left + edges.right, height + edges.top + edges.bottom
        )
        self._grown = edges

    def insert_layer(self, layer: NewLayer) -> None:
        node = self._replaceable()
        new = node is None
        if new:
            node = self._open.createNode(layer.name, "paintlayer")
        pixels = (
            layer.pixels if layer.size == layer.bounds.size else _scaled(layer.pixels, layer.size, layer.bounds.size)
        )
        data = self._convert(pixels, layer.bounds, PLAIN, _space_of(self._open))
        node.setPixelData(_lent(data), *layer.bounds)
        if new:
            self._add(node)
        else:
            node.setName(layer.name)
            self._open.refreshProjection()
        self._shown = {(layer.job, layer.index): data}
        if any(self._grown):
            self._growths[layer.job] = self._grown, self.canvas
            self._grown = Edges()
        self._remember(layer, node)

    def contains(self, job: str, index: int) -> bool | None:
        return self._node_of(job, index) is not None

    # ---- results on the canvas ---------------------------------------------------------------------------------------

    def replace_next(self, job: str, index: int) -> None:
        """The next layer takes the place of this one, unless somebody has painted on it."""
        self._replaced = job, index

    def remove_layer(self, job: str, index: int) -> None:
        """Takes a result's layer away, and the canvas back to its size where it has grown for it."""
        node = self._node_of(job, index)
        if node is not None:
            node.remove()
        edges, grown = self._growths.pop(job, (Edges(), Size(0, 0)))
        if any(edges) and grown == self.canvas:
            width, height = grown.width - edges.left - edges.right, grown.height - edges.top - edges.bottom
            self.mark()
            self._open.resizeImage(edges.left, edges.top, width, height)
            self._moved(-edges.left, -edges.top)

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
        self._shown, self._newest = {}, None
        self._open.setActiveNode(node)

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
        for strip in _spread(bounds):
            alpha = _bytes_of(handle.projection(*strip))[3::4]
            empty = empty and not any(alpha)
            if found is not None and not transparent:
                transparent = touches_empty(found[0].pixelData(*strip).data(), strip, alpha, strip)
        return Situation(found is not None, empty and self._is_empty(), transparent)

    def layers(self) -> list[tuple[str, str]]:
        """Ids and names of what a control network could follow, the topmost first."""
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
        if values != self.settings:
            self._annotate(panel=values)

    # ---- where is what was at (x, y)? --------------------------------------------------------------------------------

    def mark(self) -> Mark:
        canvas, layers = self.canvas, self._paint_layers()
        handle = self._open
        rows = {strip.y: _bytes_of(handle.projection(*strip)) for strip in _spread(Bounds.of_size(canvas))}
        seen = Seen(canvas, layers, rows)
        if self._seen is not None and canvas not in (self._expected, self._seen.canvas):
            shift = shift_since(self._seen, canvas, layers, self._visible)
            placement = scaling_since(self._seen, seen) if shift is None else Placement(*shift)
            if placement is not None:
                self.follow(placement)
        self._seen = seen
        return super().mark()

    def grow_canvas(self, edges: Edges) -> None:
        super().grow_canvas(edges)
        self._seen = None  # known only until now: the layers have moved with the canvas
        self.mark()

    def _paint_layers(self) -> dict[str, Layer]:
        return {
            node.uniqueId().toString(): Layer(node.position().x(), node.position().y(), _bounds_of(node))
            for node in _walk(self._open.rootNode())
            if node.type() == "paintlayer"
        }

    def _visible(self, bounds: Bounds) -> bytes:
        return _bytes_of(self._open.projection(*bounds))

    def _moved(self, dx: int, dy: int) -> None:
        self.follow(Placement(dx, dy))

    # ---- under the bonnet --------------------------------------------------------------------------------------------

    @property
    def _open(self) -> Any:
        """Krita's document; many of its methods crash Krita when it has been closed. Raises BadRequest."""
        if not self.is_open:
            raise BadRequest("The document has been closed.", "Its result is kept: open it as a new document.")
        return self._handle

    def _selection_bounds(self) -> tuple[Any, Bounds] | None:
        selection = self._open.selection()
        if selection is None or selection.width() < 1 or selection.height() < 1:
            return None
        return selection, Bounds(selection.x(), selection.y(), selection.width(), selection.height())

    def _is_empty(self) -> bool:
        """Nothing at all on any visible layer."""
        return all(_bounds_of(node).is_empty for node in _walk(self._open.rootNode()) if node.visible())

    def _convert(self, data: bytes, bounds: Bounds, source: Space, target: Space) -> bytes:
        """Krita converts the pixels on a layer that never becomes part of the document."""
        if source == target or (source.is_plain and target.is_plain):
            return data
        node = self._open.createNode("conversion", "paintlayer")
        place = (0, 0, bounds.width, bounds.height)
        node.setColorSpace(*source)
        node.setPixelData(_lent(data), *place)
        node.setColorSpace(*target)
        return node.pixelData(*place).data()

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
        if replaced is None or node is None or replaced not in self._shown:
            return None
        bounds = _bounds_of(node)
        entry = self._layers()[node.uniqueId().toString()]
        painted = node.pixelData(*entry["bounds"]).data() != self._shown[replaced]
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


class Documents:
    """Krita's open documents, the same object for each as long as it is open."""

    def __init__(self) -> None:
        self._known: list[KritaDocument] = []
        self._count = 0

    def of(self, handle: Any) -> KritaDocument | None:
        """None for no document."""
        if handle is None or not handle.width():
            return None
        for document in self._known:
            if document.is_handle(handle):
                return document
        self._known = [document for document in self._known if document.is_open]
        self._count += 1
        document = KritaDocument(handle, str(self._count))
        self._known.append(document)
        return document

    def active(self) -> KritaDocument | None:
        return self.of(Krita.instance().activeDocument())

    def create(self, size: Size) -> KritaDocument:
        """A new empty document on view."""
        application = Krita.instance()
        handle = application.createDocument(size.width, size.height, "Scumble", *PLAIN, 300.0)
        for node in handle.rootNode().childNodes():
            node.remove()
        application.activeWindow().addView(handle)
        document = self.of(handle)
        if document is None:
            raise BadRequest("No document could be made.", "Make one with File > New.")
        return document


def _space_of(holder: Any) -> Space:
    """Of a document or a layer."""
    return Space(holder.colorModel(), holder.colorDepth(), holder.colorProfile())


def _bounds_of(node: Any) -> Bounds:
    rectangle = node.bounds()
    return Bounds(rectangle.x(), rectangle.y(), rectangle.width(), rectangle.height())


def _bytes_of(image: Any) -> bytes:
    bits = image.constBits()
    return bits.asstring(image.width() * image.height() * 4) if bits is not None else b""


def _lent(data: bytes) -> Any:
    """Qt's kind of bytes, to be used as long as `data` lives. PyQt5 needs no copy for that, PyQt6 always makes one."""
    return getattr(QtCore.QByteArray, "fromRawData", QtCore.QByteArray)(data)


def _scaled(pixels: bytes, size: Size, wanted: Size) -> bytes:
    image = QtGui.QImage(pixels, size.width, size.height, size.width * 4, QtGui.QImage.Format.Format_ARGB32)
    keep, mode = QtCore.Qt.AspectRatioMode.IgnoreAspectRatio, QtCore.Qt.TransformationMode.SmoothTransformation
    return _bytes_of(image.scaled(wanted.width, wanted.height, keep, mode).convertToFormat(image.format()))


def _spread(bounds: Bounds) -> list[Bounds]:
    """Some rows, evenly spread, the first and the last among them."""
    rows = sorted({bounds.top + (bounds.height - 1) * part // (SAMPLES - 1) for part in range(SAMPLES)})
    return [Bounds(bounds.x, row, bounds.width, 1) for row in rows]


def _walk(node: Any) -> Iterator[Any]:
    """All layers and masks below the node."""
    for child in node.childNodes():
        yield child
        yield from _walk(child)
