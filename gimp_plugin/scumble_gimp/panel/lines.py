"""The lines of what is added to the model. `row` is all that is filled in, `value` None as long as something is missing;
`parts` are the widgets beside the button that takes the line away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gi.repository import Gtk
from scumble.client.editor import ControlLayer, ReferenceLayer, RegionLayer
from scumble.protocol.messages import LoraUse

from ..commands import PREPROCESSORS
from .choice import Choice
from .widgets import column_of, combo_box, cross, fill, row_of, spin_button

VISIBLE = "Visible picture"
Changed = Callable[[], None]
Offers = Mapping[str, Mapping[str, str]]
"""Ids and names of what the lines let choose from: "adapters", the "others" that may have been chosen (missing: the backend
has not said what there is) and "layers"."""


class LoraLine:
    def __init__(self, name: str, changed: Changed) -> None:
        self._adapter = Choice(name, "A LoRA changes how the model paints: a style, a person, a thing", changed)
        self._weight = _weight(name, "How strong it is; negative: away from it", -10, changed)
        self.remove = cross(f"{name}-remove")
        self.parts = (self._adapter.box, self._weight)
        self.box = row_of(*self.parts, self.remove)

    @property
    def row(self) -> LoraUse:
        return LoraUse(self._adapter.chosen, round(self._weight.get_value(), 2))

    @row.setter
    def row(self, row: LoraUse) -> None:
        self._adapter.chosen = row.id
        self._weight.set_value(row.weight)

    @property
    def value(self) -> LoraUse | None:
        return self.row if self.row.id else None

    def offer(self, offers: Offers) -> None:
        _offer_adapters(self._adapter, "LoRA", offers)


class ControlLine:
    def __init__(self, name: str, changed: Changed) -> None:
        self._adapter = Choice(name, "The network that makes the model follow a layer", changed)
        self._layer = Choice(f"{name}-layer", "What is followed", changed)
        self._preprocessor = combo_box(f"{name}-preprocessor", "What is made of the layer first", changed)
        fill(self._preprocessor, PREPROCESSORS, "canny")
        self._weight = _weight(name, "How strictly it is followed", 0, changed)
        self._part = _Part(name, changed)
        self.remove = cross(f"{name}-remove")
        layer = row_of(self._layer.box, self._preprocessor)
        self.parts = (self._adapter.box, self._weight, layer, self._part.box)
        self.box = column_of(row_of(self._adapter.box, self._weight, self.remove), layer, self._part.box)

    @property
    def row(self) -> ControlLayer:
        layer, preprocessor = self._layer.chosen or None, self._preprocessor.get_active_id()
        weight = round(self._weight.get_value(), 2)
        return ControlLayer(self._adapter.chosen, layer, preprocessor, weight, *self._part.value)

    @row.setter
    def row(self, row: ControlLayer) -> None:
        self._adapter.chosen, self._layer.chosen = row.id, row.layer or ""
        self._preprocessor.set_active_id(row.preprocessor)
        self._weight.set_value(row.weight)
        self._part.value = row.start, row.end

    @property
    def value(self) -> ControlLayer | None:
        return self.row if self.row.id else None

    def offer(self, offers: Offers) -> None:
        _offer_adapters(self._adapter, "ControlNet", offers)
        _offer_layers(self._layer, VISIBLE, offers)


class ReferenceLine:
    def __init__(self, name: str, changed: Changed) -> None:
        self._adapter = Choice(name, "The IP-Adapter through which the model sees the picture", changed)
        self._layer = Choice(f"{name}-layer", "Whose subject, colours and style are taken up", changed)
        self._weight = _weight(name, "How much is taken from it", 0, changed)
        self._part = _Part(name, changed)
        self.remove = cross(f"{name}-remove")
        self.parts = (self._adapter.box, self._weight, self._layer.box, self._part.box)
        self.box = column_of(
            row_of(self._adapter.box, self._weight, self.remove), row_of(self._layer.box), self._part.box
        )

    @property
    def row(self) -> ReferenceLayer:
        weight = round(self._weight.get_value(), 2)
        return ReferenceLayer(self._adapter.chosen, self._layer.chosen or None, weight, *self._part.value)

    @row.setter
    def row(self, row: ReferenceLayer) -> None:
        self._adapter.chosen, self._layer.chosen = row.id, row.layer or ""
        self._weight.set_value(row.weight)
        self._part.value = row.start, row.end

    @property
    def value(self) -> ReferenceLayer | None:
        return self.row if self.row.id else None

    def offer(self, offers: Offers) -> None:
        _offer_adapters(self._adapter, "IP-Adapter", offers)
        _offer_layers(self._layer, VISIBLE, offers)


class RegionLine:
    def __init__(self, name: str, changed: Changed) -> None:
        self._layer = Choice(name, "Where this layer is, the prompt below takes the place of the one above", changed)
        self._prompt = Gtk.Entry(hexpand=True, activates_default=True)
        self._prompt.set_name(f"{name}-prompt")
        self._prompt.set_placeholder_text("What is to be where this layer is")
        self._prompt.set_tooltip_text("What is to be where this layer is")
        self._prompt.connect("changed", lambda entry: changed())
        self.remove = cross(f"{name}-remove")
        self.parts = (self._layer.box, self._prompt)
        self.box = column_of(row_of(self._layer.box, self.remove), self._prompt)

    @property
    def row(self) -> RegionLayer:
        return RegionLayer(self._prompt.get_text().strip(), self._layer.chosen)

    @row.setter
    def row(self, row: RegionLayer) -> None:
        self._prompt.set_text(row.prompt)
        self._layer.chosen = row.layer

    @property
    def value(self) -> RegionLayer | None:
        return self.row if self.row.layer and self.row.prompt else None

    def offer(self, offers: Offers) -> None:
        _offer_layers(self._layer, "Layer\u2026", offers)


class _Part:
    """Of the denoising steps: from where to where, 0..1. One that ends before it starts is refused when the request is
    made of it."""

    def __init__(self, name: str, changed: Changed) -> None:
        part = "The part of the denoising steps in which it counts, in percent"
        self._start, self._end = (
            _number(spin_button(f"{name}-{end}", f"{part}: {words} here", 0, 100, width=3), value, changed)
            for end, words, value in (("start", "from", 0), ("end", "to", 100))
        )
        self.box = row_of(Gtk.Label(label="Steps (%):"), self._start, Gtk.Label(label="\u2013"), self._end)

    @property
    def value(self) -> tuple[float, float]:
        return self._start.get_value() / 100, self._end.get_value() / 100

    @value.setter
    def value(self, value: tuple[float, float]) -> None:
        for spin, share in zip((self._start, self._end), value, strict=True):
            spin.set_value(round(100 * share))


def _offer_adapters(choice: Choice, what: str, offers: Offers) -> None:
    choice.offer({"": f"{what}\u2026", **offers["adapters"]}, offers.get("others"))


def _offer_layers(choice: Choice, first: str, offers: Offers) -> None:
    choice.offer({"": first, **offers["layers"]}, {})


def _weight(name: str, tip: str, low: float, changed: Changed) -> Any:
    spin = spin_button(f"{name}-weight", tip, low, 10, 0.05)
    spin.set_digits(2)
    return _number(spin, 1, changed)


def _number(spin: Any, value: float, changed: Changed) -> Any:
    spin.set_value(value)
    spin.connect("value-changed", lambda spin: changed())
    return spin
