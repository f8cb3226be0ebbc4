"""Lines that the artist adds and takes away, of whatever kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gi.repository import Gtk

from .lines import Offers
from .widgets import GAP, allow


class Rows:
    """Lines, each with a button that takes it away, and a button that adds one. `line` makes one (`lines.py`)."""

    def __init__(self, name: str, add: str, line: Any, changed: Callable[[], None]) -> None:
        self._name, self._line, self._changed = name, line, changed
        self._offers: Offers = {"adapters": {}, "layers": {}}
        self._why_not = ""
        self.lines: list[Any] = []
        self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=GAP)
        button = Gtk.Button(label=add, halign=Gtk.Align.START)
        button.set_name(f"{name}-add")
        button.connect("clicked", lambda button: self._add())
        self.box.pack_end(button, False, False, 0)

    @property
    def values(self) -> tuple[Any, ...]:
        values = (line.value for line in self.lines)
        return tuple(value for value in values if value is not None)

    def show(self, values: Sequence[Any]) -> None:
        for line in list(self.lines):
            self._take(line)
        for value in values:
            self._add().show(value)

    def offer(self, **lists: Mapping[str, str]) -> None:
        known = self._offers
        if any(name not in known or list(known[name].items()) != list(items.items()) for name, items in lists.items()):
            self._offers = {**self._offers, **lists}
            for line in self.lines:
                line.offer(self._offers)

    def allow(self, why_not: str) -> None:
        """Insensitive as long as there is a reason; what is in the lines stays."""
        self._why_not = why_not
        allow(self.box, why_not)

    def _add(self) -> Any:
        line = self._line(self._name, self._changed)
        line.offer(self._offers)
        line.remove.connect("clicked", lambda button: self._take(line))
        self.lines.append(line)
        self.box.pack_start(line.box, False, False, 0)
        line.box.show_all()
        allow(self.box, self._why_not)
        self._changed()
        return line

    def _take(self, line: Any) -> None:
        self.lines.remove(line)
        line.box.destroy()
        self._changed()
