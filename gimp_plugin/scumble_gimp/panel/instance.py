"""One panel in one GIMP: the open one offers a temporary procedure, through which the menu items reach it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gi
from gi.repository import Gimp, GLib, GObject
from scumble.home import Home

FORWARD = "scumble-panel-forward"
NAMED = "scumble-panel-insert"
NONE = 0
"""Id of no image."""
HEAR_MILLISECONDS = 50


def forward(command: str, image: Any | None) -> bool:
    """Has the open panel do what a menu item says; False where none is open."""
    procedure = Gimp.get_pdb().lookup_procedure(FORWARD)
    if procedure is None:
        return False
    config = procedure.create_config()
    config.set_property("command", command)
    config.set_property("image", NONE if image is None else image.get_id())
    return bool(procedure.run(config).index(0) == Gimp.PDBStatusType.SUCCESS)


def open_panel(plugin: Any, home: Home, command: str, image: Any | None) -> None:
    """Shows the panel and returns when it has been closed."""
    gi.require_version("GimpUi", "3.0")
    gi.require_version("Gtk", "3.0")
    from gi.repository import GimpUi

    GimpUi.init("scumble")
    from .window import Panel

    panel = Panel(home, image, functools.partial(perform, plugin))
    _offer(plugin, panel)
    loop = GLib.MainLoop()
    panel.window.connect("destroy", lambda window: loop.quit())
    panel.window.show()
    panel.forwarded(command, image)
    loop.run()
    plugin.remove_temp_procedure(FORWARD)


def perform(plugin: Any, name: str, call: Callable[[], object]) -> None:
    """Does it so that GIMP's undo history says `name`: there stands the menu label of the procedure at work, which is
    "Open Panel" as long as the panel is open. Raises what the call raises."""
    errors: list[Exception] = []

    def act(procedure: Any, config: Any, data: Any) -> Any:
        try:
            call()
        except Exception as error:
            errors.append(error)
        return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)

    procedure = Gimp.Procedure.new(plugin, NAMED, Gimp.PDBProcType.TEMPORARY, act, None)
    procedure.set_menu_label(name)
    plugin.add_temp_procedure(procedure)
    try:
        known = Gimp.get_pdb().lookup_procedure(NAMED)
        known.run(known.create_config())
    finally:
        plugin.remove_temp_procedure(NAMED)
    if errors:
        raise errors[0]


def _offer(plugin: Any, panel: Any) -> None:
    def receive(procedure: Any, config: Any, data: Any) -> Any:
        command, number = config.get_property("command"), config.get_property("image")
        # Not at once: GIMP waits for the answer, and what the panel does asks GIMP in turn.
        GLib.idle_add(lambda: panel.forwarded(command, Gimp.Image.get_by_id(number)) and False)
        return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)

    procedure = Gimp.Procedure.new(plugin, FORWARD, Gimp.PDBProcType.TEMPORARY, receive, None)
    procedure.set_documentation("Has Scumble's open panel do something", "Used by Scumble's own menu items.", None)
    procedure.set_attribution("The Scumble maintainers", "The Scumble maintainers, Apache-2.0", "2026")
    flags = GObject.ParamFlags.READWRITE
    procedure.add_string_argument("command", "Command", "Name of one of Scumble's procedures", "", flags)
    # Not the image itself, of which libgimp would ask GIMP whether it is valid: this may come while the panel waits for an
    # answer, and would take that for its own.
    procedure.add_int_argument("image", "Image", "The image's id; 0: none", NONE, 2**31 - 1, NONE, flags)
    plugin.add_temp_procedure(procedure)
    # Not persistent_enable(): what it has the main loop call reads without looking, and waits for ever where the panel, in
    # the same turn of the loop, asked GIMP something and was told of the menu item before the answer (GIMP 3.0, 3.2).
    GLib.timeout_add(HEAR_MILLISECONDS, lambda: plugin.persistent_process(1) or GLib.SOURCE_CONTINUE)
