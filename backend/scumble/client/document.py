"""What Scumble needs of an open picture. Krita, GIMP and the command line each have one implementation, and only that
touches the host's document API.

Conventions: `protocol/geometry.py` for coordinates. Pixels handed over are rows without padding, from the top left.
Images are rgba8 (or bgra8, where the client was told so): straight alpha, sRGB, transparent pixels may hold any colour.
Masks are gray8, 255 = selected. All methods are called on the host's main thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Tuple, Union

from ..protocol.errors import BadRequest
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import EditRequest
from .placement import Placement, scaling

Pixels = Union[bytes, memoryview]
"""Of a picture that was read: a view where the host's own memory can be kept, which saves copying a large one. Nobody
writes to it."""


class Edges(NamedTuple):
    """Px by which a canvas grows on each side; all >= 0."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


@dataclass(frozen=True)
class NewLayer:
    """A finished layer.

    bounds   where it belongs on the present canvas
    size     of the picture in `pixels`; other than that of the bounds, which it is to be scaled to, only where the
             document was scaled meanwhile (`Document.mark`)
    pixels   rgba8
    name     for the layers panel
    job      id of its job: with `index`, its identity
    index    which of the job's images it is
    request  repeats exactly this image: to be stored with the layer (`protocol.schema.to_json`)
    """

    bounds: Bounds
    pixels: bytes = field(repr=False)
    name: str
    job: str
    index: int
    request: EditRequest
    size: Size


class Mark(NamedTuple):
    """The canvas at one moment: how often it had changed in unknown ways, and where everything had gone since."""

    epoch: int
    placement: Placement


class Document(ABC):
    """One open picture. The same object must be used for it as long as it is open: it remembers how its canvas grew."""

    def __init__(self) -> None:
        self._expected: Optional[Size] = None
        self._mark = Mark(0, Placement())

    # ---- what the host implements ------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def identity(self) -> str:
        """Tells this open document from all others, for as long as the host runs."""

    @property
    @abstractmethod
    def canvas(self) -> Size:
        """The present size. Raises BadRequest when the document has been closed."""

    @abstractmethod
    def selection(self) -> Optional[Tuple[Bounds, bytes]]:
        """The selection's bounds within the canvas (as tight as the host knows them) and its mask there, soft edges
        included. None when nothing is selected."""

    @abstractmethod
    def read(self, bounds: Bounds) -> Pixels:
        """The visible picture (or what the artist chose as the source) within the bounds, which lie in the canvas."""

    def read_visible(self, bounds: Bounds) -> Pixels:
        """As `read`, always of the visible picture: for a host where the source may be another."""
        return self.read(bounds)

    def read_layer(self, layer: str, bounds: Bounds) -> Pixels:
        """As `read`, of one layer alone (the host's own id of it), transparent where it has no pixels. Raises BadRequest
        where there is no such layer (any more)."""
        raise BadRequest("Single layers cannot be used here.", "Use the visible picture.")

    def read_region(self, layer: str, bounds: Bounds) -> Pixels:
        """Where a layer is, as a mask of the bounds: its alpha, left where it lies among the layer's pixels, as picking it
        out of 4096x4096 takes a tenth of a second (C6). Raises as `read_layer`."""
        return memoryview(self.read_layer(layer, bounds))[3::4]

    def read_reference(self, layer: Optional[str]) -> Tuple[Size, Pixels]:
        """All of a layer, or of the visible picture (None), for a model to look at: not where it lies. Raises as
        `read_layer`. A host that knows where a layer has pixels may read those alone."""
        bounds = Bounds.of_size(self.canvas)
        return bounds.size, self.read_visible(bounds) if layer is None else self.read_layer(layer, bounds)

    @abstractmethod
    def resize_canvas(self, edges: Edges) -> None:
        """Grows the canvas; what was at (0, 0) comes to (left, top). Call `grow_canvas` instead."""

    @abstractmethod
    def insert_layer(self, layer: NewLayer) -> None:
        """Adds the layer above the others. Its bounds may reach beyond the canvas; what lies there need not be kept."""

    def scale_picture(self, size: Size) -> None:
        """Scales the picture with all its layers. Call `enlarge` instead. Raises BadRequest where the host cannot."""
        raise BadRequest("Pictures cannot be enlarged here.", "Use the command line: scumble upscale")

    def contains(self, job: str, index: int) -> Optional[bool]:
        """True when this layer is in the document: hosts that store `NewLayer.job` with a layer look there, so that a
        result is not inserted twice when the host was killed between inserting and acknowledging, and can be inserted
        again when the artist has taken it back. None where the host cannot tell."""
        return None

    def undo_group(self, name: str) -> AbstractContextManager[object]:
        """What happens in this context is taken back by one undo step, where the host can do that."""
        return nullcontext()

    # ---- where is what was at (x, y)? --------------------------------------------------------------------------------

    def grow_canvas(self, edges: Edges) -> None:
        """Grows the canvas and remembers it, so that results of other edits still find their place."""
        self.mark()
        self.resize_canvas(edges)
        self.follow(Placement(edges.left, edges.top))

    def enlarge(self, factor: int) -> None:
        """Makes the picture `factor` times as large and remembers it, as `grow_canvas` does."""
        self.mark()
        before = self.canvas
        self.scale_picture(Size(before.width * factor, before.height * factor))
        self.follow(scaling(before, self.canvas))

    def follow(self, placement: Placement) -> None:
        """Remembers where everything has gone from where it was until now; the canvas has its present size because of
        that."""
        self._mark = Mark(self._mark.epoch, self._mark.placement.then(placement))
        self._expected = self.canvas

    def lose_track(self) -> None:
        """Remembers that nobody can tell where everything has gone."""
        self._mark = Mark(self._mark.epoch + 1, Placement())
        self._expected = self.canvas

    def mark(self) -> Mark:
        """The canvas as it is now, for `moved_since`. A host that can tell what the artist has done to the canvas (crop,
        scale, mirror) overrides it and calls `follow` or `lose_track`; here any change of size that was not made by
        `grow_canvas` ends what is known."""
        if self._expected is None:
            self._expected = self.canvas
        elif self.canvas != self._expected:
            self.lose_track()
        return self._mark

    def moved_since(self, mark: Mark) -> Optional[Placement]:
        """Where everything that was on the canvas at the mark is now; None when that cannot be told."""
        now = self.mark()
        return now.placement.since(mark.placement) if now.epoch == mark.epoch else None
