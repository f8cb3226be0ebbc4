"""The plug-in's actions, to which the artist can give shortcuts, and the end of the connection when Krita closes."""

from __future__ import annotations

import functools
from typing import Any

from krita import Extension, Krita

from .backstage import backstage
from .docker import ScumbleDocker, dockers
from .qt import is_deleted
from .slots import connect

ACTIONS = (
    ("scumble_generate", "Scumble: Generate", lambda docker: docker.generate()),
    ("scumble_cancel", "Scumble: Cancel", lambda docker: docker.cancel()),
    ("scumble_apply", "Scumble: Apply", lambda docker: docker.apply()),
    ("scumble_next", "Scumble: Next Variant", lambda docker: docker.step(1)),
    ("scumble_previous", "Scumble: Previous Variant", lambda docker: docker.step(-1)),
    ("scumble_toggle", "Scumble: Show or Hide Docker", lambda docker: docker.setVisible(not docker.isVisible())),
    ("scumble_extend", "Scumble: Extend to the Selection or the Canvas", lambda docker: docker.extend()),
    ("scumble_upscale", "Scumble: Upscale the Picture", lambda docker: docker.upscale()),
)


class ScumbleExtension(Extension):
    def setup(self) -> None:
        notifier = Krita.instance().notifier()
        notifier.setActive(True)
        connect(notifier.applicationClosing, backstage.close)

    def createActions(self, window: Any) -> None:
        for name, text, act in ACTIONS:
            action = window.createAction(name, text, "tools/scripts")
            connect(action.triggered, functools.partial(_with_docker, act))


def _with_docker(act: Any) -> None:
    docker = _active_docker()
    if docker is not None:
        act(docker)


def _active_docker() -> ScumbleDocker | None:
    """The docker of the active window."""
    window = Krita.instance().activeWindow()
    main = window.qwindow() if window is not None else None
    alive = [docker for docker in dockers if not is_deleted(docker)]
    return next((docker for docker in alive if docker.parent() is main), alive[-1] if alive else None)
