"""The main button, and while edits run their progress, the picture as it comes, and a button that ends them."""

from __future__ import annotations

from ..qt import QtCore, QtGui, QtWidgets, Signal
from . import widgets

PREVIEW = 224


class ProgressPanel(QtWidgets.QWidget):
    generate = Signal()
    cancel = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._button = widgets.button("scumble_generate", "Generate", "Starts the edit (Ctrl+Enter in the prompt).")
        font = self._button.font()
        font.setBold(True)
        self._button.setFont(font)
        self._button.setMinimumHeight(30)
        self._cancel = widgets.button("scumble_cancel", "Cancel", "Ends the oldest edit.")
        self._cancel.setMinimumHeight(30)
        self._bar = QtWidgets.QProgressBar()
        self._bar.setObjectName("scumble_progress")
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self._words = widgets.label(name="scumble_progress_words", faint=True)
        self._preview = QtWidgets.QLabel()
        self._preview.setObjectName("scumble_preview")
        self._preview.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self._running = QtWidgets.QWidget()
        widgets.vertical(self._running, self._bar, self._words, self._preview)
        widgets.vertical(self, widgets.row(self._button, self._cancel), self._running)
        self._button.clicked.connect(lambda *_: self.generate.emit())
        self._cancel.clicked.connect(lambda *_: self.cancel.emit())
        self.idle()

    def set_action(self, words: str) -> None:
        if self._button.text() != words:
            self._button.setText(words)

    def idle(self) -> None:
        self._running.hide()
        self._cancel.hide()
        self._preview.clear()
        self._preview.hide()

    def run(self, words: str, step: int, steps: int, preview: QtGui.QImage | None, cancellable: bool) -> None:
        """`steps` 0: nobody knows how far it is."""
        self._bar.setRange(0, steps)
        self._bar.setValue(step)
        self._words.setText(words)
        if preview is None:
            self._preview.hide()
        else:
            self._preview.setPixmap(QtGui.QPixmap.fromImage(preview))
            self._preview.show()
        self._running.show()
        self._cancel.setEnabled(cancellable)
        self._cancel.show()
