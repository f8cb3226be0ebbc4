"""One panel in one GIMP: menu items leave word for the one that is open, as parasites of GIMP's.

Not by a temporary procedure, as other plug-ins do it: libgimp (3.0, 3.2) takes a call for the answer to something else, or
waits for ever for one that has already come, where the panel and GIMP ask each other at the same moment.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import gi
from gi.repository import Gimp, GLib
from scumble.home import Home

from ..log import log

OPEN = "scumble-panel-open"
"""A temporary procedure, for GIMP forgets it when the process ends: it only shows that there is a panel."""
WORD = "scumble-panel-word-"
"""Begins the name of a parasite that says which menu item was chosen."""
HEAR_MILLISECONDS = 200
NAMED = "scumble-panel-insert"
NONE = 0
"""Id of no image."""


def forward(command: str, image: Any | None) -> bool:
    """Has the open panel do what a menu item says; False where none is open."""
    if not Gimp.get_pdb().procedure_exists(OPEN):
        return False
    word = list(json.dumps([command, NONE if image is None else image.get_id()]).encode())
    Gimp.attach_parasite(Gimp.Parasite.new(f"{WORD}{time.time_ns()}", 0, word))
    return True


def open_panel(plugin: Any, home: Home, command: str, image: Any | None) -> None:
    """Shows the panel and returns when it has been closed."""
    for _ in _words():
        pass  # left for a panel that was closed at that moment
    _add(plugin, OPEN, "", lambda: None)  # before what takes long: whoever clicks twice gets one panel
    gi.require_version("GimpUi", "3.0")
    gi.require_version("Gtk", "3.0")
    from gi.repository import GimpUi

    GimpUi.init("scumble")
    from .window import Panel

    panel = Panel(home, image, functools.partial(perform, plugin))
    loop = GLib.MainLoop()
    panel.window.connect("destroy", lambda window: loop.quit())
    panel.window.show()
    panel.forwarded(command, image)
    GLib.timeout_add(HEAR_MILLISECONDS, _hear, panel)
    loop.run()
    plugin.remove_temp_procedure(OPEN)


def perform(plugin: Any, name: str, call: Callable[[], object]) -> None:
    """Does it so that GIMP's undo history says `name`: there stands the menu label of the procedure at work, which is
    "Open Panel" as long as the panel is open. Raises what the call raises."""
    errors: list[Exception] = []

    def act() -> None:
        try:
            call()
        except Exception as error:
            errors.append(error)

    _add(plugin, NAMED, name, act)
    try:
        known = Gimp.get_pdb().lookup_procedure(NAMED)
        known.run(known.create_config())
    finally:
        plugin.remove_temp_procedure(NAMED)
    if errors:
        raise errors[0]


def _add(plugin: Any, name: str, label: str, call: Callable[[], None]) -> None:
    def run(procedure: Any, config: Any, data: Any) -> Any:
        call()
        return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)

    procedure = Gimp.Procedure.new(plugin, name, Gimp.PDBProcType.TEMPORARY, run, None)
    if label:
        procedure.set_menu_label(label)
    plugin.add_temp_procedure(procedure)


def _hear(panel: Any) -> bool:
    try:
        for command, number in _words():
            panel.forwarded(command, None if number == NONE else Gimp.Image.get_by_id(number))
    except Exception:
        log.exception("a menu item did not reach the panel")  # a timer that raises would never come again
    return GLib.SOURCE_CONTINUE


def _words() -> Iterator[tuple[str, int]]:
    """Takes what menu items have left, in their order: command and image."""
    for name in sorted(name for name in Gimp.get_parasite_list() if name.startswith(WORD)):
        word = bytes(Gimp.get_parasite(name).get_data())
        Gimp.detach_parasite(name)
        command, number = json.loads(word)
        yield command, number
