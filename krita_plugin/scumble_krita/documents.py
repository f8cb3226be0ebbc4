"""Which documents are open in Krita."""

from __future__ import annotations

from typing import Any

from krita import Krita

from .document import KritaDocument
from .lib.scumble.protocol.errors import BadRequest
from .lib.scumble.protocol.geometry import Size
from .pixels import PLAIN


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
