"""The menu items' dialogs in GIMP's window, and GIMP's own Cancel."""

from __future__ import annotations

import time

import numpy as np

from ..driver import wait_for
from ..gimp_host import MAIN_WINDOW, GimpHost
from .window import (
    CLOSE_ALL,
    REQUEST_OF,
    Backend,
    click,
    edit_elsewhere,
    layers,
    open_dialog,
    open_panel,
    prepare,
    pressed,
    runs,
    said,
)


def test_extend_by_dialog_is_one_undo_step(gimp: GimpHost, picture: np.ndarray) -> None:
    gimp.new_image(picture)
    with open_dialog(gimp, "Extend Canvas") as dialog:
        dialog.run("spins = [w for w in widgets() if isinstance(w, Gtk.SpinButton) and w.get_mapped()]")
        dialog.run("spins[0].set_value(48)")
        gimp.display.point(5, 990)  # no tool tip
        gimp.screenshot("dialog")
        click(gimp, dialog, "labelled('_Extend')")
    gimp.wait_until("image.get_width() == 368 and len(image.get_layers()) == 2", 90)
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
    np.testing.assert_array_equal(gimp.pixels("layer", 0, 0, 320, 256), picture)
    gimp.undo()
    gimp.wait_until("image.get_width() == 320", 30)
    assert layers(gimp) == ["base"]
    assert gimp.get("layer.get_offsets()[1:]") == [0, 0]


def test_upscale_by_dialog_is_one_undo_step(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    with open_dialog(gimp, "Upscale Image") as dialog:
        dialog.run("factor, = [w for w in widgets() if isinstance(w, Gtk.SpinButton) and w.get_range() == (2, 4)]")
        dialog.run("factor.set_value(3)")
        gimp.display.point(5, 990)  # no tool tip
        gimp.screenshot("dialog-upscale")
        click(gimp, dialog, "labelled('Upsc_ale')")
    gimp.wait_until("image.get_width() == 960 and len(image.get_layers()) == 2", 60)
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
    new = "image.get_layers()[0]"
    assert gimp.get(f"[*{new}.get_offsets()[1:], {new}.get_width(), {new}.get_height()]") == [0, 0, 960, 768]
    gimp.undo()
    gimp.wait_until("image.get_width() == 320", 30)
    assert layers(gimp) == ["base"]
    np.testing.assert_array_equal(gimp.pixels("layer", 0, 0, 320, 256), picture)


def test_image_closed_during_a_dialogs_edit(gimp: GimpHost, backend: Backend, picture: np.ndarray) -> None:
    """What has taken its time comes in a new image, and the artist is told."""
    prepare(gimp, picture)
    with open_dialog(gimp, "Fill Selection") as dialog:
        dialog.run("entries[0].set_text('slow door')")
        dialog.run("steps, = [w for w in widgets() if isinstance(w, Gtk.SpinButton) and w.get_range() == (0, 200)]")
        dialog.run("steps.set_value(10)")
        click(gimp, dialog, "labelled('_Fill')")
    backend.wait_for_job()
    gimp.run("image.clean_all(); display.delete()")
    gimp.wait_until("len(Gimp.get_images()) == 1", 60)
    wait_for(lambda: "The image has been closed. The result is in a new image." in said(gimp), 10, "a message")
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
    assert gimp.get("Gimp.get_images()[0].get_layers()[0].get_offsets()[1:]") == [100, 70]
    assert "Calling error" not in said(gimp)


def test_dialog_remembers(gimp: GimpHost, picture: np.ndarray) -> None:
    """The last values, also for runs that ask nobody, and the settings that were saved."""
    prepare(gimp, picture)
    with open_dialog(gimp, "Fill Selection") as dialog:
        dialog.run("entries[0].set_text('a saved door')")
        dialog.run("labelled('_Save Settings').clicked()")
        dialog.run("entries[0].set_text('a blue door')")
        click(gimp, dialog, "labelled('_Fill')")
    gimp.wait_until("len(image.get_layers()) == 2", 60)
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
    with open_dialog(gimp, "Fill Selection") as dialog:
        assert dialog.get("entries[0].get_text()") == "a blue door"
        dialog.run("labelled('_Load Saved Settings').clicked()")
        assert dialog.get("entries[0].get_text()") == "a saved door"
        dialog.run("entries[0].set_text('never said')")
        click(gimp, dialog, "labelled('_Cancel')")
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
    gimp.run(
        """
procedure = Gimp.get_pdb().lookup_procedure("scumble-fill-selection")
config = procedure.create_config()
config.set_property("run-mode", Gimp.RunMode.WITH_LAST_VALS)
config.set_property("image", image)
config.set_core_object_array("drawables", [])
answer = procedure.run(config)
assert answer.index(0) == Gimp.PDBStatusType.SUCCESS, Gimp.get_pdb().get_last_error()
"""
    )
    assert [name.rpartition(" ")[0] for name in layers(gimp)] == ["a blue door", "a blue door", ""]
    gimp.menu("Filters", "Scumble", "Repeat Last")
    gimp.wait_until("len(image.get_layers()) == 4", 60)
    assert layers(gimp)[0].startswith("a blue door (")
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")


def test_dialog_asks_what_becomes_of_the_selection(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    gimp.run(REQUEST_OF)
    with open_dialog(gimp, "Fill Selection") as dialog:
        assert not dialog.get("says('Control') or says('IP-Adapter') or says('Region')")
        if dialog.get("any(isinstance(w, Gtk.RadioButton) and w.get_mapped() for w in widgets())"):
            click(gimp, dialog, "labelled('Add something')")
        else:  # a list in GIMP 3.0
            dialog.run(
                "combo, = [\n"
                "    w for w in widgets() if isinstance(w, Gtk.ComboBox) and w.get_mapped()\n"
                "    and any('Add something' in list(row) for row in w.get_model())\n"
                "]\n"
                "combo.set_active('add')"
            )
        click(gimp, dialog, "labelled('Cut out of its _background')")
        gimp.display.point(5, 990)  # no tool tip
        gimp.screenshot("dialog-fill")
        dialog.run("entries[0].set_text('a gate')")
        click(gimp, dialog, "labelled('_Fill')")
    gimp.wait_until("len(image.get_layers()) == 2", 60)
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
    request = gimp.get("request_of(image.get_layers()[0])")
    assert (request["mode"], request["prefill"], request["transparent"]) == ("fill", "neutral", True)
    with open_dialog(gimp, "Generate Layer") as dialog:
        assert dialog.get("labelled('Cut out of its _background').get_mapped()")
        click(gimp, dialog, "labelled('_Cancel')")
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")


def test_indexed_image_is_named(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    gimp.run("image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.WEB, 255, False, False, '')")
    with open_dialog(gimp, "Fill Selection") as dialog:
        assert dialog.get("says('results take the nearest colours of its palette')")
        click(gimp, dialog, "labelled('_Cancel')")
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
    with open_panel(gimp) as panel:
        panel.wait_until("'results take the nearest colours of its palette' in named('mode').get_text()", 10)


def test_no_image_is_open(gimp: GimpHost) -> None:
    """Generate Layer makes an image, also by GIMP's own Repeat, the rest says so, and nothing is greyed out. By keys: what
    is asked first has the keyboard."""
    with open_dialog(gimp, "Generate Layer") as dialog:
        dialog.wait_until("entries[0].has_focus()", 10)
        gimp.display.keys("ctrl+a")
        gimp.display.type("a lake")
        gimp.display.keys("Return")
    for again in range(2):
        if again:
            gimp.display.activate(gimp.window(MAIN_WINDOW))
            gimp.display.keys("ctrl+f")
        gimp.wait_until("len(Gimp.get_images()) == 1", 60)
        gimp.window(r"\[Untitled\].*GIMP$")
        made = "Gimp.get_images()[0]"
        gimp.wait_until(f"[{made}.get_width(), {made}.get_height(), len({made}.get_layers())] == [512, 512, 1]", 30)
        assert gimp.get(f"{made}.get_layers()[0].get_name()").startswith("a lake (")
        wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
        gimp.run(CLOSE_ALL)
    gimp.menu("Filters", "Scumble", "Remove Selection")
    wait_for(lambda: "No image is open." in said(gimp), 30, "a message")


def test_cancel_of_gimp_leaves_nothing_running(gimp: GimpHost, backend: Backend, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    with open_dialog(gimp, "Fill Selection") as dialog:
        dialog.run("entries[0].set_text('slow door')")
        dialog.run("steps, = [w for w in widgets() if isinstance(w, Gtk.SpinButton) and w.get_range() == (0, 200)]")
        dialog.run("steps.set_value(200)")  # 40 s
        click(gimp, dialog, "labelled('_Fill')")
    backend.wait_for_job()
    wait_for(lambda: pressed(gimp), 60, "a Cancel beside GIMP's progress bar")
    wait_for(lambda: not runs(gimp), 20, "the plug-in to end")
    assert layers(gimp) == ["base"]
    began = time.monotonic()
    edit_elsewhere(backend.home)
    assert time.monotonic() - began < 10  # without the cancel it would wait for 40
