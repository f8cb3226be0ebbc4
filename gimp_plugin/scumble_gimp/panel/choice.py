"""A list in which the artist has chosen something, whatever comes and goes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..kept import NOT_FOUND
from .widgets import combo_box, fill


class Choice:
    """`combo` is the widget; `changed` is called when the artist has chosen, not when `offer` or `chosen` change it."""

    def __init__(self, name: str, tip: str, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._chosen = ""
        self._offered: Mapping[str, str] = {}
        self._others: Mapping[str, str] | None = None
        self._names: dict[str, str] = {}
        self._shown: Mapping[str, str] = {}
        self._filling = False
        self.combo = combo_box(name, tip, self._pick)

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

    def _show(self) -> None:
        shown, key = dict(self._offered), self._chosen
        if self._others is not None and key not in shown:
            first = next(iter(shown))
            shown = {first: shown.pop(first), key: self._others.get(key) or self._missing(key), **shown}
        self._filling = True
        if list(shown.items()) != list(self._shown.items()):  # a list that is open would close
            fill(self.combo, shown, key)
        else:
            self.combo.set_active_id(key if key in shown else next(iter(shown), ""))
        self._shown = shown
        self._filling = False

    def _missing(self, key: str) -> str:
        return f"{self._names[key]} ({NOT_FOUND.lower()})" if key in self._names else NOT_FOUND

    def _pick(self) -> None:
        if not self._filling:
            self._chosen = self.combo.get_active_id() or ""
            self._changed()
