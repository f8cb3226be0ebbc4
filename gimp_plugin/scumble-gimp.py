#!/usr/bin/env python3
"""What GIMP runs: registers the procedures in the query phase, carries one out in a run. What cannot be imported is told
to the user in the menu and in a file, because GIMP itself would leave the plug-in out without a word."""

import os
import sys
import tempfile
import traceback

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")
from gi.repository import Gimp, GLib  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))


def broken_plugin(error: BaseException) -> type:
    """A plug-in whose only menu item says why the real one cannot start."""
    reason = f"{type(error).__name__}: {error}"
    log = os.path.join(tempfile.gettempdir(), "scumble-gimp.log")
    try:
        with open(log, "w", encoding="utf-8") as file:
            traceback.print_exception(type(error), error, error.__traceback__, file=file)
    except OSError:
        log = "nowhere, as that file cannot be written"
    said = f"Scumble cannot start: {reason}\nRun: scumble doctor --fix\nThe log is in {log}"

    class BrokenScumble(Gimp.PlugIn):
        def do_set_i18n(self, name):
            return False

        def do_query_procedures(self):
            return ["scumble-panel"]

        def do_create_procedure(self, name):
            procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, self.explain, None)
            procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.ALWAYS)
            procedure.set_menu_label("Scumble Cannot Start...")
            procedure.add_menu_path("<Image>/Filters/Scumble")
            procedure.set_documentation("Says why Scumble cannot start", said, name)
            procedure.set_attribution("Scumble", "Scumble", "2026")
            return procedure

        def explain(self, procedure, run_mode, image, drawables, config, data):
            return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(said))

    return BrokenScumble


try:
    from scumble_gimp.plugin import ScumblePlugin as Plugin
except Exception as problem:
    Plugin = broken_plugin(problem)

Gimp.main(Plugin.__gtype__, sys.argv)
