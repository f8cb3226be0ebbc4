"""The dialogs of the menu items: GIMP's own procedure dialog, which remembers the last values by itself."""

from __future__ import annotations

from typing import Any

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import GimpUi, GLib, Gtk  # noqa: E402
from scumble.client.client import Client  # noqa: E402
from scumble.client.events import Connected, Lost, Received  # noqa: E402
from scumble.client.names import looking_words  # noqa: E402
from scumble.home import Home  # noqa: E402
from scumble.protocol.errors import ScumbleError  # noqa: E402
from scumble.protocol.messages import Looking, Welcome  # noqa: E402

from .backend import make_client  # noqa: E402
from .commands import ADDED, DETAILS, EXTEND, EXTEND_CANVAS, MODEL, NEW_SIZE, SAMPLER, UPSCALE, Argument, Command  # noqa: E402
from .document import GimpDocument  # noqa: E402
from .words import INDEXED, error_words, models_words  # noqa: E402

SPACING = 12
AUTOMATIC = "Automatic"
ELSEWHERE = (MODEL, SAMPLER, *ADDED)
"""The model has a list of its own; the sampler and what is added to the model are for scripts and the panel."""


class CommandDialog:
    """Asks for the values of a command's arguments; they are then in `config`.

    It connects to the backend (which takes a moment where none runs) while the artist reads: `client` is connected
    afterwards, or trying to.
    """

    def __init__(self, home: Home, command: Command, procedure: Any, config: Any, image: GimpDocument | None) -> None:
        GimpUi.init("scumble")
        self._note = INDEXED if image is not None and image.is_indexed else ""
        self._config = config
        self._upscales = command is UPSCALE
        self._dialog = GimpUi.ProcedureDialog.new(procedure, config, f"Scumble: {command.title}")
        self._dialog.set_ok_label(command.ok)
        self._status = Gtk.Label(xalign=0, wrap=True, max_width_chars=48)
        self._status.get_style_context().add_class("dim-label")
        self._models = Gtk.ListStore(str, str)
        self._fill(command, makes_image=image is None)
        self.client: Client = make_client(home, "cancel", wake=self._wake)
        self._say("Looking for the backend...")
        self.client.connect()

    def run(self) -> bool:
        """False where the artist has changed their mind."""
        # What is asked first has the keyboard, once it shows: until then GIMP gives it to the button.
        first = self._dialog.get_content_area().get_children()[0]
        self._dialog.connect_after("map", lambda dialog: first.child_focus(Gtk.DirectionType.TAB_FORWARD))
        agreed = bool(self._dialog.run())
        self._dialog.destroy()
        if not agreed:
            self.client.close()
        return agreed

    # ---- what it looks like ------------------------------------------------------------------------------------------

    def _fill(self, command: Command, makes_image: bool) -> None:
        dialog = self._dialog
        simple: list[str] = []
        details: list[str] = []
        for argument in command.arguments:
            if argument in EXTEND or argument in ELSEWHERE or (argument in NEW_SIZE and not makes_image):
                continue
            self._choose_widget(argument)
            (details if argument in DETAILS else simple).append(argument.name)
        if command is EXTEND_CANVAS:
            sides = ["left", "top", "right", "bottom"]
            target = ["ratio", "width", "height", "anchor"]
            self._frame("by-sides", "Grow by pixels on a side", sides)
            self._frame("to-target", "Or grow to a ratio or size", target)
            dialog.fill(["by-sides", "to-target"])
        dialog.fill(simple)
        if MODEL in command.arguments:
            self._add_model_chooser()
        if details:
            dialog.get_label("details-title", "_More", False, True)
            box = dialog.fill_box("details-box", details)
            box.set_spacing(SPACING // 2)
            dialog.fill_expander("details", "details-title", False, "details-box")
            dialog.fill(["details"])
        dialog.get_content_area().pack_end(self._status, False, False, SPACING // 2)
        self._status.show()

    def _frame(self, name: str, title: str, arguments: list[str]) -> None:
        self._dialog.get_label(f"{name}-title", title, False, False)
        self._dialog.fill_box(f"{name}-box", arguments).set_spacing(SPACING // 2)
        self._dialog.fill_frame(name, f"{name}-title", False, f"{name}-box").set_margin_bottom(SPACING)

    def _choose_widget(self, argument: Argument) -> None:
        if argument.name == "strength":
            self._dialog.get_scale_entry(argument.name, 1.0)
        elif argument.name == "prompt":
            entry = self._dialog.get_widget(argument.name, GimpUi.LabelEntry)
            entry.get_entry().set_width_chars(44)
            entry.get_entry().set_activates_default(True)

    def _add_model_chooser(self) -> None:
        chosen = self._config.get_property("model")
        self._models.append(["", AUTOMATIC])
        if chosen:
            self._models.append([chosen, chosen])
        self._combo = GimpUi.prop_string_combo_box_new(self._config, "model", self._models, 0, 1)
        self._combo.set_active(chosen)
        self._combo.set_hexpand(True)
        row = GimpUi.LabelStringWidget.new("_Model", self._combo)
        row.set_tooltip_text(MODEL.help)
        labels = Gtk.SizeGroup(mode=Gtk.SizeGroupMode.HORIZONTAL)
        labels.add_widget(row.get_label())
        labels.add_widget(self._dialog.get_widget("negative", GimpUi.LabelEntry).get_label())
        self._dialog.get_content_area().pack_start(row, False, False, 0)
        row.show_all()

    # ---- the backend -------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        GLib.idle_add(self._listen)

    def _listen(self) -> bool:
        for event in self.client.events():
            if isinstance(event, Connected):
                self._welcome(event.welcome)
            elif isinstance(event, Lost):
                self._lost(event.error)
            elif isinstance(event, Received) and isinstance(event.message, Looking):
                self._say(looking_words(event.message) + "...")
        return False

    def _welcome(self, welcome: Welcome) -> None:
        chosen = self._config.get_property("model")
        self._models.clear()
        other = "fill" if self._upscales else "upscaler"
        painters = [model for model in welcome.models if model.kind != other]
        for row in [["", AUTOMATIC], *([model.id, model.name] for model in painters)]:
            self._models.append(row)
        known = [row[0] for row in self._models]
        self._combo.set_active(chosen if chosen in known else "")
        self._say(models_words(welcome.models))

    def _lost(self, error: ScumbleError) -> None:
        self._say(error_words(error))

    def _say(self, words: str) -> None:
        self._status.set_text(f"{words}\n{self._note}".strip())
