"""Panel and dialogs in GIMP's window: real clicks and keys, GIMP's own undo and Cancel."""

from __future__ import annotations

import contextlib
import os
import signal
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
from tests.server.process import Process

from ..driver import Driver, HostProblem, wait_for
from ..gimp_host import IMAGE_WINDOW, GimpHost
from ..host import started
from ..installs import Install

PLUGIN = "scumble-gimp"
SAMPLE = REPOSITORY / "packaging" / "sample.py"
MASK = np.full((60, 80), 255, np.uint8)
NAMED = """
def named(name):
    found = [widget for widget in widgets() if widget.get_name() == name]
    assert len(found) == 1, (name, found)
    return found[0]
def labelled(label):
    found = [w for w in widgets() if isinstance(w, Gtk.Button) and w.get_label() == label]
    assert len(found) == 1, (label, found)
    return found[0]
def says(words):
    return any(isinstance(w, Gtk.Label) and words in w.get_text() for w in widgets())
"""
CLOSE_ALL = """
for number in range(1, 100):
    if Gimp.Display.id_is_valid(number):
        view = Gimp.Display.get_by_id(number)
        view.delete()
for image in Gimp.get_images():
    image.delete()
"""
MODE_OF = """
import json
def mode_of(layer):
    note = layer.get_parasite("scumble")
    return json.loads(bytes(note.get_data()).decode())["request"]["mode"] if note else ""
"""


class Backend:
    """Of a home, with engines that are as slow as the prompt says (tests.fakes.engines)."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.start()

    def start(self) -> None:
        self._process = Process(self.home)

    def kill(self) -> None:
        self._process.end(signal.SIGKILL)

    def wait_for_job(self) -> None:
        """Until an edit has been accepted: from there on nothing may be lost."""
        wait_for(lambda: list(self.home.jobs.glob("*.submit")), 30, "an edit to be accepted")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    backend = Backend(Home(tmp_path_factory.mktemp("slow-home")))
    yield backend
    backend.kill()


@pytest.fixture(scope="module")
def running(
    gimp_install: Install, tmp_path_factory: pytest.TempPathFactory, plugin_zip: Path, backend: Backend
) -> Iterator[GimpHost]:
    """One GIMP for all tests to which the slow backend is enough: a start takes seconds."""
    environment = {"SCUMBLE_HOME": str(backend.home.root)}
    with GimpHost(gimp_install, tmp_path_factory.mktemp("gimp"), [plugin_zip], environment) as gimp:
        yield gimp


@pytest.fixture
def gimp(running: GimpHost) -> Iterator[GimpHost]:
    """Nothing is open, and nothing of ours runs."""
    started.append(running)
    yield running
    for pid in runs(running):  # of a test that has failed
        os.kill(pid, signal.SIGKILL)
    running.run(CLOSE_ALL)
    for window in running.display.windows("GIMP Message"):
        running.display.activate(window)
        running.display.keys("Escape")


def prepare(gimp: GimpHost, picture: np.ndarray) -> None:
    gimp.new_image(picture)
    gimp.select(MASK, 100, 70)
    gimp.run("image.set_selected_layers([layer])")  # GIMP 3.2 has none selected after `select`


@contextlib.contextmanager
def open_panel(gimp: GimpHost) -> Iterator[Driver]:
    """The panel, once it is connected; closed at the end."""
    gimp.menu("Filters", "Scumble", "Open Panel")
    gimp.window("^Scumble$")
    with gimp.plugin(PLUGIN) as panel:
        panel.run(NAMED)
        panel.wait_until("not named('notice').get_visible()", 60)
        panel.run("named('count').set_value(1)")  # it remembers the last ones
        yield panel
        panel.run("later(named('apply').get_toplevel().close)")
    wait_for(lambda: not runs(gimp), 30, "the panel's process to end")


@contextlib.contextmanager
def open_dialog(gimp: GimpHost, title: str) -> Iterator[Driver]:
    """A menu item's dialog, once it is connected."""
    gimp.menu("Filters", "Scumble", f"{title}...")
    gimp.window(f"Scumble: {title}")
    with gimp.plugin(PLUGIN) as dialog:
        dialog.run(NAMED + "entries = [w for w in widgets() if isinstance(w, Gtk.Entry) and w.get_mapped()]")
        dialog.wait_until("says('Ready.')", 60)
        yield dialog


def layers(gimp: GimpHost) -> list[str]:
    return gimp.get("[layer.get_name() for layer in image.get_layers()]")


def runs(gimp: GimpHost) -> list[int]:
    """The processes of our plug-in."""
    return [pid for pid, command in gimp.leftovers().items() if f"{PLUGIN}.py" in command]


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


def test_panel(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
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

        # What was done before is there to be used again.
        panel.run("named('history').set_expanded(True)")
        panel.wait_until("len(named('history-list').get_children()) == 2", 30)
        panel.run("named('history-list').select_row(named('history-list').get_children()[1])")
        panel.run("named('reuse').clicked()")
        prompt = "named('prompt').get_buffer().get_property('text')"
        assert panel.get(prompt) == "a red brick wall"
        panel.run("named('history').set_expanded(False)")

        # Several variants wait to be chosen from, even if the picture is closed meanwhile.
        write(panel, "an old door", steps=6, count=3)
        click(gimp, panel, "named('generate')")
        panel.wait_until("len(named('variants').get_children()) == 4", 60)
        gimp.screenshot("panel-results")
        click(gimp, panel, "named('apply')")
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        gimp.run("image.clean_all(); display.delete()")
        gimp.wait_until("len(Gimp.get_images()) == 0", 30)
        panel.wait_until("named('target').get_text().startswith('No image')", 30)
        panel.run("named('variants').select_child(named('variants').get_children()[1])")
        click(gimp, panel, "named('apply')")
        panel.wait_until("'has been closed' in named('notice-words').get_text()", 30)
        gimp.screenshot("panel-closed-image")
        click(gimp, panel, "named('notice-button')")
        gimp.wait_until("len(Gimp.get_images()) == 1", 30)
        gimp.wait_until("len(Gimp.get_images()[0].get_layers()) == 1", 30)
        assert gimp.get("Gimp.get_images()[0].get_layers()[0].get_offsets()[1:]") == [100, 70]
    assert gimp.display.windows("GIMP Message") == []


def test_panel_is_reached_by_keys(gimp: GimpHost) -> None:
    """No key is given twice in what shows at the same time."""
    with open_panel(gimp) as panel:
        panel.run("for name in ('extend', 'advanced', 'history'): named(name).set_expanded(True)")
        gimp.screenshot("panel-unfolded")
        keys = panel.get(
            "[chr(w.get_mnemonic_keyval()) for w in widgets()"
            " if isinstance(w, Gtk.Label) and w.get_mnemonic_keyval() < 128 and w.get_text()]"
        )
        keys += ["f", "r", "e"]  # what the button that says Generate here says otherwise
        assert len(keys) > 15
        assert sorted(set(keys)) == sorted(keys)


CHANGES = {
    # What the artist does, one after the other, and where the layer must lie then.
    # Canvas size, once with the layers as they are and once with layers that grow with it:
    ("image.resize(340, 266, 20, 10)",): [120, 80, 80, 60],
    ("image.resize(340, 266, 20, 10); layer.resize_to_image_size()",): [120, 80, 80, 60],
    # A crop cuts the only layer off on all sides:
    ("image.crop(200, 120, 64, 32)",): [36, 38, 80, 60],
    ("image.scale(480, 384)",): [150, 105, 120, 90],
    ("image.scale(160, 256)",): [50, 70, 40, 60],
    ("image.crop(200, 120, 64, 32)", "image.scale(400, 240)"): [72, 76, 160, 120],
    ("image.flatten()",): [100, 70, 80, 60],
}


def test_layer_follows_the_canvas(gimp: GimpHost, picture: np.ndarray) -> None:
    """What the artist does to the canvas while an edit runs: C2."""
    with open_panel(gimp) as panel:
        for changes, bounds in CHANGES.items():
            prepare(gimp, picture)
            panel.wait_until("named('mode').get_text().startswith('Fill')", 10)
            write(panel, "slow gate", steps=6)
            panel.run("named('generate').clicked()")
            panel.wait_until("named('preview').get_visible()", 30)
            for change in changes:
                gimp.run(f"{change}; Gimp.displays_flush()")
                time.sleep(0.6)  # the panel looks twice a second
            gimp.wait_until("len(image.get_layers()) == 2", 30)
            new = "image.get_layers()[0]"
            place = f"[*{new}.get_offsets()[1:], {new}.get_width(), {new}.get_height()]"
            wait_for(lambda: gimp.get(place) == bounds, 10, f"the layer at {bounds} after {changes}")  # noqa: B023
            assert not panel.get("named('notice').get_visible()")
            gimp.undo()
            gimp.wait_until("len(image.get_layers()) == 1", 30)
            gimp.run(CLOSE_ALL)


def test_canvas_that_cannot_be_followed_asks(gimp: GimpHost, picture: np.ndarray) -> None:
    """A flat picture does not tell where a crop has cut it."""
    flat = np.full_like(picture, 200)
    flat[..., 3] = 255
    prepare(gimp, flat)
    with open_panel(gimp) as panel:
        write(panel, "slow gate", steps=6)
        panel.run("named('generate').clicked()")
        panel.wait_until("named('preview').get_visible()", 30)
        gimp.run("image.crop(200, 120, 64, 32); Gimp.displays_flush()")
        panel.wait_until("'its place is unknown' in named('notice-words').get_text()", 30)
        assert layers(gimp) == ["base"]
        click(gimp, panel, "named('notice-button')")
        gimp.wait_until("len(image.get_layers()) == 2", 30)


def test_panel_follows_the_image_that_is_worked_on(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        panel.wait_until("named('mode').get_text() == 'Fill the selection (80 \u00d7 60 px)'", 10)
        gimp.run("first = image")
        gimp.new_image(np.full((48, 64, 4), 255, np.uint8))
        panel.wait_until("named('mode').get_text() == 'Paint a new picture (64 \u00d7 48 px)'", 10)
        gimp.run("first.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 20, 30, 40)")
        panel.wait_until("named('mode').get_text() == 'Fill the selection (30 \u00d7 40 px)'", 10)


WATCHED = """
import threading, time
from scumble_gimp import document
from scumble_gimp.panel.window import Panel
threads, busy, pixels = set(), [], [0.0]
def watch(owner, name, after):
    plain = getattr(owner, name)
    def watched(*arguments, **more):
        threads.add(threading.current_thread().name)
        began, before = time.thread_time(), pixels[0]
        try:
            return plain(*arguments, **more)
        finally:
            after(time.thread_time() - began, pixels[0] - before)
    setattr(owner, name, watched)
def add_pixels(seconds, inner):
    pixels[0] += seconds - inner
for owner, name in ((document, "_read"), (document.GimpDocument, "insert_layer")):
    watch(owner, name, add_pixels)
for name in ("_start", "_listen", "look"):
    watch(Panel, name, lambda seconds, inner: busy.append(seconds - inner))
"""


def test_panel_never_works_long(gimp: GimpHost) -> None:
    """C6: 50 ms at most besides GIMP's own pixel calls (in seconds of the processor, so that a busy machine does not
    count), and GIMP's library from the main thread only. Also while the panel looks where a crop has moved everything."""
    noise = np.random.default_rng(3).integers(0, 255, (1024, 1536, 4), np.uint8)
    noise[..., 3] = 255
    gimp.new_image(noise)
    gimp.select(np.full((384, 512), 255, np.uint8), 400, 300)
    with open_panel(gimp) as panel:
        panel.run(WATCHED)
        write(panel, "slow wall", steps=8)
        panel.run("named('generate').clicked()")
        panel.wait_until("named('preview').get_visible()", 30)
        gimp.run("image.crop(1400, 900, 100, 80); Gimp.displays_flush()")
        gimp.wait_until("len(image.get_layers()) == 2", 60)
        gimp.wait_until("image.get_layers()[0].get_offsets()[1:] == (300, 220)", 10)
        assert panel.get("sorted(threads)") == ["MainThread"]
        assert panel.get("len(busy)") > 5
        assert panel.get("max(busy)") < 0.05


def test_menu_items_reach_the_open_panel(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    gimp.run(MODE_OF)
    with open_panel(gimp) as panel:
        write(panel, "a red brick wall", strength=100)

        def choose(item: str) -> None:
            gimp.menu("Filters", "Scumble", item)
            wait_for(lambda: len(runs(gimp)) == 1, 30, f"{item} to be handed over")

        def shown() -> list[object]:
            return panel.get("[named('generate').get_label(), named('strength').get_value()]")

        choose("Refine / Image to Image...")
        panel.wait_until("named('generate').get_label() == '_Refine'", 10)
        assert shown() == ["_Refine", 60]
        choose("Fill Selection...")
        panel.wait_until("named('generate').get_label() == '_Fill'", 10)
        assert shown() == ["_Fill", 100]
        choose("Extend Canvas...")
        panel.wait_until("named('extend').get_expanded()", 10)
        panel.run("named('left').set_value(32)")
        panel.wait_until("named('generate').get_label() == '_Extend'", 10)

        # A new picture, not one that continues what is around the selection.
        choose("Generate Layer...")
        panel.wait_until("named('generate').get_label() == '_Generate'", 10)
        assert panel.get("named('mode').get_text()") == "Paint a new picture (80 \u00d7 60 px)"
        panel.run("named('generate').clicked()")
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        gimp.wait_until("mode_of(image.get_layers()[0]) == 'txt2img'", 10)
        panel.wait_until("named('generate').get_label() == '_Fill'", 10)

        # Repeat does the same once more; Remove does at once what it says.
        choose("Repeat Last")
        gimp.wait_until("[mode_of(layer) for layer in image.get_layers()] == ['txt2img', 'txt2img', '']", 30)
        choose("Remove Selection")
        gimp.wait_until("len(image.get_layers()) == 4 and mode_of(image.get_layers()[0]) == 'remove'", 30)
        choose("Repeat Last")
        gimp.wait_until("len(image.get_layers()) == 5 and mode_of(image.get_layers()[0]) == 'remove'", 30)


def test_backend_that_is_killed(gimp: GimpHost, backend: Backend, picture: np.ndarray) -> None:
    """C4: the panel says what is wrong and what to do, and the result comes all the same."""
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        write(panel, "slow gate", steps=10)
        click(gimp, panel, "named('generate')")
        panel.wait_until("named('preview').get_visible()", 30)
        backend.kill()
        try:
            panel.wait_until("named('notice').get_visible()", 30)
            words = "named('notice-words').get_text()"
            panel.wait_until(f"'is not installed. Run: python3 packaging/install.py' in {words}", 30)
            assert panel.get("named('notice-button').get_label()") == "Copy Command"
            gimp.screenshot("panel-error")
            # A Flatpak can start nothing outside itself.
            panel.run("import pathlib; from scumble.client import launcher; launcher.FLATPAK = pathlib.Path('/etc')")
            told = "runs in a Flatpak, which cannot start the backend. Start the backend with: scumble serve"
            panel.wait_until(f"{told!r} in {words}", 30)
        finally:
            backend.start()
        gimp.wait_until("len(image.get_layers()) == 2", 60)
        assert gimp.get("image.get_layers()[0].get_offsets()[1:]") == [100, 70]
        panel.wait_until("not named('notice').get_visible()", 10)


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
    """The last values, also for a run that asks nobody, and the settings that were saved."""
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
    """Generate Layer makes an image, the rest says so, and nothing is greyed out."""
    with open_dialog(gimp, "Generate Layer") as dialog:
        dialog.run("entries[0].set_text('a lake')")
        click(gimp, dialog, "labelled('_Generate')")
    gimp.wait_until("len(Gimp.get_images()) == 1", 60)
    gimp.window(r"\[Untitled\].*GIMP$")
    made = "Gimp.get_images()[0]"
    assert gimp.get(f"[{made}.get_width(), {made}.get_height(), len({made}.get_layers())]") == [512, 512, 1]
    wait_for(lambda: not runs(gimp), 30, "the plug-in to end")
    gimp.run(CLOSE_ALL)
    gimp.menu("Filters", "Scumble", "Remove Selection")
    wait_for(lambda: "No image is open." in said(gimp), 30, "a message")


def said(gimp: GimpHost) -> str:
    """What GIMP shows in message boxes and, where a picture is on view, for some seconds in its status bar."""
    names: list[str] = []
    for window in ("GIMP Message", IMAGE_WINDOW):
        with contextlib.suppress(HostProblem):
            names += [name for _, _, name in gimp.tree(window)]
    return " ".join(names)


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


def test_sample_picture(gimp_install: Install, backend_home: Home, tmp_path: Path, plugin_zip: Path) -> None:
    """What the README shows: a scratch removed and the canvas grown, by the fill model."""
    environment = {"SCUMBLE_HOME": str(backend_home.root)}
    with GimpHost(gimp_install, tmp_path / "gimp", [plugin_zip], environment) as gimp:
        subprocess.run([sys.executable, SAMPLE, "draw", tmp_path / "picture.png", tmp_path / "mask.png"], check=True)
        picture = np.asarray(Image.open(tmp_path / "picture.png").convert("RGBA"))
        mask = np.asarray(Image.open(tmp_path / "mask.png").convert("L"))
        gimp.new_image(picture)
        gimp.select(mask)
        gimp.menu("Filters", "Scumble", "Open Panel")
        gimp.window("^Scumble$")
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
