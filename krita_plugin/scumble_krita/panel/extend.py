"""Numbers for the four edges by which the canvas is to grow."""

from __future__ import annotations

from ..extend import RATIOS, edges_for_ratio
from ..qt import QtWidgets, Signal
from . import widgets

SIDES = ("Left", "Top", "Right", "Bottom")


class ExtendPanel(QtWidgets.QWidget):
    extended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.canvas = (0, 0)
        self._sides = [
            widgets.spin(f"scumble_extend_{side.lower()}", "Grow the canvas on this side.", 0, 8192, " px", step=64)
            for side in SIDES
        ]
        self._ratio = widgets.combo("scumble_extend_ratio", "The smallest canvas of this ratio that holds the picture.")
        self._ratio.addItem("Ratio\u2026")
        for text, _, _ in RATIOS:
            self._ratio.addItem(text)
        self._ratio.currentIndexChanged.connect(self._apply_ratio)
        self._button = widgets.button("scumble_extend", "Extend", "Grows the canvas and paints what is new.")
        self._button.clicked.connect(lambda *_: self.extended.emit())
        grid = QtWidgets.QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(widgets.SPACING)
        for index, (side, box) in enumerate(zip(SIDES, self._sides)):
            line, column = divmod(index, 2)
            grid.addWidget(QtWidgets.QLabel(side), line, 2 * column)
            grid.addWidget(box, line, 2 * column + 1)
            box.valueChanged.connect(self._look)
        grid.addWidget(self._ratio, 2, 0, 1, 2)
        grid.addWidget(self._button, 2, 2, 1, 2)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        self._look()

    @property
    def edges(self) -> tuple[int, ...]:
        """(left, top, right, bottom)"""
        return tuple(box.value() for box in self._sides)

    @edges.setter
    def edges(self, edges: tuple[int, ...]) -> None:
        for box, value in zip(self._sides, edges):
            box.setValue(value)

    def clear(self) -> None:
        self.edges = (0,) * len(self._sides)

    def _apply_ratio(self, index: int) -> None:
        if index > 0 and min(self.canvas) > 0:
            _, across, down = RATIOS[index - 1]
            self.edges = edges_for_ratio(*self.canvas, across, down)
            self._ratio.setCurrentIndex(0)

    def _look(self) -> None:
        self._button.setEnabled(any(self.edges))
