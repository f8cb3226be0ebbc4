"""Qt's binding inside the running Krita: 5 carries PyQt5, 6 carries PyQt6.

Chosen by Krita's version, never by what can be imported: the other binding would load a second Qt into the program.
"""

from krita import Krita

if int(Krita.instance().version().split(".")[0]) >= 6:
    from PyQt6 import QtCore, QtGui, QtWidgets
else:
    from PyQt5 import QtCore, QtGui, QtWidgets

Signal = QtCore.pyqtSignal

__all__ = ["QtCore", "QtGui", "QtWidgets", "Signal"]
