"""Thumbnails of what has come back: a click shows one on the canvas, Apply keeps it, Discard takes it away."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..qt import QtCore, QtGui, QtWidgets, Signal
from ..slots import connect
from . import widgets

_IDENTITY = QtCore.Qt.ItemDataRole.UserRole


class Entry(NamedTuple):
    """One image of a result. `state`: "" , "shown" or "applied"."""

    job: str
    index: int
    tip: str
    state: str


class ResultsPanel(QtWidgets.QWidget):
    """`picture` makes a thumbnail when an entry is seen for the first time."""

    chosen = Signal(str, int)
    applied = Signal(str)
    discarded = Signal(str)

    def __init__(self, picture: Callable[[str, int], QtGui.QImage]) -> None:
        super().__init__()
        self._picture = picture
        self._icons: dict[tuple[str, int], QtGui.QIcon] = {}
        self._entries: list[Entry] = []
        self._strip = QtWidgets.QListWidget()
        self._strip.setObjectName("scumble_results")
        self._strip.setViewMode(QtWidgets.QListView.ViewMode.IconMode)
        self._strip.setMovement(QtWidgets.QListView.Movement.Static)
        self._strip.setFlow(QtWidgets.QListView.Flow.LeftToRight)
        self._strip.setWrapping(False)
        self._strip.setIconSize(QtCore.QSize(widgets.THUMBNAIL, widgets.THUMBNAIL))
        self._strip.setSpacing(3)
        self._strip.setFixedHeight(widgets.THUMBNAIL + 34)
        self._strip.setVerticalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._strip.setMinimumWidth(60)
        self._apply = widgets.button("scumble_apply", "Apply", "Keeps the shown image as a layer.")
        self._discard = widgets.button("scumble_discard", "Discard", "Takes the shown image away.")
        widgets.vertical(self, self._strip, widgets.row(self._apply, self._discard, stretch=0))
        connect(self._strip.itemClicked, self._choose)
        connect(self._apply.clicked, lambda: self._emit(self.applied))
        connect(self._discard.clicked, lambda: self._emit(self.discarded))
        self.hide()

    def show_entries(self, entries: list[Entry]) -> None:
        self.setVisible(bool(entries))
        if entries == self._entries:
            return
        self._entries = entries
        keys = {(entry.job, entry.index) for entry in entries}
        self._icons = {key: icon for key, icon in self._icons.items() if key in keys}
        self._strip.clear()
        for entry in entries:
            item = QtWidgets.QListWidgetItem(self._icon(entry), "")
            item.setData(_IDENTITY, (entry.job, entry.index))
            item.setToolTip(entry.tip)
            if entry.state == "applied":
                item.setText("\u2713")
            self._strip.addItem(item)
            if entry.state == "shown" and self._strip.currentItem() is None:
                self._strip.setCurrentItem(item)
        is_shown = any(entry.state == "shown" for entry in entries)
        self._apply.setEnabled(is_shown)

    def _icon(self, entry: Entry) -> QtGui.QIcon:
        key = entry.job, entry.index
        if key not in self._icons:
            self._icons[key] = QtGui.QIcon(QtGui.QPixmap.fromImage(self._picture(*key)))
        return self._icons[key]

    def _current(self) -> tuple[str, int] | None:
        item = self._strip.currentItem()
        return tuple(item.data(_IDENTITY)) if item is not None else None

    def _choose(self) -> None:
        current = self._current()
        if current is not None:
            self.chosen.emit(*current)

    def _emit(self, signal) -> None:
        current = self._current() or ((self._entries[0].job, 0) if self._entries else None)
        if current is not None:
            signal.emit(current[0])
