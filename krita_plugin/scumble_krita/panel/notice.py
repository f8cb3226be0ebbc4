"""One thing that the artist should know, in words, and one button that helps."""

from __future__ import annotations

from ..qt import QtCore, QtGui, QtWidgets, Signal
from . import widgets


class NoticePanel(QtWidgets.QFrame):
    helped = Signal()
    dismissed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("scumble_notice")
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self.setAutoFillBackground(True)
        self.setBackgroundRole(QtGui.QPalette.ColorRole.Base)
        self._icon = QtWidgets.QLabel()
        icon = self.style().standardIcon(QtWidgets.QStyle.StandardPixmap.SP_MessageBoxWarning)
        self._icon.setPixmap(icon.pixmap(16, 16))
        self._icon.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop)
        self._message = widgets.label(name="scumble_notice_message")
        self._hint = widgets.label(name="scumble_notice_hint", faint=True)
        for label in (self._message, self._hint):  # what a hint says to run can be copied
            label.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
        self._help = widgets.button("scumble_notice_help", "")
        self._dismiss = widgets.button("scumble_notice_dismiss", "Dismiss")
        self._help.clicked.connect(lambda *_: self.helped.emit())
        self._dismiss.clicked.connect(lambda *_: self.dismissed.emit())
        text = QtWidgets.QWidget()
        widgets.vertical(text, self._message, self._hint)
        column = widgets.vertical(
            self, widgets.row(self._icon, text, stretch=1), widgets.row(self._help, self._dismiss, stretch=0)
        )
        column.setContentsMargins(6, 6, 6, 6)
        self.hide()

    def show_notice(self, message: str, hint: str, button: str) -> None:
        self._message.setText(message)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))
        self._help.setText(button)
        self._help.setVisible(bool(button))
        self.show()
