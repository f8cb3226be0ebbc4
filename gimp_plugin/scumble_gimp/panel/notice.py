"""One sentence on what is wrong, and one button that helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gi.repository import Gdk, Gtk
from scumble.protocol.messages import ModelInfo

from ..words import READY, command_in, models_words


class Notice:
    """`bar` shows one message at a time; hidden where all is well."""

    def __init__(self) -> None:
        self.bar = Gtk.InfoBar(no_show_all=True, show_close_button=True)
        self.bar.connect("response", lambda bar, response: self.hide())  # the only response is to close it
        self.bar.set_name("notice")
        self._words = Gtk.Label(xalign=0, wrap=True, max_width_chars=40, selectable=False)
        self._words.set_name("notice-words")
        self._words.show()
        self.bar.get_content_area().add(self._words)
        self._button = Gtk.Button(no_show_all=True)
        self._button.set_name("notice-button")
        self.bar.get_action_area().add(self._button)
        self._button.connect("clicked", lambda button: self._help())
        self._action: Callable[[], None] | None = None
        self._told = ""

    @property
    def words(self) -> str:
        """What it says; "" while hidden."""
        return str(self._words.get_text()) if self.bar.get_visible() else ""

    def say(self, words: str, button: str = "", action: Callable[[], None] | None = None, bad: bool = True) -> None:
        """A command that the words name is offered for copying where there is no other help."""
        command = command_in(words)
        if action is None and command:
            button, action = "Copy Command", lambda: _copy(command)
        self._words.set_text(words)
        self.bar.set_message_type(Gtk.MessageType.WARNING if bad else Gtk.MessageType.INFO)
        self._action = action
        self._button.set_visible(action is not None)
        self._button.set_label(button)
        self.bar.show()

    def tell_of(self, models: Sequence[ModelInfo], anew: bool) -> None:
        """Says what is missing among the models, or nothing any more; not again where nothing has changed."""
        words = models_words(models)
        if words == self._told and not anew:
            return
        self._told = words
        if words == READY:
            self.hide()
        else:
            self.say(words, bad=not models)

    def hide(self) -> None:
        self.bar.hide()

    def _help(self) -> None:
        if self._action is not None:
            self._action()


def _copy(text: str) -> None:
    clipboard = Gtk.Clipboard.get(Gdk.SELECTION_CLIPBOARD)
    clipboard.set_text(text, -1)
    clipboard.store()
