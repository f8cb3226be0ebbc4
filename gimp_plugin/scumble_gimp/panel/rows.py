"""Lines that the artist adds and takes away, of whatever kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gi.repository import Gtk

from .lines import Offers
from .widgets import GAP, allow_parts


class Rows:
    """Lines, each with a button that takes it away, and a button that adds one. `line` makes one (`lines.py`)."""

    def __init__(self, name: str, add: str, line: Any, changed: Callable[[], None]) -> None:
        self._name, self._line, self._changed = name, line, changed
        self._offers: Offers = {"adapters": {}, "layers": {}}
        self._why_not = ""
        self.lines: list[Any] = []
        self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=GAP)
        self._button = Gtk.Button(label=add, halign=Gtk.Align.START)
        self._button.set_name(f"{name}-add")
        self._button.connect("clicked", lambda button: self._add())
        self.box.pack_end(self._button, False, False, 0)

    @property
    def values(self) -> tuple[Any, ...]:
        """Of the lines in which nothing is missing."""
        values = (line.value for line in self.lines)
        return tuple(value for value in values if value is not None)

    @property
    def rows(self) -> tuple[Any, ...]:
        return tuple(line.row for line in self.lines)

    @rows.setter
    def rows(self, rows: Sequence[Any]) -> None:
        if tuple(rows) == self.rows:
            return
        for line in list(self.lines):
            self._take(line)
        for row in rows:
            self._add().row = row

    def offer(self, **lists: Mapping[str, str]) -> None:
        known = self._offers
        if any(name not in known or list(known[name].items()) != list(items.items()) for name, items in lists.items()):
            self._offers = {**self._offers, **lists}
            for line in self.lines:
                line.offer(self._offers)

    def allow(self, why_not: str) -> None:
        """Insensitive as long as there is a reason; what is in the lines stays, and only they can be taken away."""
        self._why_not = why_not
        allow_parts(self.box, (self._button, *(part for line in self.lines for part in line.parts)), why_not)

    def _add(self) -> Any:
        line = self._line(self._name, self._changed)
        line.offer(self._offers)
        line.remove.connect("clicked", lambda button: self._take(line))
        self.lines.append(line)
        self.box.pack_start(line.box, False, False, 0)
        line.box.show_all()
        self.allow(self._why_not)
        self._changed()
        return line

    def _take(self, line: Any) -> None:
        self.lines.remove(line)
        line.box.destroy()
        self._changed()
