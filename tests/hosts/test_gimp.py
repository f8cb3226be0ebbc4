"""The rig itself, in the real GIMP."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from .driver import HostProblem, wait_for
from .gimp_host import GimpConsole, GimpHost
from .installs import Install
from .test_krita import start_child

PLUGIN = """#!/usr/bin/env python3
import sys
import gi
gi.require_version("Gimp", "3.0")
gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, GLib, Gtk

class Trivial(Gimp.PlugIn):
    def do_set_i18n(self, name):
        return False

    def do_query_procedures(self):
        return ["trivial-panel"]

    def do_create_procedure(self, name):
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, self.run, None)
        procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.NO_IMAGE | Gimp.ProcedureSensitivityMask.DRAWABLE)
        procedure.set_menu_label("Trivial panel")
        procedure.add_menu_path("<Image>/Filters/Trivial")
        procedure.set_documentation("Trivial panel", "A window with a button", name)
        procedure.set_attribution("test", "test", "2026")
        return procedure

    def run(self, procedure, run_mode, image, drawables, config, data):
        if run_mode == Gimp.RunMode.INTERACTIVE:
            GimpUi.init("trivial")
            window = Gtk.Window(title="Trivial panel")
            self.button = Gtk.Button(label="Press")
            self.button.connect("clicked", lambda button: button.set_label("Pressed"))
            window.add(self.button)
            loop = GLib.MainLoop()
            window.connect("destroy", lambda window: loop.quit())
            window.show_all()
            loop.run()
        return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)

Gimp.main(Trivial.__gtype__, sys.argv)
"""


@pytest.fixture
def picture() -> np.ndarray:
    """192 x 256 RGBA, every pixel another colour, opaque."""
    y, x = np.mgrid[:192, :256].astype(np.uint8)
    return np.dstack([x, y, x ^ y, np.full_like(x, 255)])


def test_pixels_selection_undo_and_screenshot(gimp: GimpHost, gimp_install: Install, picture: np.ndarray) -> None:
    version = gimp.get("Gimp.version()")
    assert tuple(int(part) for part in version.split(".")[:2]) == gimp_install.version

    gimp.new_image(picture)
    np.testing.assert_array_equal(gimp.pixels("layer", 0, 0, 256, 192), picture)
    np.testing.assert_array_equal(gimp.pixels("layer", 10, 20, 30, 40), picture[20:60, 10:40])

    gimp.run(
        "more = Gimp.Layer.new(image, 'more', 9, 9, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)\n"
        "image.insert_layer(more, None, 0); Gimp.displays_flush()"
    )
    assert gimp.get("[layer.get_name() for layer in image.get_layers()]") == ["more", "base"]
    gimp.undo()
    gimp.wait_until("[layer.get_name() for layer in image.get_layers()] == ['base']", 10)

    soft_selection(gimp)
    assert np.asarray(gimp.screenshot("window")).std() > 20


def test_own_windows_by_their_accessible_names(gimp: GimpHost, picture: np.ndarray) -> None:
    with pytest.raises(HostProblem, match="greyed out"):
        gimp.menu("Image", "Duplicate")
    gimp.new_image(picture)
    gimp.menu("Image", "Duplicate")
    gimp.wait_until("len(Gimp.get_images()) == 2", 10)
    assert any(role == "menu item" and name == "None" for _, role, name in gimp.tree("GIMP"))
    gimp.display.keys("alt+Return")
    gimp.window("Image Properties")
    gimp.press("Image Properties", "button", "Close")
    wait_for(lambda: not gimp.display.windows("Image Properties"), 10, "the dialog to close")


def test_running_plugin_is_reached_and_pressed(gimp_install: Install, tmp_path: Path, picture: np.ndarray) -> None:
    plugin = trivial_plugin(tmp_path / "trivial")
    with GimpHost(gimp_install, tmp_path / "gimp", plugins=[plugin]) as gimp:
        gimp.new_image(picture)
        gimp.menu("Filters", "Trivial", "Trivial panel")
        with gimp.plugin("trivial") as panel:
            panel.run("start_stalls(); button, = [w for w in widgets() if isinstance(w, Gtk.Button)]")
            gimp.window("Trivial panel")
            gimp.screenshot("panel")
            gimp.click(panel, "button")
            panel.wait_until("button.get_label() == 'Pressed'", 10)
            panel.run("import time; time.sleep(0.3)")
            assert 300 <= panel.run("result = stalls.stop()") < 1500
        assert any("trivial.py" in command for command in gimp.leftovers().values())
    assert gimp.leftovers() == {}


def test_longest_stall_is_seen(gimp: GimpHost) -> None:
    with gimp.stalls() as idle:
        gimp.run("")
    assert 0 < idle.milliseconds < 400


def test_console_pixels_and_leftovers(gimp_install: Install, tmp_path: Path, picture: np.ndarray) -> None:
    environment = {"SCUMBLE_HOME": str(tmp_path)}
    with GimpConsole(gimp_install, tmp_path / "gimp", environment=environment) as gimp:
        gimp.new_image(picture)
        np.testing.assert_array_equal(gimp.pixels("layer", 0, 0, 256, 192), picture)
        soft_selection(gimp)
        gimp.run("Gimp.Selection.none(image); image.convert_precision(Gimp.Precision.U16_LINEAR)")
        soft_selection(gimp)
        assert gimp.run("import os; result = os.environ['SCUMBLE_HOME']") == str(tmp_path)
        with pytest.raises(HostProblem, match="ZeroDivisionError"):
            gimp.run("1 / 0")
    assert gimp.process.returncode == 0
    assert gimp.leftovers() == {}


def test_crash_and_what_outlives_it(gimp: GimpHost) -> None:
    start_child(gimp)
    gimp.crash()
    assert any("time.sleep(100)" in command for command in gimp.leftovers().values())
    gimp.kill()
    assert gimp.leftovers() == {}


def test_batch_gives_exit_codes_and_finds_the_plugin(gimp_install: Install, tmp_path: Path) -> None:
    trivial_plugin(tmp_path / "trivial")
    zipped = shutil.make_archive(str(tmp_path / "plugin"), "zip", tmp_path, "trivial")
    gimp = GimpConsole(gimp_install, tmp_path / "gimp", plugins=[Path(zipped)])
    found = gimp.batch("print('found:', Gimp.get_pdb().lookup_procedure('trivial-panel') is not None)")
    assert found.returncode == 0, found
    assert "found: True" in found.stdout
    assert gimp.batch("1 / 0").returncode == 64


def soft_selection(gimp: GimpHost) -> None:
    mask = np.linspace(0, 255, 50 * 60).astype(np.uint8).reshape(50, 60)
    gimp.select(mask, x=100, y=70)
    selected = np.frombuffer(gimp.raw("image.get_selection()", "Y u8", 0, 0, 256, 192), np.uint8).reshape(192, 256)
    np.testing.assert_array_equal(selected, np.pad(mask, ((70, 72), (100, 96))))


def trivial_plugin(folder: Path) -> Path:
    folder.mkdir()
    script = folder / "trivial.py"
    script.write_text(PLUGIN)
    script.chmod(0o755)
    return folder
