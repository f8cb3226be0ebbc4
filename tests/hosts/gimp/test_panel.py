"""The panel in GIMP's window: real clicks and keys, GIMP's own undo."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scumble.client.settings import update_settings
from scumble.home import Home

from tests.conftest import REPOSITORY

from ..driver import wait_for
from ..gimp_host import IMAGE_WINDOW, GimpHost
from ..installs import Install
from .window import NAMED, PLUGIN, REQUEST_OF, Backend, click, layers, open_panel, prepare, reach, runs, settle, write

SAMPLE = REPOSITORY / "packaging" / "sample.py"
WATCHED = """
import threading, time
from scumble_gimp import document, pixels as reading
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
for owner, name in ((reading, "read"), (document.GimpDocument, "insert_layer")):
    watch(owner, name, add_pixels)
for name in ("_start", "_listen", "look"):
    watch(Panel, name, lambda seconds, inner: busy.append(seconds - inner))
"""
FOCUS = "named('generate').get_toplevel().get_focus().get_name()"


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
        newest = "[row.entry.request.prompt for row in named('history-list').get_children()][:2]"
        panel.wait_until(f"{newest} == ['slow wall', 'a red brick wall']", 30)
        tip = panel.get("named('history-list').get_children()[1].get_child().get_tooltip_text()")
        assert re.fullmatch(r"a red brick wall\n\d{4}-\d\d-\d\d \d\d:\d\d", tip)
        panel.run("named('history-list').select_row(named('history-list').get_children()[1])")
        panel.run("named('left').set_value(48)")
        assert panel.get("named('generate').get_label()") == "_Extend"
        panel.run("named('reuse').clicked()")
        assert panel.get("named('generate').get_label()") == "_Fill"
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


@pytest.mark.only("newest")
def test_how_layers_come_in_is_remembered(gimp: GimpHost, picture: np.ndarray) -> None:
    said = "[named('mask-as').get_active_id(), named('at-once').get_active()]"
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        panel.run("named('mask-as').set_active_id('layer-mask'); named('at-once').set_active(False)")
        write(panel, "a wall")
        click(gimp, panel, "named('generate')")
        panel.wait_until("len(named('variants').get_children()) == 1", 60)
        assert layers(gimp) == ["base"]
        click(gimp, panel, "named('apply')")
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        assert gimp.get("image.get_layers()[0].get_mask() is not None")
    with open_panel(gimp) as panel:
        assert panel.get(said) == ["layer-mask", False]
        panel.run("named('mask-as').set_active_id('alpha'); named('at-once').set_active(True)")
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 3", 60)
        assert gimp.get("image.get_layers()[0].get_mask() is None")


def test_panel_is_reached_by_keys(gimp: GimpHost, backend: Backend) -> None:
    """Tab goes through all that shows and nothing else, in its order. No key is given twice in what shows at the same
    time."""
    update_settings(backend.home, gimp_panel={})
    with open_panel(gimp) as panel:
        gimp.display.activate(gimp.window("^Scumble$"))
        panel.run("named('keep').grab_focus()")
        for name in ("extend", "added", "advanced", "upscale-fold", "history", "generate", "prompt"):
            gimp.display.keys("Tab")
            panel.wait_until(FOCUS + f" == {name!r}", 5)
        panel.run("named('extend').grab_focus()")
        gimp.display.keys("space")
        settle(panel, "named('left')")
        for name in ("left", "top", "right", "bottom", "added"):
            gimp.display.keys("Tab")
            panel.wait_until(FOCUS + f" == {name!r}", 5)
        panel.run("for name in ('extend', 'advanced', 'history'): named(name).set_expanded(True)")
        gimp.screenshot("panel-unfolded")
        keys = panel.get(
            "[chr(w.get_mnemonic_keyval()) for w in widgets()"
            " if isinstance(w, Gtk.Label) and w.get_mnemonic_keyval() < 128 and w.get_text()]"
        )
        keys += ["f", "r", "e"]  # what the button that says Generate here says otherwise
        assert len(keys) > 15
        assert sorted(set(keys)) == sorted(keys)


def test_number_that_is_being_typed_counts(gimp: GimpHost, backend: Backend, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        write(panel, "slow gate", steps=10)
        panel.run("named('advanced').set_expanded(True); named('steps').grab_focus()")
        gimp.display.activate(gimp.window("^Scumble$"))
        for number, key in (("14", "ctrl+Return"), ("15", "alt+f")):
            gimp.display.keys("ctrl+a", *number, key)
            assert backend.sent()[0].steps == int(number)
            gimp.display.keys("Escape")
            panel.wait_until("not named('cancel').get_mapped()", 10)
            wait_for(lambda: not list(backend.home.jobs.glob("*.submit")), 10, "the edit to be cancelled")


def test_how_much_the_model_sees(gimp: GimpHost, backend: Backend, picture: np.ndarray) -> None:
    """Of the surroundings: as much as it wants, none, or so many pixels."""
    prepare(gimp, picture)
    gimp.run(REQUEST_OF)
    shown = "named('context').get_text()"
    with open_panel(gimp) as panel:
        write(panel, "slow gate", steps=10)
        panel.run("named('advanced').set_expanded(True); named('context').grab_focus()")
        assert panel.get(f"[{shown}, named('context').get_placeholder_text()]") == ["", "Automatic"]
        gimp.display.activate(gimp.window("^Scumble$"))
        for typed, context in (("64", 64), ("", None), ("0", 0)):
            gimp.display.keys("ctrl+a", "BackSpace", *typed, "ctrl+Return")
            assert backend.sent()[0].context == context
            assert panel.get(shown) == typed
            gimp.display.keys("Escape")
            panel.wait_until("not named('cancel').get_mapped()", 10)
            wait_for(lambda: not list(backend.home.jobs.glob("*.submit")), 10, "the edit to be cancelled")
        write(panel, "a gate")
        panel.run("named('generate').clicked()")
        gimp.wait_until("len(image.get_layers()) == 2", 30)
    with open_panel(gimp) as panel:
        assert panel.get(shown) == "0"
        # GTK reads what is typed when the keyboard leaves it.
        panel.run("named('advanced').set_expanded(True); named('context').grab_focus()")
        gimp.display.activate(gimp.window("^Scumble$"))
        gimp.display.keys("BackSpace", "Tab")
        panel.wait_until("named('context').get_value() == -1", 5)
        panel.run("named('history').set_expanded(True)")
        panel.wait_until("len(named('history-list').get_children()) > 0", 30)
        panel.run(
            "named('history-list').select_row(named('history-list').get_row_at_index(0)); named('reuse').clicked()"
        )
        assert panel.get(shown) == "0"
        panel.run("for name in ('advanced', 'history'): named(name).set_expanded(False)")
        panel.run("named('context').set_value(-1)")
        write(panel, "a gate")
        panel.run("named('generate').clicked()")  # which is remembered
        gimp.wait_until("len(image.get_layers()) == 3", 30)
        assert gimp.get("request_of(image.get_layers()[0])['context']") is None


def test_panel_follows_the_image_that_is_worked_on(gimp: GimpHost, picture: np.ndarray) -> None:
    """And says which one it is, as its window does where two have the same name."""
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        panel.wait_until("named('mode').get_text() == 'Fill the selection (80 \u00d7 60 px)'", 10)
        assert panel.get("named('target').get_text()") == "[Untitled]"
        gimp.run("first = image")
        gimp.new_image(np.full((48, 64, 4), 255, np.uint8))
        panel.wait_until("named('mode').get_text() == 'Paint a new picture (64 \u00d7 48 px)'", 10)
        assert gimp.window(re.escape(panel.get("named('target').get_text()")), 5) == gimp.window(IMAGE_WINDOW)
        gimp.run("first.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 20, 30, 40)")
        panel.wait_until("named('mode').get_text() == 'Fill the selection (30 \u00d7 40 px)'", 10)
        assert panel.get("named('target').get_text()") == f"[Untitled]-{gimp.get('first.get_id()')}"


def test_what_is_painted_on_stays_active(gimp: GimpHost, picture: np.ndarray) -> None:
    """A quick mask too: the next stroke would go onto the result."""
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        write(panel, "slow gate", steps=8)
        panel.run("named('generate').clicked()")
        panel.wait_until("named('preview').get_visible()", 30)
        gimp.display.activate(gimp.window(IMAGE_WINDOW))
        gimp.display.keys("shift+q")
        gimp.wait_until("[each.get_name() for each in image.get_selected_drawables()] == ['Qmask']", 10)
        panel.wait_until("named('mode').get_text().startswith('Paint a new picture')", 10)
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        panel.wait_until("not named('cancel').get_mapped()", 10)
        assert gimp.get("[each.get_name() for each in image.get_selected_drawables()]") == ["Qmask"]


@pytest.mark.only("newest")
def test_result_of_another_image_leads_nobody_away(gimp: GimpHost, picture: np.ndarray) -> None:
    """The artist writes on for one image while that of another one grows."""
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        write(panel, "slow pond", steps=8)
        panel.run("named('left').set_value(64); named('generate').clicked()")
        panel.wait_until("named('preview').get_visible()", 30)
        gimp.run("first = image")
        gimp.new_image(np.full((48, 64, 4), 255, np.uint8))
        gimp.run("image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 20, 30, 20)")
        panel.run("named('left').set_value(0); named('right').set_value(32)")
        deed = "Continue the picture into the empty area (30 \u00d7 20 px)"
        panel.wait_until(f"named('mode').get_text() == {deed!r}", 10)
        write(panel, "a red door")
        gimp.wait_until("len(first.get_layers()) == 2 and first.get_width() == 384", 30)
        time.sleep(1)  # the panel looks twice a second
        assert panel.get("named('mode').get_text()") == deed
        assert panel.get("named('prompt').get_buffer().props.text") == "a red door"
        gimp.run("first.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 20, 30, 40)")
        panel.wait_until("named('prompt').get_buffer().props.text == 'slow pond'", 10)
        panel.run("named('right').set_value(0)")


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


def test_upscale(gimp: GimpHost, picture: np.ndarray) -> None:
    """The whole image, whatever is selected; an edit that was asked for before finds its place in the larger one."""
    prepare(gimp, picture)
    gimp.run(REQUEST_OF)
    with open_panel(gimp) as panel:
        gimp.menu("Filters", "Scumble", "Upscale Image...")
        panel.wait_until("named('upscale-fold').get_expanded()", 10)
        panel.run("named('factor').set_active_id('2')")
        write(panel, "slow gate", steps=20)
        reach(gimp, panel, "named('upscale')")
        write(panel, "quick gate", steps=1)
        panel.run("named('generate').clicked()")
        panel.wait_until("named('progress').get_text().endswith('(1 more waiting)')", 20)
        gimp.screenshot("panel-upscale")
        gimp.wait_until("image.get_width() == 640 and len(image.get_layers()) == 3", 60)
        assert gimp.get("[mode_of(layer) for layer in image.get_layers()]") == ["fill", "upscale", ""]
        places = "[[*l.get_offsets()[1:], l.get_width(), l.get_height()] for l in image.get_layers()]"
        gimp.wait_until(f"{places} == [[200, 140, 160, 120], [0, 0, 640, 512], [0, 0, 640, 512]]", 10)
        panel.run("named('upscale-fold').set_expanded(False)")


@pytest.mark.only("newest")
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


@pytest.mark.only("newest")
def test_a_long_first_look_at_the_models_is_told(
    gimp: GimpHost, backend: Backend, picture: np.ndarray, tmp_path: Path
) -> None:
    looked = tmp_path / "looked"
    prepare(gimp, picture)
    backend.kill()
    backend.start(SCUMBLE_TEST_LOOK=str(looked))
    try:
        gimp.menu("Filters", "Scumble", "Open Panel")
        gimp.window("^Scumble$")
        with gimp.plugin(PLUGIN) as panel:
            panel.run(NAMED)
            told = "Looking through the models: 1,234 of 3,000..."
            panel.wait_until(f"named('notice-words').get_text() == {told!r}", 30)
            assert not panel.get("named('notice-button').get_visible()")
            gimp.screenshot("panel-looking")
            looked.touch()
            panel.wait_until("not named('notice').get_visible()", 10)
            panel.run("later(named('apply').get_toplevel().close)")
        wait_for(lambda: not runs(gimp), 30, "the panel's process to end")
    finally:
        looked.touch()


@pytest.mark.only("newest")
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
