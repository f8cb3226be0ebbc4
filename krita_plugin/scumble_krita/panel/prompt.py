"""Where the prompt is written: Ctrl+Enter generates, Ctrl+Up and Ctrl+Down weigh the marked words."""

from __future__ import annotations

from ..qt import QtCore, QtGui, QtWidgets, Signal
from ..slots import guarded
from ..weights import from_qt, put_in, reweight, to_qt

_CONTROL = QtCore.Qt.KeyboardModifier.ControlModifier
_ENTER = (QtCore.Qt.Key.Key_Return, QtCore.Qt.Key.Key_Enter)
_UP_DOWN = (QtCore.Qt.Key.Key_Up, QtCore.Qt.Key.Key_Down)


class PromptEdit(QtWidgets.QPlainTextEdit):
    """One of a single line stays one."""

    submitted = Signal()
    entered = Signal()

    def __init__(self, name: str, placeholder: str, lines: int) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setPlaceholderText(placeholder)
        self.setTabChangesFocus(True)
        self._single = lines == 1
        policy = QtCore.Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(policy.ScrollBarAlwaysOff if self._single else policy.ScrollBarAsNeeded)
        if self._single:
            self.setLineWrapMode(QtWidgets.QPlainTextEdit.LineWrapMode.NoWrap)
            self.setHorizontalScrollBarPolicy(policy.ScrollBarAlwaysOff)
        self.setToolTip("Ctrl+Enter starts.\nCtrl+Up and Ctrl+Down give the marked words more or less weight.")
        margins = 2 * (int(self.document().documentMargin()) + self.frameWidth())
        self.setFixedHeight(lines * QtGui.QFontMetrics(self.font()).lineSpacing() + margins)

    @property
    def text(self) -> str:
        return self.toPlainText()

    @text.setter
    def text(self, value: str) -> None:
        if value != self.toPlainText():
            self.setPlainText(value)

    def put_in(self, word: str) -> None:
        """Where the cursor is, in place of what is marked."""
        text, place = put_in(self.toPlainText(), *self._marked(), word)
        self._write(text, place, place)

    def focusInEvent(self, event):
        super().focusInEvent(event)
        guarded(self.entered.emit)()

    def event(self, event):
        # Our keys before Krita's shortcuts of the same name.
        if event.type() == QtCore.QEvent.Type.ShortcutOverride and self._is_ours(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event):
        if not self._is_ours(event):
            if not (self._single and event.key() in _ENTER):
                super().keyPressEvent(event)
        elif event.key() in _ENTER:
            guarded(self.submitted.emit)()
        else:
            guarded(self._reweight)(event.key() == QtCore.Qt.Key.Key_Up)

    def insertFromMimeData(self, source):
        if self._single:
            self.insertPlainText(" ".join(source.text().split()))
        else:
            super().insertFromMimeData(source)

    def _is_ours(self, event) -> bool:
        return event.modifiers() & _CONTROL == _CONTROL and event.key() in _ENTER + _UP_DOWN

    def _reweight(self, up: bool) -> None:
        before = self.toPlainText()
        text, start, end = reweight(before, *self._marked(), up)
        if text != before:
            self._write(text, start, end)

    def _marked(self) -> tuple[int, int]:
        text, cursor = self.toPlainText(), self.textCursor()
        return from_qt(text, cursor.selectionStart()), from_qt(text, cursor.selectionEnd())

    def _write(self, text: str, start: int, end: int) -> None:
        """Other text, marked from start to end."""
        cursor = self.textCursor()
        cursor.beginEditBlock()  # one step to undo, and not a new document
        cursor.select(QtGui.QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        cursor.endEditBlock()
        cursor.setPosition(to_qt(text, start))
        cursor.setPosition(to_qt(text, end), QtGui.QTextCursor.MoveMode.KeepAnchor)
        self.setTextCursor(cursor)
