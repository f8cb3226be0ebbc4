"""What the panel says of each image: kept with it, and shown again when the image is."""

from __future__ import annotations

from typing import Any

from ..document import GimpDocument
from ..kept import note_of, values_of, without_layers
from .form import Form


class Recall:
    """An image that has never been worked on begins with what the panel says at the time, but for the layers of others."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._document: GimpDocument | None = None
        self._notes: dict[str, dict[str, Any]] = {}
        """What each image had the form say last, by its identity."""

    def follow(self, document: GimpDocument | None) -> None:
        """The image that is worked on now; while there is none, the form belongs to the one before."""
        self.keep()
        if document is None or document is self._document:
            return
        self._document = document
        note = self._notes.get(document.identity) or document.note
        values = values_of(note, document.lasting_layers()) if note else without_layers(self._form.all_settings)
        self._form.show_settings(values)
        self._notes[document.identity] = self._note(document)

    def keep(self, always: bool = False) -> None:
        """With the image, where it has changed: an image that is only looked at stays as it was."""
        document = self._document
        if document is None or not document.is_open:
            return
        note = self._note(document)
        if always or note != self._notes.get(document.identity):
            document.keep(note)
            self._notes[document.identity] = note

    def _note(self, document: GimpDocument) -> dict[str, Any]:
        layers = document.lasting_layers() if self._form.added.follows_layers else {}
        return note_of(self._form.all_settings, self._form.from_layer, layers)
