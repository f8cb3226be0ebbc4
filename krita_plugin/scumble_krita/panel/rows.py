"""Lists of lines: each line with a button that takes it away, each list with one that adds a line. `parts` are what a line
has beside that button."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..added import EMPTY, PREPROCESSORS, ControlRow, LoraRow, ReferenceRow, RegionRow
from ..qt import QtCore, QtWidgets, Signal
from . import widgets
from .prompt import PromptEdit

VISIBLE = "Visible picture"
Offers = dict[str, Sequence[tuple[str, str]]]
"""What lines let choose from, "adapters" and "layers", and "others" that may have been chosen: ids and names."""


class Rows(QtWidgets.QWidget):
    """`changed`: the artist changed something. `prompted`: a line with a prompt (a PromptEdit) has come."""

    changed = Signal()
    prompted = Signal(object)

    def __init__(self, name: str, add: str, line: Any) -> None:
        super().__init__()
        self._name, self._make = name, line
        self._lines: list[Any] = []
        self._offers: Offers = {"adapters": (), "others": (), "layers": ()}
        self._why_not = ""
        self._filling = False
        self._button = widgets.button(f"{name}_add", add)
        self._button.clicked.connect(lambda *_: self._add())
        self._column = widgets.vertical(self, self._button)

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(line.row for line in self._lines)

    @values.setter
    def values(self, rows: Sequence[Any]) -> None:
        if tuple(rows) == self.values:
            return
        self._filling = True
        while self._lines:
            self._take(self._lines[-1])
        for row in rows:
            self._put(row)
        self._filling = False

    def offer(self, **items: Sequence[tuple[str, str]]) -> None:
        """What the lines let choose from, by what it is; ids and names."""
        if all(self._offers.get(name) == list(values) for name, values in items.items()):
            return
        self._offers.update({name: list(values) for name, values in items.items()})
        self._filling = True
        for line in self._lines:
            line.offer(self._offers)
        self._filling = False

    def allow(self, why_not: str) -> None:
        """Insensitive as long as there is a reason; only the lines can still be taken away."""
        self._why_not = why_not
        widgets.allow(self._button, why_not)
        for line in self._lines:
            self._allow(line)

    def _allow(self, line: Any) -> None:
        line.setToolTip(self._why_not)
        for part in line.parts:
            widgets.allow(part, self._why_not)

    def _add(self) -> None:
        self._put(self._make.empty)
        self._tell()

    def _put(self, row: Any) -> None:
        line = self._make(self._name)
        line.row = row
        line.offer(self._offers)
        line.remove.clicked.connect(lambda *_: self._remove(line))
        for signal in line.signals:
            signal.connect(lambda *_: self._tell())
        self._lines.append(line)
        self._column.insertWidget(len(self._lines) - 1, line)
        self._allow(line)
        self._in_order(line)
        if hasattr(line, "prompt"):
            self.prompted.emit(line.prompt)

    def _in_order(self, line: Any) -> None:
        """Tab comes to the line where it is; Qt would put it behind all else in Krita's window."""
        before = self._button.previousInFocusChain()
        while not _takes_focus(before):
            before = before.previousInFocusChain()
        for widget in filter(_takes_focus, line.findChildren(QtWidgets.QWidget)):
            if widget.window() == self.window():  # not the list of a combo box, which is a window of its own
                QtWidgets.QWidget.setTabOrder(before, widget)
                before = widget

    def _remove(self, line: Any) -> None:
        self._take(line)
        self._tell()

    def _take(self, line: Any) -> None:
        self._lines.remove(line)
        self._column.removeWidget(line)
        line.hide()
        line.deleteLater()

    def _tell(self) -> None:
        if not self._filling:
            self.changed.emit()


class LoraLine(QtWidgets.QWidget):
    empty: LoraRow = EMPTY["loras"]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._adapter = widgets.search_box(name, "A LoRA changes how the model paints: a style, a person, a thing.")
        self._weight = _weight(f"{name}_weight", "How strong it is; negative: away from it.", -10.0)
        self.remove = _cross(f"{name}_remove")
        self.parts = (self._adapter, self._weight)
        self.signals = (self._adapter.currentIndexChanged, self._weight.valueChanged)
        widgets.vertical(self, widgets.row(self._adapter, self._weight, self.remove))

    def offer(self, items: Offers) -> None:
        widgets.fill(self._adapter, [("", "LoRA\u2026"), *items["adapters"]], items["others"])

    @property
    def row(self) -> LoraRow:
        return LoraRow(self._adapter.currentData() or "", round(self._weight.value(), 2))

    @row.setter
    def row(self, row: LoraRow) -> None:
        widgets.choose(self._adapter, row.id)
        self._weight.setValue(row.weight)


class ControlLine(QtWidgets.QWidget):
    empty: ControlRow = EMPTY["controls"]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._adapter = widgets.search_box(name, "The network that makes the model follow a layer.")
        self._layer = widgets.search_box(f"{name}_layer", "What to follow.")
        self._preprocessor = widgets.combo(f"{name}_preprocessor", "What is made of the layer before it is followed.")
        for value, text in PREPROCESSORS.items():
            self._preprocessor.addItem(text, value)
        self._share = _Share(name, "How strictly it is followed.")
        self.remove = _cross(f"{name}_remove")
        boxes = (self._adapter, self._layer, self._preprocessor)
        self.parts = (*boxes, self._share)
        self.signals = (*(box.currentIndexChanged for box in boxes), *self._share.signals)
        widgets.vertical(
            self, widgets.row(self._adapter, self.remove), widgets.row(self._layer, self._preprocessor), self._share
        )

    def offer(self, items: Offers) -> None:
        widgets.fill(self._adapter, [("", "ControlNet\u2026"), *items["adapters"]], items["others"])
        widgets.fill(self._layer, [("", VISIBLE), *items["layers"]])

    @property
    def row(self) -> ControlRow:
        return ControlRow(
            self._adapter.currentData() or "",
            self._layer.currentData() or "",
            self._preprocessor.currentData(),
            *self._share.values,
        )

    @row.setter
    def row(self, row: ControlRow) -> None:
        for box, value in ((self._adapter, row.id), (self._layer, row.layer), (self._preprocessor, row.preprocessor)):
            widgets.choose(box, value)
        self._share.values = row.weight, row.start, row.end


class ReferenceLine(QtWidgets.QWidget):
    empty: ReferenceRow = EMPTY["references"]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._adapter = widgets.search_box(name, "The IP-Adapter through which the model sees the picture.")
        self._layer = widgets.search_box(f"{name}_layer", "Whose subject, colours and style are taken up.")
        self._share = _Share(name, "How much is taken from it.")
        self.remove = _cross(f"{name}_remove")
        self.parts = (self._adapter, self._layer, self._share)
        self.signals = (self._adapter.currentIndexChanged, self._layer.currentIndexChanged, *self._share.signals)
        widgets.vertical(self, widgets.row(self._adapter, self.remove), self._layer, self._share)

    def offer(self, items: Offers) -> None:
        widgets.fill(self._adapter, [("", "IP-Adapter\u2026"), *items["adapters"]], items["others"])
        widgets.fill(self._layer, [("", VISIBLE), *items["layers"]])

    @property
    def row(self) -> ReferenceRow:
        return ReferenceRow(self._adapter.currentData() or "", self._layer.currentData() or "", *self._share.values)

    @row.setter
    def row(self, row: ReferenceRow) -> None:
        widgets.choose(self._adapter, row.id)
        widgets.choose(self._layer, row.layer)
        self._share.values = row.weight, row.start, row.end


class RegionLine(QtWidgets.QWidget):
    empty: RegionRow = EMPTY["regions"]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._layer = widgets.search_box(
            f"{name}_layer", "Where the layer is, its own words take the place of the prompt."
        )
        self.prompt = PromptEdit(f"{name}_prompt", "What is to be where this layer is", 1)
        self.remove = _cross(f"{name}_remove")
        self.parts = (self._layer, self.prompt)
        self.signals = (self._layer.currentIndexChanged, self.prompt.textChanged)
        widgets.vertical(self, widgets.row(self._layer, self.remove), self.prompt)

    def offer(self, items: Offers) -> None:
        widgets.fill(self._layer, [("", "Layer\u2026"), *items["layers"]])

    @property
    def row(self) -> RegionRow:
        return RegionRow(self.prompt.text, self._layer.currentData() or "")

    @row.setter
    def row(self, row: RegionRow) -> None:
        self.prompt.text = row.prompt
        widgets.choose(self._layer, row.layer)


class _Share(QtWidgets.QWidget):
    """A weight, and the part of the steps in which it counts, in percent."""

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        self._weight = _weight(f"{name}_weight", tip, 0.0)
        self._start = widgets.spin(f"{name}_start", "The part of the steps in which it counts: from here.", 0, 99, " %")
        self._end = widgets.spin(f"{name}_end", "The part of the steps in which it counts: to here.", 1, 100, " %")
        self._start.setPrefix("from ")
        self._end.setPrefix("to ")
        self.signals = tuple(box.valueChanged for box in (self._weight, self._start, self._end))
        widgets.vertical(self, widgets.row(self._weight, self._start, self._end))

    @property
    def values(self) -> tuple[float, int, int]:
        return round(self._weight.value(), 2), self._start.value(), self._end.value()

    @values.setter
    def values(self, values: tuple[float, int, int]) -> None:
        for box, value in zip((self._weight, self._start, self._end), values):
            box.setValue(value)


def _takes_focus(widget: QtWidgets.QWidget) -> bool:
    return widget.focusPolicy() != QtCore.Qt.FocusPolicy.NoFocus and widget.focusProxy() is None


def _cross(name: str) -> QtWidgets.QPushButton:
    made = widgets.button(name, "\u00d7", "Take it away.")
    made.setFixedWidth(24)
    return made


def _weight(name: str, tip: str, low: float) -> QtWidgets.QDoubleSpinBox:
    box = widgets.double_spin(name, tip, low, 10.0)
    box.setDecimals(2)
    box.setSingleStep(0.05)
    return box
