"""Registers Scumble's procedures with GIMP and carries one out.

While GIMP asks what there is, only the words are loaded; the client, which brings the network along, comes with a run.
"""

from __future__ import annotations

from typing import Any

from gi.repository import Gimp, GLib, GObject

from .commands import COMMANDS, MENU, Argument

READ_WRITE = GObject.ParamFlags.READWRITE


class ScumblePlugin(Gimp.PlugIn):
    def do_set_i18n(self, name: str) -> bool:
        return False

    def do_query_procedures(self) -> Any:
        return list(COMMANDS)

    def do_create_procedure(self, name: str) -> Any:
        command = COMMANDS[name]
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, self.run, None)
        # Always sensitive: what needs an image says so, and Generate Layer makes one.
        procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.ALWAYS)
        procedure.set_image_types("*")
        procedure.set_menu_label(command.label)
        procedure.add_menu_path(MENU)
        procedure.set_documentation(command.blurb, command.help, name)
        procedure.set_attribution("The Scumble maintainers", "The Scumble maintainers, Apache-2.0", "2026")
        for argument in command.arguments:
            _add_argument(procedure, argument)
        procedure.add_layer_return_value("layer", "Layer", "The topmost new layer", True, READ_WRITE)
        return procedure

    def run(self, procedure: Any, run_mode: Any, image: Any, drawables: Any, config: Any, data: Any) -> Any:
        try:
            from .run import Dismissed, run_command
        except Exception as error:
            return _failed(procedure, f"Scumble cannot start: {error}. Run: scumble doctor --fix")
        try:
            layer = run_command(self, COMMANDS[procedure.get_name()], procedure, run_mode, image, config)
        except Dismissed as dismissed:
            if dismissed.reason:
                return _failed(procedure, dismissed.reason)
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
        if image is not None and not image.is_valid():
            # After a success GIMP would store the values with the image, and complain that it has been closed.
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
        values = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)
        if layer is not None:
            values.remove(1)
            values.insert(1, GObject.Value(Gimp.Layer, layer))
        return values


def _add_argument(procedure: Any, argument: Argument) -> None:
    words = (argument.name, argument.label, argument.help)
    if argument.choices is not None:
        choice = Gimp.Choice.new()
        for number, (nick, label) in enumerate(argument.choices.items()):
            choice.add(nick, number, label, "")
        procedure.add_choice_argument(*words, choice, argument.default, READ_WRITE)
    elif isinstance(argument.default, bool):
        procedure.add_boolean_argument(*words, argument.default, READ_WRITE)
    elif argument.default is None:
        procedure.add_layer_argument(*words, True, READ_WRITE)
    elif isinstance(argument.default, str):
        procedure.add_string_argument(*words, argument.default, READ_WRITE)
    elif isinstance(argument.default, float):
        procedure.add_double_argument(*words, argument.low, argument.high, argument.default, READ_WRITE)
    else:
        procedure.add_int_argument(*words, int(argument.low), int(argument.high), argument.default, READ_WRITE)


def _failed(procedure: Any, words: str) -> Any:
    return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(words))
