"""By how much the picture is to be upscaled, and by what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gi.repository import GLib, Gtk
from scumble.protocol.messages import ModelInfo

from ..asked import Upscaling
from ..commands import FACTOR
from ..words import AUTOMATIC
from .choice import Choice
from .widgets import combo_box, fill, fold, new_grid, spin_button


class UpscaleFold:
    """`box` is an expander; `upscale` is called by its button."""

    def __init__(self, upscale: Callable[[], None]) -> None:
        tip = "An upscaler sharpens what is there; a model that paints adds detail after the prompt"
        self._factor = combo_box("factor", FACTOR.help, lambda: None)
        fill(
            self._factor, {str(times): f"{times} \u00d7" for times in range(int(FACTOR.low), int(FACTOR.high) + 1)}, "2"
        )
        self._model = Choice("upscale-model", tip, lambda: None)
        self._strength = spin_button("upscale-strength", "How much a model that paints may change", 1, 100)
        button = Gtk.Button(label="Upscale", halign=Gtk.Align.END)
        button.set_name("upscale")
        button.connect("clicked", lambda button: upscale())
        grid = new_grid(left=12)
        rows = (("Factor:", self._factor), ("With:", self._model.box), ("Strength (%):", self._strength))
        for number, (words, widget) in enumerate(rows):
            label = Gtk.Label(label=words, xalign=0)
            label.set_mnemonic_widget(widget)
            grid.attach(label, 0, number, 1, 1)
            grid.attach(widget, 1, number, 1, 1)
        grid.attach(button, 1, len(rows), 1, 1)
        self._model.offer({"": AUTOMATIC})
        self.values = Upscaling()
        self.box = fold("upscale-fold", "Upscale the picture", grid)

    @property
    def values(self) -> Upscaling:
        return Upscaling(int(self._factor.get_active_id()), self._model.chosen, self._strength.get_value() / 100)

    @values.setter
    def values(self, values: Upscaling) -> None:
        self._factor.set_active_id(str(values.factor))
        self._model.chosen = values.model
        self._strength.set_value(values.strength * 100)

    def unfold(self) -> None:
        self.box.set_expanded(True)
        GLib.idle_add(lambda: self._factor.grab_focus())  # once it has its place

    def offer(self, models: Sequence[ModelInfo]) -> None:
        named = {
            model.id: model.name if model.kind == "upscaler" else f"{model.name} (paints)"
            for model in sorted(models, key=lambda model: model.kind != "upscaler")
            if model.kind != "fill"
        }
        self._model.offer({"": AUTOMATIC, **named}, {})
