"""Carries out one procedure: from the arguments to the new layer, with a dialog first where there is somebody to ask."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from gi.repository import Gimp
from scumble.client.client import Client, JobCancelled
from scumble.client.editor import EditSettings
from scumble.client.settings import read_settings, update_settings
from scumble.home import Home, find_home
from scumble.protocol.errors import BadRequest, ScumbleError
from scumble.protocol.geometry import Size

from .commands import COMMANDS, EXTEND_CANVAS, FILL, GENERATE, PANEL, REMOVE, REPEAT, Command
from .document import GimpDocument, new_image, put_on_view
from .edit import edit
from .extend import edges_for
from .log import log, log_to
from .panel.instance import forward, open_panel
from .settings import settings_of
from .words import error_words

LAST = "gimp_last"
"""Name of the setting that holds what Repeat Last does: the command and its values."""
NOTHING_SELECTED = BadRequest("Nothing is selected.", "Select what to change.")


class Dismissed(Exception):
    """Ends a run without a layer: for the `reason`, one sentence and what to do, or because the artist said so ("")."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def run_command(
    plugin: Any, command: Command, procedure: Any, run_mode: Any, image: Any | None, config: Any
) -> Any | None:
    """The topmost new layer, None for a command that makes none. Raises Dismissed."""
    home = find_home()
    log_to(home)
    interactive = run_mode == Gimp.RunMode.INTERACTIVE
    # A run with the last values is GIMP's own Repeat (Ctrl+F), which a console has, too.
    watched = run_mode != Gimp.RunMode.NONINTERACTIVE and Gimp.default_display() is not None
    try:
        if command is PANEL and not watched:
            raise BadRequest("The panel needs a window.", "Call another procedure of Scumble from scripts.")
        if interactive and not watched:
            raise BadRequest("There is no window to ask in.", "Call it with RUN-NONINTERACTIVE.")
        if watched and forward((command if interactive or command is PANEL else REPEAT).name, image):
            return None
        if command is PANEL:
            open_panel(plugin, home, command.name, image)
            return None
        if image is None and command is not GENERATE:
            raise BadRequest("No image is open.", "Open one, or use Generate Layer, which makes a new one.")
        client = None
        if command is REPEAT:
            command, values = last_edit(home)
        elif interactive and command.ok:
            from .dialog import CommandDialog

            document = None if image is None else GimpDocument(image)
            if command is FILL and document is not None and document.selection_bounds() is None:
                raise NOTHING_SELECTED
            dialog = CommandDialog(home, command, procedure, config, document)
            if not dialog.run():
                raise Dismissed
            client, values = dialog.client, values_of(command, config)
        else:
            values = values_of(command, config)
        return _edit(home, command, values, image, watched, client)
    except ScumbleError as error:
        raise Dismissed(error_words(error)) from error
    except JobCancelled:
        raise Dismissed from None
    except Dismissed:
        raise
    except Exception as error:
        log.exception("%s failed", command.name)
        raise Dismissed(f"Something went wrong in Scumble's plug-in; {home.logs / 'gimp.log'} says more.") from error


def values_of(command: Command, config: Any) -> dict[str, Any]:
    """By the arguments' names; of a layer its id."""
    values = {argument.name: config.get_property(argument.name) for argument in command.arguments}
    return {name: value.get_id() if isinstance(value, Gimp.Item) else value for name, value in values.items()}


def last_edit(home: Home) -> tuple[Command, dict[str, Any]]:
    """Raises BadRequest where there has been none."""
    last = read_settings(home).get(LAST)
    last = last if isinstance(last, dict) else {}
    command = COMMANDS.get(last.get("command", ""))
    if command is None:
        raise BadRequest("There is nothing to repeat yet.", "Use another command of Scumble first.")
    defaults = {argument.name: argument.default for argument in command.arguments}
    values = {name: value for name, value in last.get("values", {}).items() if name in defaults}
    return command, {**defaults, **values}


def _edit(
    home: Home, command: Command, values: Mapping[str, Any], image: Any | None, show: bool, client: Client | None
) -> Any:
    document = new_image(Size(values["width"], values["height"])) if image is None else GimpDocument(image)
    document.from_layer = values.get("source") == "layer"
    document.as_mask = values.get("mask-as") == "layer-mask"
    try:
        if command in (FILL, REMOVE) and document.selection_bounds() is None:
            raise NOTHING_SELECTED
        edges = edges_for(document.canvas, values) if command is EXTEND_CANVAS else None
        settings: EditSettings = settings_of(command, values)
        layers = edit(home, document, settings, edges, client, on_view=show)
        with contextlib.suppress(OSError):  # the layer is there: nobody cares that it cannot be repeated
            update_settings(home, **{LAST: {"command": command.name, "values": dict(values)}})
    except BaseException:
        if image is None:
            document.image.delete()
        raise
    if image is None and show:
        put_on_view(document)
    return layers[0]
