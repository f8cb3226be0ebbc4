"""What is added to the model: LoRAs with their weights, and layers that a control network follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gi.repository import Gtk
from scumble.client.editor import ControlLayer
from scumble.protocol.messages import AdapterInfo, AdapterKind, LoraUse

from ..commands import PREPROCESSORS
from .widgets import GAP, column_of, combo_box, cross, fill, row_of, spin_button

CHOOSE, VISIBLE, GONE = "Choose\u2026", "Visible picture", "Not in this image"
Offers = Mapping[str, Mapping[str, str]]
"""Ids and names of what the lines let choose from: "adapters" and "layers"."""


class AddedFold:
    """`box` is an expander; `changed` is called after each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.box = Gtk.Expander(label="LoRAs and controls")
        self.box.set_name("added")
        self._loras = _Rows("lora", "Add a LoRA", _LoraLine, changed)
        self._controls = _Rows("control", "Add a Control", _ControlLine, changed)
        column = column_of(self._loras.box, self._controls.box)
        column.set_margin_start(12)
        column.set_margin_top(GAP)
        self.box.add(column)

    @property
    def loras(self) -> tuple[LoraUse, ...]:
        return self._loras.values

    @property
    def controls(self) -> tuple[ControlLayer, ...]:
        """One that ends before it starts is refused when the request is made of it."""
        return self._controls.values

    @property
    def follows_layers(self) -> bool:
        return bool(self._controls.lines)

    def show_loras(self, loras: Sequence[LoraUse]) -> None:
        if tuple(loras) != self.loras:
            self._loras.show(loras)
            self.box.set_expanded(bool(loras) or self.follows_layers)

    def offer_adapters(self, adapters: Sequence[AdapterInfo]) -> None:
        self._loras.offer(adapters=_named(adapters, "lora"))
        self._controls.offer(adapters=_named(adapters, "control"))

    def offer_layers(self, layers: Mapping[str, str]) -> None:
        """Ids and names of the layers of the image that is worked on, topmost first."""
        self._controls.offer(layers=layers)


def _named(adapters: Sequence[AdapterInfo], kind: AdapterKind) -> dict[str, str]:
    return {
        adapter.id: f"{adapter.name} ({adapter.family})" if adapter.family else adapter.name
        for adapter in adapters
        if adapter.kind == kind
    }


class _Rows:
    """Lines, each with a button that takes it away, and a button that adds one."""

    def __init__(self, name: str, add: str, line: Any, changed: Callable[[], None]) -> None:
        self._name, self._line, self._changed = name, line, changed
        self._offers: dict[str, Mapping[str, str]] = {"adapters": {}, "layers": {}}
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
        if any(list(self._offers[name].items()) != list(items.items()) for name, items in lists.items()):
            self._offers.update(lists)
            for line in self.lines:
                line.offer(self._offers)

    def _add(self) -> Any:
        line = self._line(self._name, self._changed)
        line.offer(self._offers)
        line.remove.connect("clicked", lambda button: self._take(line))
        self.lines.append(line)
        self.box.pack_start(line.box, False, False, 0)
        line.box.show_all()
        self._changed()
        return line

    def _take(self, line: Any) -> None:
        self.lines.remove(line)
        line.box.destroy()
        self._changed()


class _LoraLine:
    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self._wanted = ""
        self._adapter = combo_box(name, "A LoRA changes how the model paints: a style, a person, a thing", changed)
        self._weight = _number(f"{name}-weight", "How strong it is; negative: away from it", -10, 10, 1, changed)
        self.remove = cross(f"{name}-remove")
        self.box = row_of(self._adapter, self._weight, self.remove)

    @property
    def value(self) -> LoraUse | None:
        """None as long as nothing is chosen."""
        chosen = self._adapter.get_active_id()
        return LoraUse(chosen, round(self._weight.get_value(), 2)) if chosen else None

    def show(self, value: LoraUse) -> None:
        self._wanted = value.id  # the backend may not have said yet what there is
        self._adapter.set_active_id(value.id)
        self._weight.set_value(value.weight)

    def offer(self, offers: Offers) -> None:
        fill(self._adapter, {"": CHOOSE, **offers["adapters"]}, self._adapter.get_active_id() or self._wanted)


class _ControlLine:
    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self._adapter = combo_box(name, "The network that makes the model follow a layer", changed)
        self._layer = combo_box(f"{name}-layer", "What is followed", changed)
        self._preprocessor = combo_box(f"{name}-preprocessor", "What is made of the layer first", changed)
        fill(self._preprocessor, PREPROCESSORS, "canny")
        self._weight = _number(f"{name}-weight", "How strictly it is followed", 0, 10, 1, changed)
        part = "The part of the denoising steps in which it counts, in percent"
        self._start = _percent(f"{name}-start", f"{part}: from here", 0, changed)
        self._end = _percent(f"{name}-end", f"{part}: to here", 100, changed)
        self.remove = cross(f"{name}-remove")
        self.box = column_of(
            row_of(self._adapter, self._weight, self.remove),
            row_of(self._layer, self._preprocessor),
            row_of(Gtk.Label(label="Steps (%):"), self._start, Gtk.Label(label="\u2013"), self._end),
        )

    @property
    def value(self) -> ControlLayer | None:
        chosen = self._adapter.get_active_id()
        if not chosen:
            return None
        return ControlLayer(
            id=chosen,
            layer=self._layer.get_active_id() or None,
            preprocessor=self._preprocessor.get_active_id(),
            weight=round(self._weight.get_value(), 2),
            start=self._start.get_value() / 100,
            end=self._end.get_value() / 100,
        )

    def offer(self, offers: Offers) -> None:
        fill(self._adapter, {"": CHOOSE, **offers["adapters"]}, self._adapter.get_active_id() or "")
        layer = self._layer.get_active_id() or ""
        # Another image may be worked on for a moment. Never does a control follow something else without a word.
        fill(self._layer, {"": VISIBLE, **({layer: GONE} if layer else {}), **offers["layers"]}, layer)


def _number(name: str, tip: str, low: float, high: float, value: float, changed: Callable[[], None]) -> Any:
    spin = spin_button(name, tip, low, high, 0.05)
    spin.set_digits(2)
    spin.set_value(value)
    spin.connect("value-changed", lambda spin: changed())
    return spin


def _percent(name: str, tip: str, value: int, changed: Callable[[], None]) -> Any:
    spin = spin_button(name, tip, 0, 100, width=3)
    spin.set_value(value)
    spin.connect("value-changed", lambda spin: changed())
    return spin
