"""TEST ONLY. A Krita plug-in that serves a test's requests (see scumble_test_session) in Krita's GUI thread.

It listens on a free loopback port, whose number it writes to the file that SCUMBLE_TEST_PORT names. The sockets are
Qt's, so that the event loop stays in charge and Krita responsive.
"""

import os

from krita import Extension, Krita

from .scumble_test_session import Session, Stalls

if int(Krita.instance().version().split(".")[0]) >= 6:
    from PyQt6 import QtCore, QtGui, QtNetwork, QtTest, QtWidgets
else:
    from PyQt5 import QtCore, QtGui, QtNetwork, QtTest, QtWidgets


class Server(QtCore.QObject):
    def __init__(self, port_file):
        super().__init__()
        self.stalls = Stalls()
        self.timer = QtCore.QTimer(self)
        self.timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self.stalls.tick)
        self.session = Session(
            {
                "Krita": Krita,
                "app": Krita.instance(),
                "stalls": self.stalls,
                "stall_timer": self.timer,
                "later": self.later,
                **{module.__name__.split(".")[-1]: module for module in (QtCore, QtGui, QtTest, QtWidgets)},
            }
        )
        # Krita crashes in a garbage collection where only a slot knows the socket.
        self.sockets = []
        self.server = QtNetwork.QTcpServer(self)
        self.server.newConnection.connect(self.accept)
        self.server.listen(QtNetwork.QHostAddress(QtNetwork.QHostAddress.SpecialAddress.LocalHost), 0)
        with open(port_file + ".new", "w") as file:
            file.write(str(self.server.serverPort()))
        os.rename(port_file + ".new", port_file)

    def accept(self):
        socket = self.server.nextPendingConnection()
        self.sockets.append(socket)
        socket.readyRead.connect(lambda: self.read(socket))

    def read(self, socket):
        while socket.canReadLine():
            socket.write(self.session.answer(bytes(socket.readLine())))
            socket.flush()

    def later(self, call):
        """Calls it when the event loop comes round again: for what blocks, such as a click that opens a dialog."""
        QtCore.QTimer.singleShot(0, call)


class Driver(Extension):
    server = None

    def setup(self):
        pass

    def createActions(self, window):
        port_file = os.environ.get("SCUMBLE_TEST_PORT")
        if port_file and Driver.server is None:
            Driver.server = Server(port_file)


Krita.instance().addExtension(Driver(Krita.instance()))
