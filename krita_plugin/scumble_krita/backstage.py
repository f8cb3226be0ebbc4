"""Brings the workshop to the GUI thread. Its modules are loaded on another thread when they are first needed, so that
Krita starts as quickly as without us."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

from .lib.scumble.home import find_home
from .qt import QtCore, Signal
from .slots import guarded, report


class Backstage(QtCore.QObject):
    _loaded = Signal()
    _woken = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.workshop: Any = None
        self.preferences: Any = None
        self._waiting: list[Callable[[], object]] = []
        self._thread: Any = None
        queued = QtCore.Qt.ConnectionType.QueuedConnection
        self._loaded.connect(guarded(self._open), queued)
        self._woken.connect(guarded(self._hear), queued)

    def when_ready(self, call: Callable[[], object]) -> None:
        """Calls it now, or as soon as the workshop is there."""
        if self.workshop is not None:
            call()
            return
        self._waiting.append(call)
        if self._thread is None:
            self._thread = threading.Thread(target=self._load, name="scumble-import", daemon=True)
            self._thread.start()

    def close(self) -> None:
        if self.workshop is not None:
            self.workshop.close()

    def _load(self) -> None:
        try:
            importlib.import_module(f"{__package__}.workshop")
        finally:
            self._loaded.emit()  # where it failed, the GUI thread meets the same error and can say so

    def _open(self) -> None:
        self._thread = None
        from . import documents, preferences, workshop

        home = find_home()
        self.preferences = preferences.Preferences(home)
        self.workshop = workshop.Workshop(home, self.preferences, documents.Documents(), self._woken.emit)
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            try:
                call()
            except Exception as error:
                report(error)

    def _hear(self) -> None:
        self.workshop.handle_events()


backstage = Backstage()
