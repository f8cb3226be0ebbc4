"""How far the running edit is: bar, words, preview, Cancel."""

from __future__ import annotations

from collections.abc import Callable

from gi.repository import Gtk
from scumble.protocol.geometry import Size
from scumble.protocol.messages import Buffer, Progress

from ..words import fraction, progress_words
from .pictures import picture

SIDE = 200


class ProgressView:
    """`box` is hidden while nothing runs."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6, no_show_all=True)
        row = Gtk.Box(spacing=6)
        self._bar = Gtk.ProgressBar(show_text=True, valign=Gtk.Align.CENTER)
        self._bar.set_name("progress")
        button = Gtk.Button(label="_Cancel", use_underline=True)
        button.set_name("cancel")
        button.connect("clicked", lambda button: cancel())
        row.pack_start(self._bar, True, True, 0)
        row.pack_start(button, False, False, 0)
        row.show_all()
        self._preview = Gtk.Image(no_show_all=True)
        self._preview.set_name("preview")
        self.box.pack_start(row, False, False, 0)
        self.box.pack_start(self._preview, False, False, 0)

    def begin(self, words: str) -> None:
        self._bar.set_fraction(0)
        self._bar.set_text(words)
        self._preview.hide()
        self.box.show()

    def show(self, progress: Progress, previews: tuple[Buffer, ...], waiting: int) -> None:
        more = f" ({waiting} more waiting)" if waiting else ""
        self._bar.set_text(progress_words(progress) + more)
        if progress.steps:
            self._bar.set_fraction(fraction(progress))
        for preview in previews:
            if preview.encoding == "raw" and preview.format == "rgba8":
                size = Size(preview.width, preview.height)
                self._preview.set_from_pixbuf(picture(size, preview.data, SIDE, enlarge=True))
                self._preview.show()

    def end(self) -> None:
        self._preview.clear()
        self.box.hide()
