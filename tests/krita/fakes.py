"""As much of libkis and Qt as the plug-in's logic touches, over numpy arrays. Where Krita would crash, these raise."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

SRGB = ("RGBA", "U8", "sRGB-elle-V2-srgbtrc.icc")
_numbers = itertools.count(1)


class QByteArray(bytes):
    """Like Qt's, it lends its memory to a view."""

    def data(self) -> bytes:
        return bytes(self)


class Place:
    """QPoint, QRect and QUuid in one."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    def x(self) -> int:
        return int(self._values[0])

    def y(self) -> int:
        return int(self._values[1])

    def width(self) -> int:
        return int(self._values[2])

    def height(self) -> int:
        return int(self._values[3])

    def toString(self) -> str:
        return str(self._values[0])


class QTimer:
    @staticmethod
    def singleShot(delay: int, call: Callable[[], object]) -> None:
        call()


class QtCore:
    QByteArray = QByteArray
    QTimer = QTimer


class Image:
    """A QImage in Format_ARGB32."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = np.ascontiguousarray(pixels)

    def width(self) -> int:
        return int(self._pixels.shape[1])

    def height(self) -> int:
        return int(self._pixels.shape[0])

    def constBits(self) -> Image:
        return self

    def asstring(self, length: int) -> bytes:
        data = self._pixels.tobytes()
        assert len(data) == length
        return data


class Node:
    """A layer. Pixels lie on a plane that reaches beyond the canvas; its origin is `offset` from the canvas's."""

    PLANE, MARGIN = 512, 128

    def __init__(self, name: str, kind: str = "paintlayer", space: tuple[str, str, str] = SRGB) -> None:
        self._name, self._kind, self.space = name, kind, space
        self._number = next(_numbers)
        self.plane = np.zeros((self.PLANE, self.PLANE, 4), np.uint8)
        self.offset = (0, 0)
        self.children: list[Node] = []
        self.parent: Node | None = None
        self.conversions: list[tuple[str, str, str]] = []
        self.selected: Selection | None = None

    def _area(self, x: int, y: int, width: int, height: int) -> tuple[slice, slice]:
        left, top = x - self.offset[0] + self.MARGIN, y - self.offset[1] + self.MARGIN
        return slice(top, top + height), slice(left, left + width)

    def name(self) -> str:
        return self._name

    def setName(self, name: str) -> None:
        self._name = name

    def type(self) -> str:
        return self._kind

    def visible(self) -> bool:
        return True

    def uniqueId(self) -> Place:
        return Place(f"{{{self._number}}}")

    def position(self) -> Place:
        return Place(*self.offset)

    def bounds(self) -> Place:
        rows, columns = np.nonzero(self.plane[..., 3])
        if not len(rows):
            return Place(0, 0, 0, 0)
        x, y = columns.min() - self.MARGIN + self.offset[0], rows.min() - self.MARGIN + self.offset[1]
        return Place(x, y, columns.max() - columns.min() + 1, rows.max() - rows.min() + 1)

    def pixelData(self, x: int, y: int, width: int, height: int) -> QByteArray:
        return QByteArray(self.plane[self._area(x, y, width, height)].tobytes())

    projectionPixelData = pixelData

    def selection(self) -> Selection | None:
        """Of a selection mask."""
        return self.selected

    def setPixelData(self, data: QByteArray, x: int, y: int, width: int, height: int) -> None:
        self.plane[self._area(x, y, width, height)] = np.frombuffer(data.data(), np.uint8).reshape(height, width, 4)

    def colorModel(self) -> str:
        return self.space[0]

    def colorDepth(self) -> str:
        return self.space[1]

    def colorProfile(self) -> str:
        return self.space[2]

    def setColorSpace(self, *space: str) -> None:
        self.space = space  # type: ignore[assignment]
        self.conversions.append(self.space)

    def childNodes(self) -> list[Node]:
        return list(self.children)

    def parentNode(self) -> Node | None:
        return self.parent

    def addChildNode(self, node: Node, above: None) -> None:
        node.parent = self
        self.children.append(node)

    def remove(self) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None


class Selection:
    def __init__(self, x: int, y: int, mask: np.ndarray) -> None:
        self._x, self._y, self._mask = x, y, mask

    def x(self) -> int:
        return self._x

    def y(self) -> int:
        return self._y

    def width(self) -> int:
        return int(self._mask.shape[1])

    def height(self) -> int:
        return int(self._mask.shape[0])

    def pixelData(self, x: int, y: int, width: int, height: int) -> QByteArray:
        whole = np.zeros((512, 512), np.uint8)
        whole[self._y : self._y + self._mask.shape[0], self._x : self._x + self._mask.shape[1]] = self._mask
        return QByteArray(whole[y : y + height, x : x + width].tobytes())


class Document:
    """libkis' handle of a document. After `close` only comparing it and asking for its size does no harm."""

    closed = False

    def __init__(self, width: int, height: int, space: tuple[str, str, str] = SRGB) -> None:
        self.size = (width, height)
        self.space = space
        self.root = Node("root", "grouplayer")
        self.base = Node("base")
        self.root.addChildNode(self.base, None)
        self.active: Node = self.base
        self.selected: Selection | None = None
        self.annotations: dict[str, bytes] = {}
        self.is_modified = False
        self.busy = False
        self.made: list[Node] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in ("closed", "close", "width", "height") and self.closed:
            raise AssertionError(f"{name} of a closed document crashes Krita")
        return super().__getattribute__(name)

    def close(self) -> None:
        Krita.instance().open.remove(self)
        self.closed = True

    def width(self) -> int:
        return 0 if self.closed else self.size[0]

    def height(self) -> int:
        return 0 if self.closed else self.size[1]

    def colorModel(self) -> str:
        return self.space[0]

    def colorDepth(self) -> str:
        return self.space[1]

    def colorProfile(self) -> str:
        return self.space[2]

    def rootNode(self) -> Node:
        return self.root

    def activeNode(self) -> Node:
        return self.active

    def setActiveNode(self, node: Node) -> None:
        self.active = node

    def createNode(self, name: str, kind: str) -> Node:
        self.made.append(Node(name, kind, self.space))
        return self.made[-1]

    def createGroupLayer(self, name: str) -> Node:
        return Node(name, "grouplayer", self.space)

    def selection(self) -> Selection | None:
        return self.selected

    def pixelData(self, x: int, y: int, width: int, height: int) -> QByteArray:
        return self.base.pixelData(x, y, width, height)

    def projection(self, x: int, y: int, width: int, height: int) -> Image:
        data = self.base.pixelData(x, y, width, height).data()
        return Image(np.frombuffer(data, np.uint8).reshape(height, width, 4))

    def resizeImage(self, x: int, y: int, width: int, height: int) -> None:
        self.size = (width, height)
        for node in self.root.children:
            node.offset = (node.offset[0] - x, node.offset[1] - y)

    def scaleImage(self, width: int, height: int, across: int, down: int, filter: str) -> None:
        """Only says so: nothing that is on the layers changes."""
        self.size = (width, height)

    def resolution(self) -> int:
        return 300

    def refreshProjection(self) -> None:
        pass

    def tryBarrierLock(self) -> bool:
        return not self.busy

    def unlock(self) -> None:
        pass

    def annotation(self, name: str) -> QByteArray:
        return QByteArray(self.annotations.get(name, b""))

    def setAnnotation(self, name: str, description: str, data: QByteArray) -> None:
        self.annotations[name] = data.data()
        self.is_modified = True

    def modified(self) -> bool:
        return self.is_modified

    def setModified(self, modified: bool) -> None:
        self.is_modified = modified


class Action:
    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def isEnabled(self) -> bool:
        return self.enabled


class Krita:
    running: ClassVar[Krita | None] = None

    def __init__(self) -> None:
        self.open: list[Document] = []
        self.actions = {"deselect": Action(False)}

    @staticmethod
    def instance() -> Krita:
        assert Krita.running is not None
        return Krita.running

    def documents(self) -> list[Document]:
        return list(self.open)

    def activeDocument(self) -> Document | None:
        return self.open[-1] if self.open else None

    def action(self, name: str) -> Action:
        return self.actions[name]

    def activeWindow(self) -> Krita:
        return self

    def addView(self, document: Document) -> None:
        self.open.append(document)

    def createDocument(self, width: int, height: int, name: str, *space: Any) -> Document:
        return Document(width, height)
