"""By how much the picture is to be upscaled, and by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..qt import QtWidgets, Signal
from . import widgets

FACTORS = (2, 3, 4)


class UpscalePanel(QtWidgets.QWidget):
    """`changed`: the artist changed something."""

    changed = Signal()
    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._canvas = (0, 0)
        self._factor = widgets.combo("scumble_upscale_factor", "How many times as wide and as high.")
        for factor in FACTORS:
            self._factor.addItem(f"{factor} \u00d7", factor)
        self._model = widgets.search_box(
            "scumble_upscale_model",
            "An upscaler sharpens what is there; a model that paints adds detail after the prompt.\n"
            "Automatic: with a prompt a model that paints, else an upscaler.",
        )
        self._strength = widgets.spin(
            "scumble_upscale_strength",
            "How much a model that paints may change; an upscaler asks for none.",
            1,
            100,
            " %",
        )
        self._size = widgets.label(name="scumble_upscale_size", faint=True)
        self._button = widgets.button(
            "scumble_upscale", "Upscale", "Upscales the whole picture, and adds a sharp layer."
        )
        self._button.clicked.connect(lambda *_: self.asked.emit())
        page = QtWidgets.QWidget()
        form = widgets.form(page)
        form.addRow("Factor", widgets.row(self._factor, self._size, stretch=1))
        form.addRow("With", self._model)
        form.addRow("Strength", self._strength)
        widgets.vertical(self, page, self._button)
        for signal in (self._factor.currentIndexChanged, self._model.currentIndexChanged, self._strength.valueChanged):
            signal.connect(lambda *_: self._change())

    @property
    def values(self) -> tuple[int, str, int]:
        """The factor, the model's id ("": chosen by the backend) and the strength in percent."""
        return self._factor.currentData(), self._model.currentData() or "", self._strength.value()

    @values.setter
    def values(self, values: tuple[int, str, int]) -> None:
        factor, model, strength = values
        widgets.choose(self._factor, factor)
        widgets.choose(self._model, model)
        self._strength.setValue(strength)

    def set_models(self, models: Sequence[tuple[str, str]], tips: Mapping[str, str]) -> None:
        """Ids and names, and what is said of each."""
        widgets.fill(self._model, models)
        widgets.explain(self._model, tips)

    def set_canvas(self, width: int, height: int) -> None:
        """Of the present picture; 0 without one."""
        if (width, height) != self._canvas:
            self._canvas = width, height
            self._show_size()

    def _change(self) -> None:
        self._show_size()
        self.changed.emit()

    def _show_size(self) -> None:
        width, height = (side * (self._factor.currentData() or 1) for side in self._canvas)
        self._size.setText(f"{width} \u00d7 {height} px" if width else "")
