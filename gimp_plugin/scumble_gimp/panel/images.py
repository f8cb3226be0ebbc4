"""GIMP's open images as documents, and which of them the panel follows."""

from __future__ import annotations

import contextlib
from typing import Any

from gi.repository import Gimp
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size

from ..document import GimpDocument
from ..follow import Look, followed


class Images:
    """The same document for an image as long as the panel is open, so that results find their way back."""

    def __init__(self, image: Any | None) -> None:
        self._documents: dict[int, GimpDocument] = {}
        self._looks: dict[int, Look] = {}
        self._names: dict[int, str] = {}
        self._current: int | None = image.get_id() if image is not None else None

    @property
    def document(self) -> GimpDocument | None:
        """Of the image that is followed."""
        return self._documents.get(self._current) if self._current in self._looks else None

    @property
    def name(self) -> str:
        """Of the image that is followed, "" for none; with its number, as in the title of its window, where another one is
        called the same."""
        if self._current not in self._looks:
            return ""
        name = self._names[self._current]
        return f"{name}-{self._current}" if list(self._names.values()).count(name) > 1 else name

    @property
    def canvas(self) -> Size | None:
        """Of the image that is followed, as of the last look; so is `selected`."""
        return self._looks[self._current][0] if self._current in self._looks else None

    @property
    def selected(self) -> Bounds | None:
        return self._looks[self._current][1] if self._current in self._looks else None

    def look(self) -> None:
        """Looks at GIMP's images; cheap enough to be repeated."""
        images = {image.get_id(): image for image in Gimp.get_images()}
        looks: dict[int, Look] = {}
        names: dict[int, str] = {}
        for number, image in images.items():
            document = self._documents.setdefault(number, GimpDocument(image))
            with contextlib.suppress(BadRequest):  # closed at this very moment
                looks[number], names[number] = _look_at(document), str(image.get_name())
                if document.is_watched and looks[number] != self._looks.get(number):
                    if document.is_changing:
                        looks[number] = self._looks.get(number, looks[number])  # to be looked at again
                    else:
                        document.mark()  # so that several changes of the canvas are seen one by one
        self._current = followed(self._current, self._looks, looks)
        self._looks, self._names = looks, names

    def overlook(self, document: GimpDocument) -> None:
        """What has just been done to an image was our doing: no sign that the artist works on it."""
        with contextlib.suppress(BadRequest):
            self._looks[int(document.identity)] = _look_at(document)

    def follow(self, number: int) -> None:
        self.look()
        self._current = number

    def add(self, document: GimpDocument) -> GimpDocument:
        self._documents[int(document.identity)] = document
        self.follow(int(document.identity))
        return document


def _look_at(document: GimpDocument) -> Look:
    return document.canvas, document.selection_bounds(), bool(document.image.is_dirty())
