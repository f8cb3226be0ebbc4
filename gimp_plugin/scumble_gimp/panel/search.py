"""A long list, in which a name is found by typing some of its letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gi.repository import Gdk, Gtk
from scumble.client.names import finding

from ..words import shortened

MOST, MOST_FOUND = 200, 15
"""So many names are listed, of all and of those that are found: GTK measures each, and where the list opens upwards, it
shows its end first, in which the best of a longer one would not be."""
WIDEST = 60
"""Of the names in a list, in characters."""
ARROW = Gtk.EntryIconPosition.SECONDARY


class SearchField:
    """`entry` is the widget: it says what is chosen, until the artist types; `taken` is called with the key of the name
    that they take.

    GTK lists the names that its completion has for a model, a moment after the text has changed; without a model, none.
    """

    def __init__(self, name: str, taken: Callable[[str], None]) -> None:
        self._taken = taken
        self._names: Mapping[str, str] = {}
        self.chosen = ""
        self._found: list[str] = []
        self._typed = self._writing = False
        self.entry = Gtk.Entry(hexpand=True, width_chars=8)
        self.entry.set_name(name)
        self.entry.set_icon_from_icon_name(ARROW, "pan-down-symbolic")
        # Before the completion, which keeps some keys for itself.
        self.entry.connect("key-press-event", self._key)
        self.entry.connect_after("key-press-event", self._free_key)
        self.entry.connect("button-press-event", self._click)
        self.entry.connect("icon-press", lambda entry, icon, event: self._open())
        self.entry.connect_after("grab-focus", lambda entry: self._mark())
        self.entry.connect("focus-out-event", lambda entry, event: self._put_back())
        self.entry.connect("changed", lambda entry: self._search())
        self.entry.connect("activate", lambda entry: self._take_first())
        cell = Gtk.CellRendererText()
        self._completion = Gtk.EntryCompletion(minimum_key_length=0)
        self._completion.pack_start(cell, True)
        self._completion.add_attribute(cell, "text", 0)
        self._completion.add_attribute(cell, "sensitive", 2)
        self._completion.set_match_func(lambda completion, typed, row: True)
        self._completion.connect("match-selected", lambda completion, rows, row: self._take(rows[row][1]))
        self.entry.set_completion(self._completion)

    def offer(self, names: Mapping[str, str], chosen: str) -> None:
        """By their keys, of which `chosen` is one. What is being typed stays."""
        self._names, self.chosen = names, chosen
        if self._typed:
            self._search()
        else:
            self._put_back()

    # ---- what it says ------------------------------------------------------------------------------------------------

    def _put_back(self) -> None:
        """What is chosen, in place of what has been typed."""
        self._typed = False
        if self._completion.get_model() is not None:
            self._completion.set_model(None)
            self.entry.set_has_tooltip(bool(self.entry.get_tooltip_text()))
        self._write(self._names[self.chosen])

    def _write(self, text: str) -> None:
        self._writing = True
        self.entry.set_text(text)
        self._writing = False

    def _mark(self) -> None:
        """All of it, for what is typed to replace it; its beginning stays in sight."""
        self.entry.select_region(-1, 0)

    # ---- what it lists -----------------------------------------------------------------------------------------------

    def _search(self) -> None:
        if not self._writing:
            self._typed = True
            self._list(self.entry.get_text(), MOST_FOUND)

    def _open(self) -> None:
        """Lists all names."""
        self._put_back()
        self._mark()
        self._list("", MOST)
        self._writing = True
        self.entry.emit("changed")
        self._writing = False

    def _list(self, typed: str, most: int) -> None:
        sought = re.compile(finding(typed), re.IGNORECASE)
        self._found = [key for key, name in self._names.items() if sought.match(name)]
        rows = Gtk.ListStore(str, str, bool)
        for key in self._found[:most]:
            rows.insert_with_values(-1, (0, 1, 2), (shortened(self._names[key], WIDEST), key, True))
        more = len(self._found) - most
        if more > 0 or not self._found:
            rows.insert_with_values(-1, (0, 2), (f"{more:,} more" if self._found else "Nothing is called that", False))
        self._completion.set_model(rows)
        self.entry.set_has_tooltip(False)  # it would lie over the list

    # ---- what the artist does ----------------------------------------------------------------------------------------

    def _take_first(self) -> None:
        if self._typed and self._found:
            self._take(self._found[0])

    def _take(self, key: str | None) -> bool:
        """None: of a row that is no name."""
        if key is not None:
            self.chosen = key
        self._put_back()
        if key is not None:
            self._taken(key)
        self._mark()
        return True

    def _click(self, entry: Any, event: Any) -> bool:
        """Opens the list; in what is being typed, GTK puts the cursor there."""
        if event.button != Gdk.BUTTON_PRIMARY or self._typed:
            return False
        entry.grab_focus()
        self._open()
        return True

    def _key(self, entry: Any, event: Any) -> bool:
        control = event.state & Gdk.ModifierType.CONTROL_MASK
        runs = control and event.keyval in (Gdk.KEY_Return, Gdk.KEY_KP_Enter)
        leaves = event.keyval in (Gdk.KEY_Tab, Gdk.KEY_ISO_Left_Tab) or runs
        if self._completion.get_model() is None or not (leaves or event.keyval == Gdk.KEY_Escape):
            return False
        self._put_back()
        self._mark()
        # While a list is open, the window hears of no key.
        return bool(entry.get_toplevel().event(event)) if leaves else True

    def _free_key(self, entry: Any, event: Any) -> bool:
        """One that moves in the list where it is open."""
        down = event.keyval in (Gdk.KEY_Down, Gdk.KEY_KP_Down)
        if down:
            self._open()
        return down
