"""Panel and dialogs in GIMP's window: real clicks and keys, GIMP's own undo and Cancel."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scumble.client.client import Client
from scumble.client.launcher import find_backend
from scumble.home import Home
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest

from tests.conftest import REPOSITORY
from tests.server.process import process

from ..driver import Driver, HostProblem, wait_for
from ..gimp_host import IMAGE_WINDOW, GimpHost
from ..installs import Install

PLUGIN = "scumble-gimp"
SAMPLE = REPOSITORY / "packaging" / "sample.py"
MASK = np.full((60, 80), 255, np.uint8)
NAMED = """
def named(name):
    found = [widget for widget in widgets() if widget.get_name() == name]
    assert len(found) == 1, (name, found)
    return found[0]
"""


@pytest.fixture
def slow_home(home: Home) -> Iterator[Home]:
    """A home whose backend has engines that are as slow as the prompt says (tests.fakes.engines)."""
    with process(home):
        yield home


@pytest.fixture
def start(gimp_install: Install, tmp_path: Path, plugin_zip: Path, picture: np.ndarray):
    """Starts a GIMP with a picture and a selection on view, for a home."""

    def begin(home: Home) -> GimpHost:
        environment = {"SCUMBLE_HOME": str(home.root)}
        return GimpHost(gimp_install, tmp_path / "gimp", plugins=[plugin_zip], environment=environment)

    return begin


def prepare(gimp: GimpHost, picture: np.ndarray) -> None:
    gimp.new_image(picture)
    gimp.select(MASK, 100, 70)
    gimp.run("image.set_selected_layers([layer])")  # GIMP 3.2 has none selected after `select`


def open_panel(gimp: GimpHost) -> None:
    gimp.menu("Filters", "Scumble", "Open Panel")
    gimp.window("^Scumble$")


def layers(gimp: GimpHost) -> list[str]:
    return gimp.get("[layer.get_name() for layer in image.get_layers()]")


def runs(gimp: GimpHost) -> list[str]:
    return [command for command in gimp.leftovers().values() if f"{PLUGIN}.py" in command]


def write(panel: Driver, prompt: str, **numbers: float) -> None:
    panel.run("named('prompt').get_buffer().set_text(prompt)", prompt=prompt)
    for name, value in numbers.items():
        panel.run(f"named({name!r}).set_value(value)", value=value)


def click(gimp: GimpHost, plugin: Driver, widget: str) -> None:
    """A click once the widget has stopped moving: what has just been shown or unfolded pushes others around."""
    place = f"list({widget}.translate_coordinates({widget}.get_toplevel(), 0, 0) or [])"
    places: list[object] = []
    while len(places) < 3 or places[-1] == [] or any(other != places[-1] for other in places[-3:]):
        places.append(plugin.get(place))
        time.sleep(0.1)
        assert len(places) < 100, places
    gimp.click(plugin, widget)


def test_panel(start, slow_home: Home, picture: np.ndarray) -> None:
    with start(slow_home) as gimp:
        prepare(gimp, picture)
        open_panel(gimp)
        with gimp.plugin(PLUGIN) as panel:
            panel.run(NAMED)
            panel.wait_until("not named('notice').get_visible()", 60)
            write(panel, "a red brick wall")
            assert panel.get("named('mode').get_text()") == "Fill the selection (80 \u00d7 60 px)"
            assert panel.get("named('generate').get_label()") == "_Fill"

            # One instance: the menu's items reach the panel that is open.
            gimp.menu("Filters", "Scumble", "Open Panel")
            wait_for(lambda: len(runs(gimp)) == 1, 30, "the second run to end")

            # One variant goes into the picture at once, at its place, and is taken back by one Ctrl+Z.
            click(gimp, panel, "named('generate')")
            gimp.wait_until("len(image.get_layers()) == 2", 60)
            gimp.wait_until("image.get_layers()[0].get_offsets()[1:] == (100, 70)", 10)
            gimp.wait_until("[layer.get_name() for layer in image.get_selected_layers()] == ['base']", 10)
            gimp.undo()
            gimp.wait_until("len(image.get_layers()) == 1", 30)

            # Progress with seconds left and a preview, then Cancel.
            write(panel, "slow wall", steps=100)
            click(gimp, panel, "named('generate')")
            panel.wait_until("named('preview').get_visible()", 60)
            panel.wait_until("'left' in named('progress').get_text()", 60)
            gimp.screenshot("panel-running")
            click(gimp, panel, "named('cancel')")
            panel.wait_until("not named('cancel').get_mapped()", 20)
            assert layers(gimp) == ["base"]

            # The canvas grows while an edit runs: its layer follows.
            write(panel, "slow gate", steps=10)
            click(gimp, panel, "named('generate')")
            panel.wait_until("named('cancel').get_mapped()", 30)
            gimp.run("image.resize(340, 266, 20, 10); Gimp.displays_flush()")
            gimp.wait_until("len(image.get_layers()) == 2", 60)
            gimp.wait_until("image.get_layers()[0].get_offsets()[1:] == (120, 80)", 10)
            gimp.run("image.remove_layer(image.get_layers()[0]); image.resize(320, 256, -20, -10)")

            # What was done before is there to be used again.
            panel.run("named('history').set_expanded(True)")
            panel.wait_until("len(named('history-list').get_children()) == 3", 30)
            panel.run("named('history-list').select_row(named('history-list').get_children()[2])")
            panel.run("named('reuse').clicked()")
            prompt = "named('prompt').get_buffer().get_property('text')"
            assert panel.get(prompt) == "a red brick wall"
            panel.run("named('history').set_expanded(False)")

            # Several variants wait to be chosen from, even if the picture is closed meanwhile.
            write(panel, "an old door", steps=6, count=3)
            click(gimp, panel, "named('generate')")
            panel.wait_until("len(named('variants').get_children()) == 5", 60)
            gimp.screenshot("panel-results")
            click(gimp, panel, "named('apply')")
            gimp.wait_until("len(image.get_layers()) == 2", 30)
            gimp.run("image.clean_all(); display.delete(); before = len(Gimp.get_images())")
            gimp.wait_until("len(Gimp.get_images()) == 0", 30)
            panel.wait_until("named('target').get_text().startswith('No image')", 30)
            panel.run("named('variants').select_child(named('variants').get_children()[1])")
            click(gimp, panel, "named('apply')")
            panel.wait_until("'has been closed' in named('notice-words').get_text()", 30)
            gimp.screenshot("panel-error")
            click(gimp, panel, "named('notice-button')")
            gimp.wait_until("len(Gimp.get_images()) == 1", 30)
            gimp.wait_until("len(Gimp.get_images()[0].get_layers()) == 1", 30)
            assert gimp.get("Gimp.get_images()[0].get_layers()[0].get_offsets()[1:]") == [100, 70]
            assert gimp.display.windows("GIMP Message") == []
            panel.run("later(named('apply').get_toplevel().close)")
        wait_for(lambda: not runs(gimp), 30, "the panel's process to end")
        gimp.run("Gimp.get_images()[0].clean_all()")


def test_extend_by_dialog_is_one_undo_step(start, backend_home: Home, picture: np.ndarray) -> None:
    with start(backend_home) as gimp:
        gimp.new_image(picture)
        gimp.menu("Filters", "Scumble", "Extend Canvas...")
        gimp.window("Scumble: Extend Canvas")
        with gimp.plugin(PLUGIN) as dialog:
            dialog.run("spins = [w for w in widgets() if isinstance(w, Gtk.SpinButton) and w.get_mapped()]")
            dialog.run("spins[0].set_value(48)")
            dialog.wait_until("any(isinstance(w, Gtk.Label) and w.get_text() == 'Ready.' for w in widgets())", 60)
            gimp.screenshot("dialog")
            dialog.run("button, = [w for w in widgets() if isinstance(w, Gtk.Button) and w.get_label() == '_Extend']")
            click(gimp, dialog, "button")
        gimp.wait_until("image.get_width() == 368 and len(image.get_layers()) == 2", 90)
        wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
        np.testing.assert_array_equal(gimp.pixels("layer", 0, 0, 320, 256), picture)
        gimp.undo()
        gimp.wait_until("image.get_width() == 320", 30)
        assert layers(gimp) == ["base"]
        assert gimp.get("layer.get_offsets()[1:]") == [0, 0]
        gimp.run("image.clean_all()")


def test_cancel_of_gimp_leaves_nothing_running(start, slow_home: Home, picture: np.ndarray) -> None:
    with start(slow_home) as gimp:
        prepare(gimp, picture)
        gimp.menu("Filters", "Scumble", "Fill Selection...")
        gimp.window("Scumble: Fill Selection")
        with gimp.plugin(PLUGIN) as dialog:
            dialog.run("entry = [w for w in widgets() if isinstance(w, Gtk.Entry) and w.get_mapped()][0]")
            dialog.run("entry.set_text('slow hang')")
            dialog.run("button, = [w for w in widgets() if isinstance(w, Gtk.Button) and w.get_label() == '_Fill']")
            click(gimp, dialog, "button")
        time.sleep(2)
        gimp.screenshot("gimp-progress")
        wait_for(lambda: pressed(gimp), 60, "a Cancel beside GIMP's progress bar")
        wait_for(lambda: not runs(gimp), 20, "the plug-in to end")
        assert layers(gimp) == ["base"]
        began = time.monotonic()
        edit_elsewhere(slow_home)
        assert time.monotonic() - began < 30  # without the cancel it would hang for more than 40
        gimp.run("image.clean_all()")


def pressed(gimp: GimpHost) -> bool:
    with contextlib.suppress(HostProblem):
        gimp.press("GIMP$", "button", "Cancel")
        return True
    return False


def edit_elsewhere(home: Home) -> None:
    """An edit by another client: the backend has only one place for one."""
    client = Client("test", lambda: find_backend(home))
    client.connect()
    request = EditRequest("txt2img", Size(64, 64), Bounds(0, 0, 1, 1), prompt="quick")
    client.wait(client.submit(request, bytes(4)))
    client.close(5)


def test_sample_picture(start, backend_home: Home, tmp_path: Path) -> None:
    """What the README shows: a scratch removed and the canvas grown, by the fill model."""
    with start(backend_home) as gimp:
        subprocess.run([sys.executable, SAMPLE, "draw", tmp_path / "picture.png", tmp_path / "mask.png"], check=True)
        picture = np.asarray(Image.open(tmp_path / "picture.png").convert("RGBA"))
        mask = np.asarray(Image.open(tmp_path / "mask.png").convert("L"))
        gimp.new_image(picture)
        gimp.select(mask)
        open_panel(gimp)
        with gimp.plugin(PLUGIN) as panel:
            panel.run(NAMED)
            panel.wait_until("not named('notice').get_visible()", 60)
            gimp.display.resize(gimp.window(IMAGE_WINDOW), 1150, 860)  # the panel beside it
            panel.run("named('generate').get_toplevel().move(1155, 30)")
            assert panel.get("named('generate').get_label()") == "_Remove"
            click(gimp, panel, "named('generate')")
            gimp.wait_until("len(image.get_layers()) == 2", 90)
            gimp.run("Gimp.Selection.none(image); Gimp.displays_flush()")
            panel.run("named('extend').set_expanded(True); named('right').set_value(192)")
            panel.wait_until("named('generate').get_label() == '_Extend'", 30)
            click(gimp, panel, "named('generate')")
            gimp.wait_until("image.get_width() == 960 and len(image.get_layers()) == 3", 90)
            panel.wait_until("not named('cancel').get_mapped()", 30)
            gimp.run("everything = Gimp.Layer.new_from_visible(image, image, 'everything')")
            result = gimp.pixels("everything", 0, 0, 960, 512)
            gimp.run("everything.delete()")
            gimp.display.activate(gimp.window(IMAGE_WINDOW))
            gimp.display.keys("ctrl+shift+j")
            time.sleep(2)  # the picture fits itself into the window
            gimp.screenshot("sample")
        kept = mask == 0
        np.testing.assert_array_equal(result[:, :768][kept], picture[kept])
        scratch = mask == 255
        assert (picture[scratch, :3].min(axis=-1) > 240).mean() > 0.1
        assert (result[:, :768][scratch, :3].min(axis=-1) > 240).mean() < 0.01
        assert (result[..., 3] == 255).all()
        gimp.run("image.clean_all()")
        # A panel that is still open goes with GIMP.
        gimp.ask_to_quit()
        gimp.process.wait(60)
        wait_for(lambda: not runs(gimp), 30, "the panel to end with GIMP")
