"""What Generate would do, and where; and the button that does it."""

from __future__ import annotations

from collections.abc import Callable

from gi.repository import Gtk, Pango
from scumble.protocol.geometry import Size

from ..words import BUTTONS, INDEXED, situation_words
from .images import Images

NEW_IMAGE = Size(512, 512)
"""What is made where no image is open."""


class Situation:
    """`target` names the image; `actions` holds the words and the button."""

    def __init__(self, generate: Callable[[], None]) -> None:
        self.target = Gtk.Label(xalign=0, ellipsize=Pango.EllipsizeMode.END)
        self.target.set_name("target")
        self._mode = Gtk.Label(xalign=0, wrap=True)
        self._mode.set_name("mode")
        for label in (self.target, self._mode):
            label.get_style_context().add_class("dim-label")
        self.button = Gtk.Button(use_underline=True)
        self.button.set_name("generate")
        self.button.get_style_context().add_class("suggested-action")
        self.button.connect("clicked", lambda button: generate())
        self.actions = Gtk.Box(spacing=6)
        self.actions.pack_start(self._mode, True, True, 0)
        self.actions.pack_start(self.button, False, False, 0)

    def show(self, images: Images, deed: str) -> None:
        """`deed`: what Generate would do (`words.DEEDS`)."""
        document, canvas = images.document, images.canvas
        name = images.name or "No image is open: a new one will be made"
        words = situation_words(deed, images.selected, canvas or NEW_IMAGE)
        if document is not None and document.is_indexed:
            words += f"\n{INDEXED}"
        for label, text in ((self.target, name), (self._mode, words)):
            if label.get_text() != text:
                label.set_text(text)
        if self.button.get_label() != BUTTONS[deed]:
            self.button.set_label(BUTTONS[deed])
