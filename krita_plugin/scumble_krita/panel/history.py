"""Earlier edits with their prompt and seed: bring the images back, or use the settings again."""

from __future__ import annotations

import time
from typing import NamedTuple

from ..qt import QtCore, QtWidgets, Signal
from ..slots import connect
from . import widgets

_IDENTITY = QtCore.Qt.ItemDataRole.UserRole


class Past(NamedTuple):
    """One edit. `created` in seconds since 1970."""

    job: str
    name: str
    created: float


class HistoryPanel(QtWidgets.QWidget):
    used_again = Signal(str)
    brought_back = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[Past] = []
        self._list = QtWidgets.QListWidget()
        self._list.setObjectName("scumble_history")
        self._list.setFixedHeight(120)
        self._list.setMinimumWidth(60)
        self._list.setTextElideMode(QtCore.Qt.TextElideMode.ElideRight)
        self._list.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._again = widgets.button(
            "scumble_use_again", "Use again", "Fills the panel with this edit's settings and seed."
        )
        self._back = widgets.button("scumble_bring_back", "Images", "Brings this edit's images back.")
        widgets.vertical(self, self._list, widgets.row(self._again, self._back, stretch=0))
        connect(self._again.clicked, lambda: self._emit(self.used_again))
        connect(self._back.clicked, lambda: self._emit(self.brought_back))
        connect(self._list.itemDoubleClicked, lambda: self._emit(self.brought_back))
        connect(self._list.currentItemChanged, self._update)
        self._update()

    def show_history(self, past: list[Past]) -> None:
        if past == self._shown:
            return
        chosen = self._chosen
        self._shown = past
        self._list.clear()
        for entry in past:
            item = QtWidgets.QListWidgetItem(entry.name)
            item.setData(_IDENTITY, entry.job)
            item.setToolTip(f"{entry.name}\n{time.strftime('%Y-%m-%d %H:%M', time.localtime(entry.created))}")
            self._list.addItem(item)
            if entry.job == chosen:
                self._list.setCurrentItem(item)

    @property
    def _chosen(self) -> str:
        """The job that is chosen, "" for none."""
        item = self._list.currentItem()
        return item.data(_IDENTITY) if item is not None else ""

    def _update(self) -> None:
        for button in (self._again, self._back):
            button.setEnabled(bool(self._chosen))

    def _emit(self, signal) -> None:
        if self._chosen:
            signal.emit(self._chosen)
