"""What the docker's fields and the plug-in's actions do, in the real Krita with a real backend."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from scumble.home import Home
from scumble.protocol.geometry import Bounds

from tests.server.process import Process

from ..installs import Install
from .conftest import open_krita
from .docker import Docker, picture, soft_mask


def test_every_field_reaches_the_backend_and_only_the_crop_is_sent(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture(2400, 1800))
    krita.select(soft_mask(160, 120), 1200, 900)
    slow.set("a house", count=2, steps=3)
    krita.run(
        "part('scumble_negative').setPlainText('fog'); pick('scumble_sampler', 'Euler')\n"
        "part('scumble_guidance').setValue(4.5); part('scumble_grow').setValue(5); part('scumble_feather').setValue(8)\n"
        "part('scumble_context').setValue(48); part('scumble_resolution').setValue(256)\n"
        "part('scumble_clip_skip').setValue(2); part('scumble_model').setCurrentIndex(1)"
    )
    slow.says("Fill")
    slow.generate()
    slow.wait_layers(2)
    request = slow.request_of_last_layer()
    wanted = {
        "prompt": "a house", "negative": "fog", "mode": "fill", "strength": 1.0, "seed": 7, "steps": 3, "sampler": "euler",
        "guidance": 4.5, "grow": 5, "feather": 8, "context": 48, "resolution": 256, "clip_skip": 2,
    }  # fmt: skip
    assert {name: request[name] for name in wanted} == wanted
    assert request["model"] == krita.get("part('scumble_model').currentData()") != ""
    assert request["canvas"] == [2400, 1800]
    sent = Bounds(*request["image"])
    assert sent.size == (1024, 1024)
    assert sent.contains(Bounds(1200, 900, 160, 120).pad(53))
    krita.run(
        "part('scumble_negative').setPlainText(''); part('scumble_sampler').setCurrentIndex(0)\n"
        "part('scumble_model').setCurrentIndex(0)\n"
        "for name in ('guidance', 'grow', 'feather', 'context', 'resolution', 'clip_skip'):\n"
        "    part('scumble_' + name).setValue(part('scumble_' + name).minimum())"
    )


def test_loras_and_layers_that_are_followed_reach_the_backend(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture(300, 200))
    krita.run(
        "sketch = document.createNode('Sketch', 'paintlayer')\n"
        "sketch.setPixelData(QtCore.QByteArray(bytes([0, 0, 0, 255]) * 400), 10, 20, 20, 20)\n"
        "document.rootNode().addChildNode(sketch, None)\n"
        "document.refreshProjection()\n"
        "part('scumble_lora_add').click(); part('scumble_control_add').click()"
    )
    krita.wait_until("part('scumble_control_layer').findText('Sketch') > 0", 20)
    krita.run(
        "pick('scumble_lora', 'Ink (sd1)'); part('scumble_lora_weight').setValue(0.35)\n"
        "pick('scumble_control', 'Edges (sd1)'); pick('scumble_control_layer', 'Sketch')\n"
        "pick('scumble_control_preprocessor', 'Black strokes'); part('scumble_control_end').setValue(60)"
    )
    slow.set("a house", steps=3)
    slow.generate()
    slow.wait_layers(3)
    request = slow.request_of_last_layer()
    assert request["loras"] == [{"id": "lora-1", "weight": 0.35}]
    control = {"id": "control-1", "image": [0, 0, 300, 200], "preprocessor": "invert", "weight": 1.0}
    assert request["controls"] == [{**control, "start": 0.0, "end": 0.6}]
    read = krita.run(
        "from scumble_krita.backstage import backstage\n"
        "from scumble_krita.lib.scumble.protocol.geometry import Bounds\n"
        "mine = backstage.workshop.documents.active()\n"
        "result = mine.read_layer(sketch.uniqueId().toString(), Bounds(29, 30, 2, 1))"
    )
    assert read == bytes([0, 0, 0, 255, 0, 0, 0, 0])
    krita.run("part('scumble_lora_remove').click(); part('scumble_control_remove').click()")


def test_a_textual_inversion_goes_into_the_prompt_where_the_cursor_is(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture(300, 200))
    slow.set("a house, at dusk", steps=1, mode="Refine picture")  # at full strength it would be made anew
    slow.click("scumble_prompt")
    krita.display.keys("ctrl+Home", "ctrl+Right")  # before "house"
    krita.run("pick('scumble_embedding', 'Oil-Style (sd1)')")
    assert krita.get("part('scumble_prompt').toPlainText()") == "a Oil-Style house, at dusk"
    krita.display.keys("ctrl+z")
    krita.wait_until("part('scumble_prompt').toPlainText() == 'a house, at dusk'", 10)
    slow.click("scumble_negative")
    krita.run("pick('scumble_embedding', 'Oil-Style (sd1)')")
    slow.says("Refine picture")
    slow.generate()
    slow.wait_layers(2)
    request = slow.request_of_last_layer()
    assert (request["mode"], request["strength"]) == ("img2img", 1.0)
    assert (request["prompt"], request["negative"]) == ("a house, at dusk", "Oil-Style")
    krita.run("part('scumble_negative').setPlainText('')")


def test_a_random_seed_is_shown_and_can_be_locked(slow: Docker) -> None:
    slow.new_document(picture())
    slow.krita.select(soft_mask(160, 120), 120, 80)
    slow.set("a house", steps=1)
    slow.krita.run("part('scumble_seed_locked').setChecked(False)")
    slow.says("Fill")
    names = []
    for count in (2, 3):
        slow.generate()
        names.append(slow.wait_layers(count)[-1])
        seed = slow.krita.get("part('scumble_seed').text()")
        assert names[-1] == f"a house ({seed})"
    assert names[0] != names[1]
    slow.krita.run("part('scumble_seed_locked').setChecked(True)")
    slow.generate()
    assert slow.wait_layers(4)[-1] == names[1]


def test_actions_generate_cancel_and_show_the_docker(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture())
    krita.select(soft_mask(160, 120), 120, 80)
    slow.set("slow", steps=30)
    slow.says("Fill")
    # Keys that Krita gives to nothing else: while that could be done, neither would be.
    keys = "Ctrl+Alt+Shift+Y"
    taken = "[other.text() for other in app.actions() if other.shortcut() == QtGui.QKeySequence(keys)]"
    assert krita.run(f"result = {taken}", keys=keys) == []
    krita.run("app.action('scumble_generate').setShortcut(QtGui.QKeySequence(keys))", keys=keys)
    krita.run("window.activateWindow()")
    krita.wait_until("window.isActiveWindow()", 20)  # else nobody hears the keys, for a moment on a busy machine
    krita.display.keys(keys.lower())
    krita.wait_until("part('scumble_progress').value() >= 1", 30)
    krita.run("app.action('scumble_toggle').trigger()")
    assert not krita.get("dock.isVisible()")
    krita.run("app.action('scumble_toggle').trigger()")
    assert krita.get("dock.isVisible()")
    krita.run("app.action('scumble_cancel').trigger()")
    krita.wait_until("not shows('scumble_cancel')", 30)
    assert slow.layers() == ["base"]


def test_an_action_takes_the_words_of_its_document_while_the_docker_is_hidden(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture(64, 48))
    slow.set("first", steps=1)
    krita.run("first, tabs = document, window.findChild(QtWidgets.QMdiArea); tab = tabs.activeSubWindow()")
    slow.new_document(picture(64, 48))
    slow.set("second", steps=1)
    krita.run("dock.hide(); tabs.setActiveSubWindow(tab)")
    krita.wait_until("app.activeDocument() == first", 20)
    krita.run("document = first; app.action('scumble_generate').trigger()")
    krita.wait_until("len(layers()) == 2", 30)
    krita.run("dock.show()")
    assert slow.layers() == ["base", "first (7)"]
    krita.wait_until("part('scumble_prompt').toPlainText() == 'first'", 20)


@pytest.mark.only("oldest")
def test_an_action_knows_what_was_remembered_before_the_docker_was_ever_shown(
    krita_install: Install, plugin_zip: Path, home: Home, slow_backend: Process, tmp_path: Path
) -> None:
    file = str(tmp_path / "kept.kra")
    krita = open_krita(krita_install, plugin_zip, home, tmp_path / "krita")
    with krita:
        docker = Docker(krita)
        docker.ready()
        docker.new_document(picture(64, 48))
        docker.set("kept words", steps=3)
        krita.wait_until("b'kept words' in document.annotation('scumble').data()", 10)
        krita.run("document.saveAs(file); document.waitForDone(); dock.hide()", file=file)
    with krita:
        krita.run(
            "document = app.openDocument(file); document.setBatchmode(True); app.activeWindow().addView(document)\n"
            "app.action('scumble_generate').trigger()",
            file=file,
        )
        krita.wait_until("len(document.rootNode().childNodes()) == 2", 60)
        assert krita.get("document.rootNode().childNodes()[-1].name()") == "kept words (7)"
        stored: bytes = krita.get("document.annotation('scumble')")
        (made,) = json.loads(stored)["layers"].values()
        assert made["request"]["steps"] == 3


def test_the_extend_action_grows_the_canvas_over_the_selection(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture())
    before = slow.visible()
    slow.set("sky", steps=1)
    krita.run(
        "from krita import Selection\n"
        "selection = Selection(); selection.select(300, 100, 196, 100, 255); document.setSelection(selection)"
    )
    krita.run("app.action('scumble_extend').trigger()")
    slow.wait_layers(2)
    after = slow.visible()
    assert after.shape == (300, 496, 4)
    assert (after[:, :400] == before).all()
    assert (after[..., 3] == 255).all()


def test_a_long_name_is_read_in_its_tooltip(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture())
    name = "A girl with an umbrella on a bridge, the second sketch"
    krita.run(
        "for name_ in (name, 'Sky'): document.rootNode().addChildNode(document.createNode(name_, 'paintlayer'), None)\n"
        "part('scumble_added').click(); part('scumble_region_add').click()",
        name=name,
    )
    krita.wait_until("part('scumble_region_layer').count() == 4", 10)
    for chosen, said in ((name, f"{name}\nWhere the layer is"), ("Sky", "Where the layer is")):
        krita.run("pick('scumble_region_layer', chosen); arrange('scumble_region_layer')", chosen=chosen)
        krita.run("QtWidgets.QToolTip.hideText(); box = part('scumble_region_layer'); place = box.rect().center()")
        x, y = krita.get("[box.mapToGlobal(place).x(), box.mapToGlobal(place).y()]")
        krita.display.point(x - 300, y)
        krita.display.point(x, y)
        krita.wait_until(f"QtWidgets.QToolTip.isVisible() and QtWidgets.QToolTip.text().startswith({said!r})", 10)
    krita.run("part('scumble_region_remove').click(); part('scumble_added').click()")


IN_SIGHT = """
scroll, = [area for area in dock.findChildren(QtWidgets.QScrollArea) if type(area) is QtWidgets.QScrollArea]
def in_sight(name, within=scroll.viewport()):
    # The top of a part of the docker, and if it is not higher than the docker, its end.
    top = part(name).mapTo(within, QtCore.QPoint(0, 0)).y()
    return top >= 0 and top + min(part(name).height(), 20) <= within.height()
strip = part("scumble_results")
def thumbnail_in_sight(row):
    return strip.viewport().rect().contains(strip.visualItemRect(strip.item(row)).center())
"""


def test_what_an_edit_says_is_in_sight_wherever_it_was_begun(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture())
    krita.run(IN_SIGHT)
    folds = ("advanced", "extend_fold", "upscale_fold")
    krita.run("for fold in folds: part('scumble_' + fold).click()", folds=folds)
    slow.set("slow boat", steps=50)
    krita.run("arrange('scumble_upscale'); assert not in_sight('scumble_generate')")
    slow.press("scumble_upscale")
    krita.wait_until("shows('scumble_progress') and in_sight('scumble_progress') and in_sight('scumble_cancel')", 20)
    slow.press("scumble_cancel")
    krita.wait_until("not shows('scumble_cancel')", 20)
    slow.set("oom")
    krita.run("arrange('scumble_upscale')")
    slow.press("scumble_upscale")
    slow.wait_notice("memory")
    krita.wait_until("in_sight('scumble_notice_message') and in_sight('scumble_notice_help')", 10)
    slow.press("scumble_notice_dismiss")
    # So is what a fold has, however far down it is.
    krita.run("arrange('scumble_history_fold'); part('scumble_history_fold').click()")
    krita.wait_until("in_sight('scumble_history') and in_sight('scumble_use_again')", 10)
    krita.run("for fold in folds: part('scumble_' + fold).click()", folds=(*folds, "history_fold"))


def test_the_image_that_is_shown_is_in_sight(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture())
    krita.run(IN_SIGHT)
    slow.set("boat", count=8, steps=1)
    slow.says("Generate")
    slow.generate()
    slow.wait_layers(2)
    for _ in range(6):
        krita.run("app.action('scumble_next').trigger()")
    krita.wait_until("thumbnail_in_sight(6) and not thumbnail_in_sight(0)", 10)
    slow.set("lake", count=2, steps=1)
    slow.generate()
    slow.wait_layers(3)
    krita.wait_until("thumbnail_in_sight(0)", 10)
    krita.wait_until("part('scumble_history').count() > 1", 10)
    enabled = "[part('scumble_' + name).isEnabled() for name in ('use_again', 'bring_back')]"
    krita.run("part('scumble_history').setCurrentRow(-1)")
    assert krita.get(enabled) == [False, False]
    krita.run("part('scumble_history').setCurrentRow(1)")  # the boats, of which the seventh is shown
    assert krita.get(enabled) == [True, True]
    slow.press("scumble_bring_back")
    krita.wait_until("thumbnail_in_sight(8) and not thumbnail_in_sight(0)", 10)


def test_tab_comes_to_a_line_where_it_is(slow: Docker) -> None:
    krita = slow.krita
    krita.run("part('scumble_added').click()")
    krita.run("for name in ('lora', 'lora', 'region'): part(f'scumble_{name}_add').click()")
    order = krita.run(
        "at, result = part('scumble_added'), []\n"
        "while at is not part('scumble_advanced'):\n"
        "    at = at.nextInFocusChain()\n"
        "    names = ('scumble_lora', 'scumble_region', 'scumble_control')\n"
        "    result += [at.objectName()] if at.objectName().startswith(names) else []"
    )
    lora, region = (["scumble_lora", "scumble_lora_weight", "scumble_lora_remove"],
                    ["scumble_region_layer", "scumble_region_remove", "scumble_region_prompt"])  # fmt: skip
    assert order == [*lora, *lora, "scumble_lora_add", "scumble_control_add", *region, "scumble_region_add"]
    krita.run(
        "for name in ('lora', 'region'):\n"
        "    for button in dock.findChildren(QtWidgets.QPushButton, f'scumble_{name}_remove'): button.click()\n"
        "part('scumble_added').click()"
    )


def test_thumbnails_have_every_pixel_of_a_fine_screen(slow: Docker) -> None:
    sizes = slow.krita.run(
        "from scumble_krita.panel import widgets\n"
        "result = []\n"
        "for ratio in (1.0, 1.5, 2.0):\n"
        "    image = widgets.picture(400, 300, bytes(480000), 72, ratio)\n"
        "    square = widgets.framed(image, dock.palette(), 4, True)\n"
        "    result.append([image.width(), image.height(), square.width(), square.devicePixelRatio()])"
    )
    assert sizes == [[72, 54, 76, 1], [108, 81, 114, 1.5], [144, 108, 152, 2]]


def test_a_ratio_fills_in_the_edges(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture())
    krita.wait_until("part('scumble_generate').text() != ''", 10)
    slow.set("sky", steps=1)
    slow.says("Generate")
    krita.run("pick('scumble_extend_ratio', '16')")
    edges = krita.get("[part('scumble_extend_' + side).value() for side in ('left', 'top', 'right', 'bottom')]")
    assert edges == [67, 0, 67, 0]
    slow.press("scumble_extend")
    slow.wait_layers(2)
    assert krita.get("[document.width(), document.height()]") == [534, 300]


def test_the_source_layer_may_go_while_its_edit_runs(slow: Docker) -> None:
    krita = slow.krita
    slow.new_document(picture())
    krita.run(
        "over = document.createGroupLayer('group'); inner = document.createNode('inner', 'paintlayer')\n"
        "inner.setPixelData(QtCore.QByteArray(bytes([0, 255, 0, 255]) * 120000), 0, 0, 400, 300)\n"
        "document.rootNode().addChildNode(over, None); over.addChildNode(inner, None)\n"
        "document.refreshProjection(); document.waitForDone()"
    )
    krita.select(soft_mask(160, 120), 120, 80)
    krita.run("document.setActiveNode(over)")
    krita.wait_until("document.activeNode().name() == 'group'", 10)
    slow.set("slow", steps=10)
    krita.run("pick('scumble_source', 'Active layer or group')")
    slow.says("Fill")
    slow.generate()
    krita.wait_until("part('scumble_progress').value() >= 1", 30)
    krita.run("over.remove(); document.waitForDone(); pick('scumble_source', 'Visible picture')")
    assert slow.wait_layers(2) == ["base", "slow (7)"]
    alpha = slow.layer()[..., 3]
    assert alpha[80:200, 120:280].max() == 255
    assert alpha.sum() == alpha[80:200, 120:280].sum()


def test_a_second_window_comes_and_goes(
    krita_install: Install, plugin_zip: Path, home: Home, slow_backend: Process, tmp_path: Path
) -> None:
    with open_krita(krita_install, plugin_zip, home, tmp_path / "krita") as krita:
        docker = Docker(krita)
        docker.ready()
        docker.new_document(picture())
        krita.select(soft_mask(160, 120), 120, 80)
        krita.run(
            "second = app.openWindow().qwindow(); second.show()\n"
            "other, = [d for d in second.findChildren(QtWidgets.QDockWidget) if d.objectName() == 'scumble_docker']\n"
            "other.setVisible(True)"
        )
        krita.wait_until("'Ready' in other.findChild(QtWidgets.QLabel, 'scumble_connection').text()", 20)
        # The other window is the active one now and has no document. What is written here is for the one shown here.
        krita.run("second.activateWindow()")
        krita.wait_until("app.activeDocument() is None", 20)
        time.sleep(1)  # the docker looks twice
        docker.set("a house", steps=1)
        krita.run("later(second.close)")
        krita.wait_until("len(app.windows()) == 1", 20)
        krita.run("import gc; second = other = None; gc.collect(); window.activateWindow()")
        krita.wait_until("document == app.activeDocument()", 20)
        docker.says("Fill")
        docker.generate()
        assert docker.wait_layers(2)[-1] == "a house (7)"
        assert krita.dialogs() == []
    # Krita has quit, and not crashed.


def test_nothing_raised_into_krita(slow: Docker) -> None:
    assert slow.krita.dialogs() == []
    assert not list((slow.krita.work.parent / "scumble" / "logs").glob("krita.log"))
