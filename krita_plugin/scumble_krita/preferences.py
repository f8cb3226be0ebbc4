"""What the plug-in remembers for all documents, in Scumble's own settings: Krita deletes a plug-in's folder when it
imports a newer one."""

from __future__ import annotations

import logging
import threading
from typing import Any

from .lib.scumble.client.settings import read_settings, update_settings
from .lib.scumble.home import Home

NAME = "krita"
log = logging.getLogger("scumble.krita")


class Preferences:
    """A dictionary that is written by a thread of its own: the disk may be slow."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        stored = read_settings(home).get(NAME, {})
        self.values: dict[str, Any] = dict(stored) if isinstance(stored, dict) else {}

    def __getitem__(self, name: str) -> Any:
        """None for what has never been set."""
        return self.values.get(name)

    def set(self, **changes: Any) -> None:
        if any(name not in self.values or self.values[name] != value for name, value in changes.items()):
            self.values.update(changes)
            threading.Thread(target=self._write, name="scumble-preferences").start()

    def _write(self) -> None:
        with self._lock:
            try:
                update_settings(self._home, **{NAME: dict(self.values)})
            except OSError:
                log.warning("the settings could not be written")
