"""Where the prompt is written."""

from __future__ import annotations

from collections.abc import Callable

from gi.repository import Gtk

from ..commands import PROMPT
from ..words import apart
from .widgets import GAP, column_of


class Prompt:
    """`box` holds the widgets; `changed` is called after each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        label = Gtk.Label(label=f"{PROMPT.label}:", use_underline=True, xalign=0)
        self._view = Gtk.TextView(accepts_tab=False, wrap_mode=Gtk.WrapMode.WORD_CHAR, left_margin=4, right_margin=4)
        self._view.set_top_margin(3)
        self._view.set_bottom_margin(3)
        self._view.set_tooltip_text(PROMPT.help)
        self._view.set_name("prompt")
        self._buffer = self._view.get_buffer()
        self._buffer.connect("changed", lambda buffer: changed())
        label.set_mnemonic_widget(self._view)
        frame = Gtk.ScrolledWindow(shadow_type=Gtk.ShadowType.IN, min_content_height=58)
        frame.set_policy(Gtk.PolicyType.NEVER, Gtk.PolicyType.AUTOMATIC)
        frame.add(self._view)
        self.box = column_of(label, frame, spacing=GAP)

    @property
    def text(self) -> str:
        return str(self._buffer.get_text(*self._buffer.get_bounds(), False)).strip()

    @text.setter
    def text(self, text: str) -> None:
        self._buffer.set_text(text)

    def put_in(self, word: str) -> None:
        """Where the cursor is, in place of what is marked."""
        self._buffer.delete_selection(True, True)
        start, end = self._buffer.get_bounds()
        cursor = self._buffer.get_iter_at_mark(self._buffer.get_insert())
        before, after = (self._buffer.get_text(*ends, False) for ends in ((start, cursor), (cursor, end)))
        self._buffer.insert(cursor, apart(before, word, after))

    def take_focus(self) -> None:
        self._view.grab_focus()
