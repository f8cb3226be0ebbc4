"""Qt's binding inside the running Krita: 5 carries PyQt5, 6 carries PyQt6.

Chosen by Krita's version, never by what can be imported: the other binding would load a second Qt into the program.
"""

from krita import Krita

if int(Krita.instance().version().split(".")[0]) >= 6:
    from PyQt6 import QtCore, QtGui, QtWidgets, sip
else:
    from PyQt5 import QtCore, QtGui, QtWidgets, sip

Signal = QtCore.pyqtSignal
is_deleted = sip.isdeleted
"""True for a Python object whose widget has gone with its window."""

__all__ = ["QtCore", "QtGui", "QtWidgets", "Signal", "is_deleted"]
