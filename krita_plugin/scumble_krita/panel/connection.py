"""The connection in words at the bottom of the docker, and the dialog that names another backend."""

from __future__ import annotations

from ..qt import QtWidgets, Signal
from . import widgets

Remote = tuple[str, int, str]
_SIGNS = {"ready": "\u25cf", "starting": "\u25d0"}


class ConnectionLine(QtWidgets.QWidget):
    opened = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._words = widgets.label(name="scumble_connection", faint=True)
        self._button = QtWidgets.QToolButton()
        self._button.setObjectName("scumble_connection_button")
        self._button.setText("\u2026")
        self._button.setAutoRaise(True)
        self._button.setToolTip("Which backend to use")
        self._button.clicked.connect(lambda *_: self.opened.emit())
        line = widgets.row(self._words, self._button)
        widgets.vertical(self, line).setContentsMargins(6, 0, 6, 0)

    def show_link(self, state: str, words: str, detail: str) -> None:
        self._words.setText(f"{_SIGNS.get(state, chr(0x25CB))} {words}")
        self._words.setToolTip(detail)


class ConnectionDialog(QtWidgets.QDialog):
    """Asks where the backend is; `remote` None: on this computer."""

    def __init__(self, parent: QtWidgets.QWidget, remote: Remote | None) -> None:
        super().__init__(parent)
        self.setObjectName("scumble_connection_dialog")
        self.setWindowTitle("Scumble: Connection")
        self._here = QtWidgets.QRadioButton("The backend on this computer (starts by itself)")
        self._there = QtWidgets.QRadioButton("The backend at this address:")
        self._host, self._token = QtWidgets.QLineEdit(), QtWidgets.QLineEdit()
        for widget, name in (
            (self._here, "scumble_connection_here"), (self._there, "scumble_connection_there"),
            (self._host, "scumble_host"), (self._token, "scumble_token"),
        ):  # fmt: skip
            widget.setObjectName(name)
        self._host.setPlaceholderText("127.0.0.1")
        self._token.setPlaceholderText("64 letters and digits, as the backend's token file says")
        self._token.setEchoMode(QtWidgets.QLineEdit.EchoMode.Password)
        self._port = widgets.spin("scumble_port", "", 1, 65535)
        self._port.setValue(8737)
        page = QtWidgets.QWidget()
        form = widgets.form(page)
        form.addRow("Address", self._host)
        form.addRow("Port", self._port)
        form.addRow("Token", self._token)
        standard = QtWidgets.QDialogButtonBox.StandardButton
        buttons = QtWidgets.QDialogButtonBox(standard.Ok | standard.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = widgets.vertical(self, self._here, self._there, page, buttons)
        column.setContentsMargins(12, 12, 12, 12)
        self._there.toggled.connect(page.setEnabled)
        page.setEnabled(remote is not None)
        (self._here if remote is None else self._there).setChecked(True)
        if remote is not None:
            self._host.setText(remote[0])
            self._port.setValue(remote[1])
            self._token.setText(remote[2])

    @property
    def remote(self) -> Remote | None:
        if self._here.isChecked():
            return None
        return self._host.text().strip() or "127.0.0.1", self._port.value(), self._token.text().strip()
