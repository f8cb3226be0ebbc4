"""What is added to the model: LoRAs with their weights, words that it has learnt (textual inversions), and layers that a
control network follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..added import PREPROCESSORS, ControlRow, LoraRow
from ..qt import QtWidgets, Signal
from . import widgets

CHOOSE = "Choose\u2026"
VISIBLE = "Visible picture"
EMBEDDING = "Textual inversion\u2026"


class AddedPanel(QtWidgets.QWidget):
    """`changed`: the artist changed something. `picked`: a textual inversion's word is to go into the prompt."""

    changed = Signal()
    picked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._embeddings = widgets.combo(
            "scumble_embedding", "A word that a model has learnt: it goes where the cursor is in the prompt."
        )
        self._embeddings.currentIndexChanged.connect(self._pick)
        self._embeddings.hide()
        self._loras = _Rows("scumble_lora", "Add a LoRA", _LoraLine)
        self._controls = _Rows("scumble_control", "Add a control", _ControlLine)
        widgets.vertical(self, self._loras, self._embeddings, self._controls)
        for rows in (self._loras, self._controls):
            rows.changed.connect(self.changed)

    @property
    def loras(self) -> tuple[LoraRow, ...]:
        return self._loras.values

    @loras.setter
    def loras(self, rows: Sequence[LoraRow]) -> None:
        self._loras.values = rows

    @property
    def controls(self) -> tuple[ControlRow, ...]:
        return self._controls.values

    @controls.setter
    def controls(self, rows: Sequence[ControlRow]) -> None:
        self._controls.values = rows

    def set_adapters(self, adapters: Sequence[Any]) -> None:
        """The backend's AdapterInfos."""
        for rows, kind in ((self._loras, "lora"), (self._controls, "control")):
            named = [
                (each.id, f"{each.name} ({each.family})" if each.family else each.name)
                for each in adapters
                if each.kind == kind
            ]
            rows.offer(adapters=named)
        families: dict[str, list[str]] = {}
        for each in adapters:
            if each.kind == "embedding":
                families.setdefault(each.name, []).extend([each.family] if each.family else [])
        listed = [(name, f"{name} ({', '.join(of)})" if of else name) for name, of in families.items()]
        widgets.fill(self._embeddings, [("", EMBEDDING), *listed])
        self._embeddings.setVisible(bool(listed))

    def _pick(self, index: int) -> None:
        if index > 0:
            self.picked.emit(self._embeddings.currentData())
            self._embeddings.setCurrentIndex(0)

    def set_layers(self, layers: Sequence[tuple[str, str]]) -> None:
        """Ids and names of the document's layers, the topmost first."""
        self._controls.offer(layers=layers)


class _Rows(QtWidgets.QWidget):
    """Lines, each with a button that takes it away, and a button that adds one."""

    changed = Signal()

    def __init__(self, name: str, add: str, line: Any) -> None:
        super().__init__()
        self._name, self._make = name, line
        self._lines: list[Any] = []
        self._offers: dict[str, Sequence[tuple[str, str]]] = {}
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

    def _add(self) -> None:
        self._put(self._make.empty)
        self._tell()

    def _put(self, row: Any) -> None:
        line = self._make(self._name)
        line.offer(self._offers)
        line.row = row
        line.remove.clicked.connect(lambda *_: self._remove(line))
        for signal in line.signals:
            signal.connect(lambda *_: self._tell())
        self._lines.append(line)
        self._column.insertWidget(len(self._lines) - 1, line)

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


class _LoraLine(QtWidgets.QWidget):
    empty = LoraRow()

    def __init__(self, name: str) -> None:
        super().__init__()
        self._adapter = widgets.combo(name, "A LoRA changes how the model paints: a style, a person, a thing.")
        self._weight = _weight(f"{name}_weight", "How strong it is; negative: away from it.", -10.0)
        self.remove = _cross(f"{name}_remove")
        self.signals = (self._adapter.currentIndexChanged, self._weight.valueChanged)
        widgets.vertical(self, widgets.row(self._adapter, self._weight, self.remove))

    def offer(self, items: dict[str, Sequence[tuple[str, str]]]) -> None:
        widgets.fill(self._adapter, [("", CHOOSE), *items.get("adapters", ())])

    @property
    def row(self) -> LoraRow:
        return LoraRow(self._adapter.currentData() or "", round(self._weight.value(), 2))

    @row.setter
    def row(self, row: LoraRow) -> None:
        widgets.choose(self._adapter, row.id)
        self._weight.setValue(row.weight)


class _ControlLine(QtWidgets.QWidget):
    empty = ControlRow()

    def __init__(self, name: str) -> None:
        super().__init__()
        self._adapter = widgets.combo(name, "The network that makes the model follow a layer.")
        self._layer = widgets.combo(f"{name}_layer", "What to follow.")
        self._preprocessor = widgets.combo(f"{name}_preprocessor", "What is made of the layer before it is followed.")
        for value, text in PREPROCESSORS.items():
            self._preprocessor.addItem(text, value)
        self._weight = _weight(f"{name}_weight", "How strictly it is followed.", 0.0)
        self._start = widgets.spin(f"{name}_start", "The part of the steps in which it counts: from here.", 0, 99, " %")
        self._end = widgets.spin(f"{name}_end", "The part of the steps in which it counts: to here.", 1, 100, " %")
        self.remove = _cross(f"{name}_remove")
        self.signals = (
            *(box.currentIndexChanged for box in (self._adapter, self._layer, self._preprocessor)),
            *(box.valueChanged for box in (self._weight, self._start, self._end)),
        )
        widgets.vertical(
            self,
            widgets.row(self._adapter, self.remove),
            widgets.row(self._layer, self._preprocessor),
            widgets.row(self._weight, self._start, self._end),
        )

    def offer(self, items: dict[str, Sequence[tuple[str, str]]]) -> None:
        widgets.fill(self._adapter, [("", CHOOSE), *items.get("adapters", ())])
        widgets.fill(self._layer, [("", VISIBLE), *items.get("layers", ())])

    @property
    def row(self) -> ControlRow:
        return ControlRow(
            id=self._adapter.currentData() or "",
            layer=self._layer.currentData() or "",
            preprocessor=self._preprocessor.currentData(),
            weight=round(self._weight.value(), 2),
            start=self._start.value(),
            end=self._end.value(),
        )

    @row.setter
    def row(self, row: ControlRow) -> None:
        for box, value in ((self._adapter, row.id), (self._layer, row.layer), (self._preprocessor, row.preprocessor)):
            widgets.choose(box, value)
        self._weight.setValue(row.weight)
        self._start.setValue(row.start)
        self._end.setValue(row.end)


def _cross(name: str) -> QtWidgets.QPushButton:
    made = widgets.button(name, "\u00d7", "Take it away.")
    made.setFixedWidth(24)
    return made


def _weight(name: str, tip: str, low: float) -> QtWidgets.QDoubleSpinBox:
    box = widgets.double_spin(name, tip, low, 10.0)
    box.setDecimals(2)
    box.setSingleStep(0.05)
    return box
