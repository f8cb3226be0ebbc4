"""A list that is searched by typing once it is long."""

from __future__ import annotations

from ..qt import QtCore, QtWidgets, is_deleted
from ..slots import connect, guarded

BESIDE = 40
"""Px that a list needs beside the names in it."""
WIDEST = 480
"""Px of a list, however long the names."""


class SearchBox(QtWidgets.QComboBox):
    """A combo box that can be typed in as long as it has more than LONG_LIST entries. What has all the words in it comes up
    below; Enter takes the first of these, or the one that is marked. Where none is taken, what was chosen stands there
    again. What is typed chooses nothing by itself: `currentData` tells what is chosen."""

    @property
    def typed(self) -> str:
        """What the artist is looking for; "" where nothing is being typed."""
        text = self.lineEdit().text() if self.isEditable() else ""
        return "" if text == self.itemText(self.currentIndex()) else text

    def follow(self, typed: str) -> None:
        """Call it when entries have come or gone, with what was `typed` before."""
        from ..lib.scumble.client.names import LONG_LIST

        names = [self.itemText(index) for index in range(self.count())]
        longest = self.fontMetrics().horizontalAdvance(max(names, key=len, default=""))
        room = min(longest + BESIDE, WIDEST)
        self.view().setMinimumWidth(room)
        if len(names) <= LONG_LIST:
            if self.isEditable():
                self.completer().deleteLater()
                self.setEditable(False)
            return
        if not self.isEditable():
            self.setEditable(True)
            self._make_searched(LONG_LIST)
            self._restore()
        self._list.setMinimumWidth(room)
        if typed:
            self.setEditText(typed)
            self._find(typed)
            self.completer().complete()

    def _make_searched(self, rows: int) -> None:
        self.setInsertPolicy(QtWidgets.QComboBox.InsertPolicy.NoInsert)
        completer = QtWidgets.QCompleter(self)
        self._found = QtCore.QSortFilterProxyModel(completer)
        self._found.setSourceModel(self.model())
        completer.setModel(self._found)
        # Qt's own search is by one piece of text; the proxy's, by any words, comes before it.
        completer.setCompletionMode(QtWidgets.QCompleter.CompletionMode.UnfilteredPopupCompletion)
        completer.setMaxVisibleItems(rows)
        self.setCompleter(completer)
        self._list = completer.popup()
        self._list.setObjectName(f"{self.objectName()}_found")
        self._list.setTextElideMode(QtCore.Qt.TextElideMode.ElideMiddle)
        self._list.setUniformItemSizes(True)  # thousands of entries are not to be measured one by one
        edit = self.lineEdit()
        for watched in (edit, self._list):
            watched.installEventFilter(self)
        edit.textEdited.connect(guarded(self._find))
        connect(edit.returnPressed, self._take_first)
        connect(edit.editingFinished, self._leave)
        # Only then has Qt written what was chosen into the field.
        completer.activated.connect(lambda *_: QtCore.QTimer.singleShot(0, guarded(self._restore)))

    def _find(self, typed: str) -> None:
        from ..lib.scumble.client.names import finding

        option = QtCore.QRegularExpression.PatternOption.CaseInsensitiveOption
        self._found.setFilterRegularExpression(QtCore.QRegularExpression(finding(typed), option))

    def _take_first(self) -> None:
        if self.typed and not self._list.selectionModel().hasSelection():
            first = self._found.mapToSource(self._found.index(0, 0))
            if first.isValid():
                self.setCurrentIndex(first.row())
            self._restore()

    def _leave(self) -> None:
        if not self._list.isVisible():  # else something may be about to be taken from it
            self._restore()

    def _restore(self) -> None:
        """What is chosen stands in the field, and everything can be found."""
        if not is_deleted(self) and self.isEditable():
            self._list.hide()
            self.setEditText(self.itemText(self.currentIndex()))
            self.lineEdit().setCursorPosition(0)  # the beginning of a long name is in sight
            self._find("")

    def _open(self) -> None:
        if not is_deleted(self) and self.isEditable() and not self.typed:
            self.lineEdit().selectAll()
            self.completer().complete()

    def event(self, event: QtCore.QEvent) -> bool:
        # The keyboard is on the box, which hands on to its field what it does not want for itself.
        return self._gives_up(event) or super().event(event)

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        kind = QtCore.QEvent.Type
        if watched is self._list:
            if event.type() in (kind.Move, kind.Show):
                self._keep_in_sight()
            return self._gives_up(event)
        if event.type() == kind.MouseButtonRelease:
            QtCore.QTimer.singleShot(0, guarded(self._open))
        return super().eventFilter(watched, event)

    def _gives_up(self, event: QtCore.QEvent) -> bool:
        """Escape, where something has been typed or the list is open; any other time it is Krita's."""
        kind = QtCore.QEvent.Type
        if event.type() not in (kind.ShortcutOverride, kind.KeyPress) or event.key() != QtCore.Qt.Key.Key_Escape:
            return False
        if not self.isEditable() or not (self.typed or self._list.isVisible()):
            return False
        event.accept()  # a shortcut of Krita's would take the key
        if event.type() == kind.KeyPress:
            self._restore()
        return True

    def _keep_in_sight(self) -> None:
        """Qt looks whether a list of the field's width has room on the screen."""
        # The window's: a widget has one of its own from Qt 5.14 on, and builds of Krita 5.1 come with 5.12.
        screen = self.window().windowHandle().screen()
        place, right = self._list.geometry(), screen.availableGeometry().right()
        if place.right() > right:
            self._list.move(right - place.width(), place.y())
