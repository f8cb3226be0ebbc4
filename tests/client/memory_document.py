"""A document in memory, in plain bytes, so that these tests run in any Python."""

from __future__ import annotations

from scumble.client.document import Document, Edges, NewLayer
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size

OPAQUE = b"\x0a\x14\x1e\xff"
SELECTED = (Bounds(30, 20, 4, 3), b"\xff\x80\x00\x01" * 3)


class MemoryDocument(Document):
    def __init__(self, size: Size, pixel: bytes = OPAQUE, selected: tuple[Bounds, bytes] | None = None) -> None:
        super().__init__()
        self.size = size
        self.pixels = bytearray(pixel * size.area)
        self.selected = selected
        self.layers: list[NewLayer] = []
        self.reads: list[Bounds] = []
        self.growths: list[Edges] = []
        self.others: dict[str, bytes] = {}
        """Layers of one colour each, by their ids."""

    @property
    def identity(self) -> str:
        return str(id(self))

    @property
    def canvas(self) -> Size:
        return self.size

    def selection(self) -> tuple[Bounds, bytes] | None:
        return self.selected

    def read(self, bounds: Bounds) -> bytes:
        assert Bounds.of_size(self.size).contains(bounds)
        self.reads.append(bounds)
        starts = [(y * self.size.width + bounds.x) * 4 for y in range(bounds.top, bounds.bottom)]
        return b"".join(bytes(self.pixels[start : start + bounds.width * 4]) for start in starts)

    def read_layer(self, layer: str, bounds: Bounds) -> bytes:
        if layer not in self.others:
            raise BadRequest("There is no such layer.")
        return self.others[layer] * bounds.area

    def resize_canvas(self, edges: Edges) -> None:
        self.growths.append(edges)
        self.size = Size(self.size.width + edges.left + edges.right, self.size.height + edges.top + edges.bottom)
        self.pixels = bytearray(OPAQUE * self.size.area)

    def scale_picture(self, size: Size) -> None:
        self.size = size
        self.pixels = bytearray(OPAQUE * size.area)

    def insert_layer(self, layer: NewLayer) -> None:
        self.layers.append(layer)

    def contains(self, job: str, index: int) -> bool:
        return any((layer.job, layer.index) == (job, index) for layer in self.layers)

    def put(self, x: int, y: int, pixel: bytes) -> None:
        start = (y * self.size.width + x) * 4
        self.pixels[start : start + 4] = pixel
