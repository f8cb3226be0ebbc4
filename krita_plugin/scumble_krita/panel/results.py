"""Thumbnails of what has come back: a click shows one on the canvas, Apply keeps it, Discard takes it away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..qt import QtCore, QtGui, QtWidgets, Signal
from ..slots import connect, guarded
from . import widgets

_IDENTITY = QtCore.Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class Entry:
    """One image of a result. `state`: "" , "shown" or "applied"."""

    job: str
    index: int
    tip: str
    state: str


class ResultsPanel(QtWidgets.QWidget):
    """`picture` makes a thumbnail when an entry is seen for the first time. Apply and Discard mean the result in hand: the
    one with the broad frame."""

    chosen = Signal(str, int)
    applied = Signal(str)
    discarded = Signal(str)

    def __init__(self, picture: Callable[[str, int], QtGui.QImage]) -> None:
        super().__init__()
        self._picture = picture
        self._thumbnails: dict[tuple[str, int], QtGui.QImage] = {}
        self._entries: list[Entry] = []
        self._in_hand = ""
        side = widgets.THUMBNAIL + 4
        self._strip = QtWidgets.QListWidget()
        self._strip.setObjectName("scumble_results")
        self._strip.setViewMode(QtWidgets.QListView.ViewMode.IconMode)
        self._strip.setMovement(QtWidgets.QListView.Movement.Static)
        self._strip.setFlow(QtWidgets.QListView.Flow.LeftToRight)
        self._strip.setWrapping(False)
        self._strip.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.NoSelection)
        self._strip.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        self._strip.setIconSize(QtCore.QSize(side, side))
        self._strip.setGridSize(QtCore.QSize(side + 4, side + 4))
        bar = self._strip.horizontalScrollBar()
        self._strip.setFixedHeight(side + 8)
        # Room for the scroll bar only where there is one.
        bar.rangeChanged.connect(
            lambda low, high: self._strip.setFixedHeight(side + 8 + (bar.sizeHint().height() if high > low else 0))
        )
        self._strip.setVerticalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._strip.setMinimumWidth(60)
        self._apply = widgets.button("scumble_apply", "Apply", "Keeps the shown image as a layer.")
        self._discard = widgets.button("scumble_discard", "Discard", "Takes the shown image away.")
        widgets.vertical(self, self._strip, widgets.row(self._apply, self._discard, stretch=0))
        self._strip.itemClicked.connect(guarded(lambda item: self.chosen.emit(*item.data(_IDENTITY))))
        connect(self._apply.clicked, lambda: self.applied.emit(self._in_hand))
        connect(self._discard.clicked, lambda: self.discarded.emit(self._in_hand))
        self.hide()

    def show_entries(self, entries: list[Entry], in_hand: str) -> None:
        """Newest first; `in_hand` is a job's."""
        self.setVisible(bool(entries))
        if (entries, in_hand) == (self._entries, self._in_hand):
            return
        another = in_hand != self._in_hand
        self._entries, self._in_hand = entries, in_hand
        keys = {(entry.job, entry.index) for entry in entries}
        self._thumbnails = {key: image for key, image in self._thumbnails.items() if key in keys}
        self._strip.clear()
        for entry in entries:
            frame = (4 if entry.job == in_hand else 1) if entry.state == "shown" else 0
            icon = widgets.framed(self._thumbnail(entry), self.palette(), frame, entry.state == "applied")
            item = QtWidgets.QListWidgetItem(QtGui.QIcon(icon), "")
            item.setData(_IDENTITY, (entry.job, entry.index))
            item.setToolTip(entry.tip)
            self._strip.addItem(item)
        mine = [entry for entry in entries if entry.job == in_hand]
        shown = [entry for entry in mine if entry.state == "shown"]
        self._apply.setEnabled(bool(shown))
        for entry in (shown or (mine if another else []))[:1]:
            self._strip.scrollToItem(self._strip.item(entries.index(entry)))

    def _thumbnail(self, entry: Entry) -> QtGui.QImage:
        key = entry.job, entry.index
        if key not in self._thumbnails:
            self._thumbnails[key] = self._picture(*key)
        return self._thumbnails[key]
