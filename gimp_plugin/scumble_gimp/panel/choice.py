"""A list in which the artist has chosen something, whatever comes and goes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gi.repository import Gtk
from scumble.client.names import LONG_LIST

from ..kept import NOT_FOUND
from .search import SearchField
from .widgets import allow_parts, combo_box, fill


class Choice:
    """`box` is the widget; `changed` is called when the artist has chosen, not when `offer` or `chosen` change it."""

    def __init__(self, name: str, tip: str, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._chosen = ""
        self._offered: Mapping[str, str] = {}
        self._others: Mapping[str, str] | None = None
        self._names: dict[str, str] = {}
        self._shown: Mapping[str, str] = {}
        self._filling = False
        self._combo = combo_box(name, "", self._pick)
        self._search = SearchField(f"{name}-search", self._take)
        self.box = Gtk.Box()
        for widget in (self._combo, self._search.entry):
            widget.set_no_show_all(True)  # one of them shows
            self.box.pack_start(widget, True, True, 0)
        self.explain(tip)

    @property
    def chosen(self) -> str:
        """Its key, also while it is not on offer."""
        return self._chosen

    @chosen.setter
    def chosen(self, key: str) -> None:
        self._chosen = key
        self._show()

    def offer(self, choices: Mapping[str, str], others: Mapping[str, str] | None = None) -> None:
        """Keys and what they are called; the first is shown where nothing is chosen. What is chosen and not among them
        stays in the list, with its name of the `others`, or as missing; with None the first is shown for it."""
        self._offered, self._others = choices, others
        self._names.update({**(others or {}), **choices})
        self._show()

    def explain(self, tip: str) -> None:
        for widget in self.box.get_children():
            widget.set_tooltip_text(tip or None)

    def allow(self, why_not: str) -> None:
        """Insensitive as long as there is a reason against it."""
        allow_parts(self.box, self.box.get_children(), why_not)

    def _show(self) -> None:
        shown, key = dict(self._offered), self._chosen
        if self._others is not None and key not in shown:
            first = next(iter(shown))
            shown = {first: shown.pop(first), key: self._others.get(key) or self._missing(key), **shown}
        chosen = key if key in shown else next(iter(shown), "")
        same = list(shown.items()) == list(self._shown.items())  # a list that is open would close
        self._filling = True
        if len(shown) > LONG_LIST:
            if not same or chosen != self._search.chosen:
                self._search.offer(shown, chosen)
        elif same:
            self._combo.set_active_id(chosen)
        else:
            fill(self._combo, shown, chosen)
        self._filling = False
        self._shown = shown
        self._swap(searched=len(shown) > LONG_LIST)

    def _swap(self, searched: bool) -> None:
        """Which of the two shows; the labels of `box` name that one, and their keys lead there."""
        seen, unseen = (self._search.entry, self._combo) if searched else (self._combo, self._search.entry)
        unseen.hide()
        seen.show()
        for label in (*self.box.list_mnemonic_labels(), *unseen.list_mnemonic_labels()):
            label.set_mnemonic_widget(seen)

    def _missing(self, key: str) -> str:
        return f"{self._names[key]} ({NOT_FOUND.lower()})" if key in self._names else NOT_FOUND

    def _pick(self) -> None:
        if not self._filling:
            self._take(self._combo.get_active_id() or "")

    def _take(self, key: str) -> None:
        self._chosen = key
        self._changed()
