"""While an edit runs, and when something goes wrong meanwhile: progress, cancel, lost backends, closed and changed
documents. The engine is slow on purpose; the backend, its worker process and Krita are real."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scumble.home import Home

from tests.server.process import Process, process

from ..driver import wait_for
from ..installs import Install
from .conftest import open_krita
from .docker import Docker, Pixels, on_canvas, picture, soft_mask


def begin(docker: Docker, prompt: str, count: int = 1, steps: int = 10) -> None:
    """A document of 400 x 300 with a selection, and an edit that is being worked on."""
    docker.new_document(picture())
    docker.krita.select(soft_mask(160, 120), 120, 80)
    docker.set(prompt, count=count, steps=steps)
    docker.says("Fill")
    docker.generate()
    docker.krita.wait_until("part('scumble_progress').value() >= 1 or shows('scumble_notice') or len(layers()) > 1", 60)


def assert_in_place(docker: Docker) -> None:
    """The layer is what the edit of `begin` makes, where it began."""
    mask = on_canvas(soft_mask(160, 120), 120, 80, 400, 300)
    alpha = docker.layer()[:300, :400, 3]
    assert (alpha <= mask).all()
    assert (alpha[mask == 255] == 255).all()


def test_progress_preview_queue_and_cancel(slow: Docker) -> None:
    begin(slow, "slow", steps=30)
    slow.krita.wait_until("shows('scumble_preview') and ' left' in part('scumble_progress_words').text()", 30)
    slow.generate()
    slow.krita.wait_until("'1 more in the queue' in part('scumble_progress_words').text()", 30)
    slow.click("scumble_cancel")
    slow.krita.wait_until("'queue' not in part('scumble_progress_words').text()", 30)
    slow.click("scumble_cancel")
    slow.krita.wait_until("not shows('scumble_cancel')", 30)
    assert slow.layers() == ["base"]
    assert slow.notice() == ""


def test_a_cancel_is_seen_also_while_the_backend_is_away(slow: Docker) -> None:
    begin(slow, "slow", steps=30)
    slow.generate()
    slow.krita.wait_until("'1 more in the queue' in part('scumble_progress_words').text()", 30)
    pid = json.loads(Home(slow.krita.work.parent / "scumble").record.read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        slow.click("scumble_cancel")
        slow.krita.wait_until("'Cancelling' in part('scumble_progress_words').text()", 10)
        slow.click("scumble_cancel")  # the one in the queue
        slow.krita.wait_until("not part('scumble_cancel').isEnabled()", 10)
    finally:
        os.kill(pid, signal.SIGCONT)
    slow.krita.wait_until("not shows('scumble_cancel')", 30)
    assert slow.layers() == ["base"]
    assert slow.notice() == ""


def test_variants_are_shown_one_by_one_and_applied_into_a_group(slow: Docker) -> None:
    begin(slow, "three", count=3)
    assert slow.wait_layers(2)[-1] == "three (7)"
    slow.krita.run("app.action('scumble_next').trigger()")
    assert slow.layers() == ["base", "three (8)"]  # in place of the first, with no step to undo
    slow.krita.run("app.action('scumble_previous').trigger()")
    slow.krita.run("app.action('scumble_apply').trigger()")
    slow.krita.wait_until("document.activeNode().name() == 'three (7)'", 10)
    slow.krita.run("app.action('scumble_next').trigger()")  # from now on in layers of their own
    slow.krita.run(
        "strip = part('scumble_results'); place = strip.visualItemRect(strip.item(2)).center()\n"
        "QtTest.QTest.mouseClick(strip.viewport(), QtCore.Qt.MouseButton.LeftButton, pos=place)"
    )
    slow.krita.wait_until("[l.name() for l in layers()] == ['base', 'three (7)', 'three (9)']", 10)
    slow.click("scumble_apply")
    slow.krita.wait_until("len(layers()) == 2", 10)
    assert slow.krita.get("[l.name() for l in layers(layers()[-1])]") == ["three (7)", "three (9)"]
    slow.click("scumble_discard")  # what was applied stays
    slow.krita.wait_until("not shows('scumble_results')", 10)
    assert slow.krita.get("[l.name() for l in layers(layers()[-1])]") == ["three (7)", "three (9)"]


def test_apply_and_discard_mean_the_result_that_was_clicked(slow: Docker) -> None:
    begin(slow, "older", count=2)
    slow.wait_layers(2)
    slow.set("newer")
    slow.generate()
    assert slow.wait_layers(3) == ["base", "older (7)", "newer (7)"]
    slow.krita.run(
        "strip = part('scumble_results'); place = strip.visualItemRect(strip.item(2)).center()\n"
        "QtTest.QTest.mouseClick(strip.viewport(), QtCore.Qt.MouseButton.LeftButton, pos=place)"
    )
    slow.krita.wait_until("[l.name() for l in layers()] == ['base', 'older (8)', 'newer (7)']", 10)
    slow.click("scumble_discard")
    slow.krita.wait_until("[l.name() for l in layers()] == ['base', 'newer (7)']", 10)


def test_discard_takes_the_layer_and_the_grown_canvas_back(slow: Docker) -> None:
    slow.new_document(picture())
    before = slow.visible()
    slow.set("sky")
    slow.krita.run("part('scumble_extend_top').setValue(64)")
    slow.press("scumble_extend")
    slow.wait_layers(2)
    assert slow.krita.get("document.height()") == 364
    slow.click("scumble_discard")
    slow.krita.wait_until("document.height() == 300 and len(layers()) == 1", 10)
    np.testing.assert_array_equal(slow.visible(), before)


def test_a_killed_backend_comes_back_with_the_result(
    krita_install: Install, plugin_zip: Path, home: Home, slow_backend: Process, tmp_path: Path
) -> None:
    with open_krita(krita_install, plugin_zip, home, tmp_path / "krita") as krita:
        docker = Docker(krita)
        docker.ready()
        begin(docker, "slow", steps=20)
        slow_backend.end(signal.SIGKILL)
        krita.wait_until("'lost' in part('scumble_connection').text()", 30)
        with process(home):
            assert docker.wait_layers(2)[-1] == "slow (7)"
            assert krita.get("'Ready' in part('scumble_connection').text()")


def test_a_closed_document_loses_nothing(slow: Docker) -> None:
    begin(slow, "slow", steps=10)
    slow.krita.run("document.setModified(False); document.close()")
    slow.wait_notice("closed.*Open as document")
    slow.new_document(picture(64, 48), "other")
    slow.click("scumble_notice_help")
    slow.krita.wait_until("app.activeDocument() is not None and app.activeDocument().width() == 400", 20)
    slow.krita.run("document = app.activeDocument(); document.setBatchmode(True)")
    slow.krita.wait_until("[l.name() for l in layers()] == ['slow (7)']", 20)
    assert slow.krita.get("[document.width(), document.height()]") == [400, 300]
    assert_in_place(slow)


def test_the_layer_follows_a_canvas_that_is_resized_meanwhile(slow: Docker) -> None:
    slow.new_document(picture())
    slow.krita.run(
        "dot = document.createNode('dot', 'paintlayer')\n"
        "dot.setPixelData(QtCore.QByteArray(bytes([0, 0, 255, 255]) * 100), 30, 40, 10, 10)\n"
        "document.rootNode().addChildNode(dot, None); document.refreshProjection(); document.waitForDone()"
    )
    slow.krita.select(soft_mask(160, 120), 120, 80)
    slow.set("slow", steps=10)
    slow.says("Fill")
    slow.generate()
    slow.krita.wait_until("part('scumble_progress').value() >= 1", 60)
    slow.krita.run("document.resizeImage(-25, -15, 500, 400); document.waitForDone()")
    slow.wait_layers(3)
    alpha = slow.layer()[..., 3]
    assert alpha.shape == (400, 500)
    rows, columns = np.nonzero(alpha)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (96, 213, 146, 303)


def test_the_layer_follows_a_crop_of_a_picture_with_one_layer(slow: Docker) -> None:
    begin(slow, "slow", steps=10)
    slow.krita.run("document.crop(40, 30, 300, 220); document.waitForDone()")
    slow.wait_layers(2)
    alpha = slow.layer()[..., 3]
    assert alpha.shape == (220, 300)
    rows, columns = np.nonzero(alpha)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (51, 168, 81, 238)


def test_the_layer_follows_a_picture_that_is_scaled_meanwhile(slow: Docker) -> None:
    begin(slow, "slow", steps=10)
    slow.krita.run("document.scaleImage(600, 600, 72, 72, 'Bicubic'); document.waitForDone()")
    slow.wait_layers(2)
    alpha = slow.layer()[..., 3]
    assert alpha.shape == (600, 600)
    mask = on_canvas(soft_mask(160, 120), 120, 80, 400, 300)
    wanted = np.asarray(Image.fromarray(mask).resize((600, 600), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(alpha - wanted).max() <= 24
    rows, columns = np.nonzero(alpha)
    assert (rows.min() // 2, rows.max() // 2, columns.min(), columns.max()) == pytest.approx((81, 198, 182, 417), abs=2)


def test_a_canvas_that_has_changed_in_unknown_ways_asks(slow: Docker) -> None:
    begin(slow, "slow", steps=10)
    slow.krita.run("document.scaleImage(410, 305, 72, 72, 'Bicubic'); document.waitForDone()")
    slow.wait_notice("canvas was changed.*Insert anyway")
    assert slow.layers() == ["base"]
    slow.click("scumble_notice_help")
    slow.krita.wait_until("len(layers()) == 2", 20)
    assert_in_place(slow)


@pytest.mark.parametrize(
    ("act", "turned"),
    [
        ("mirrorImageHorizontal", np.fliplr),
        ("mirrorImageVertical", np.flipud),
        ("rotateImage180", lambda mask: mask[::-1, ::-1]),
    ],
)
def test_the_layer_follows_a_picture_that_was_flipped_or_turned(
    slow: Docker, act: str, turned: Callable[[Pixels], Pixels]
) -> None:
    begin(slow, "slow", steps=10)
    slow.krita.run(f"app.action('{act}').trigger(); document.waitForDone()")
    slow.wait_layers(2)
    mask = turned(on_canvas(soft_mask(160, 120), 120, 80, 400, 300))
    alpha = slow.layer()[:300, :400, 3]
    assert (alpha <= mask).all()
    assert (alpha[mask == 255] == 255).all()
    assert slow.notice() == ""


def test_the_layer_follows_a_picture_that_was_moved_on_its_canvas(slow: Docker) -> None:
    begin(slow, "slow", steps=10)
    slow.krita.run("document.resizeImage(-25, 15, 400, 300); document.waitForDone()")
    slow.wait_layers(2)
    rows, columns = np.nonzero(slow.layer()[..., 3])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (66, 183, 146, 303)


def test_the_artist_paints_on_meanwhile_and_afterwards(slow: Docker) -> None:
    begin(slow, "slow", steps=15)
    stroke(slow, -30)
    assert slow.krita.get("shows('scumble_cancel')")  # it still runs
    assert slow.wait_layers(2) == ["base", "slow (7)"]
    assert_in_place(slow)
    slow.krita.wait_until("document.activeNode().name() == 'base'", 10)
    result = slow.layer()
    stroke(slow, 30)
    np.testing.assert_array_equal(slow.layer(), result)


def test_a_stroke_goes_on_while_a_result_comes(slow: Docker) -> None:
    slow.new_document(picture())
    slow.set("slow", steps=5)
    slow.generate()
    slow.krita.wait_until("part('scumble_progress').value() >= 1", 30)
    x, y = slow.krita.run(
        "area = window.centralWidget(); middle = area.mapToGlobal(area.rect().center()); result = [middle.x(), middle.y()]"
    )

    def wait_for_result() -> None:
        slow.krita.wait_until("not shows('scumble_cancel')", 30)
        time.sleep(0.5)

    slow.krita.display.drag(x - 60, y, 120, 0, wait_for_result)
    assert slow.wait_layers(2) == ["base", "slow (7)"]
    slow.krita.run("document.waitForDone()")
    (columns,) = np.nonzero((slow.layer(0) != picture()).any((0, 2)))
    assert abs(columns.min() + columns.max() - 400) < 10  # as far to the right of the middle as to the left


def stroke(docker: Docker, down: int) -> None:
    """A real stroke of the brush on the lowest layer, so far below the middle of the view."""
    pixels = "layers()[0].pixelData(0, 0, document.width(), document.height())"
    x, y = docker.krita.run(
        "area = window.centralWidget(); middle = area.mapToGlobal(area.rect().center())\n"
        f"result = [middle.x(), middle.y()]; before = {pixels}"
    )
    docker.krita.display.drag(x - 30, y + down, 60, 0)
    docker.krita.wait_until(f"{pixels} != before", 10)
    docker.krita.run("document.waitForDone()")


def test_two_documents_each_get_their_own(slow: Docker) -> None:
    begin(slow, "slow one", steps=10)
    slow.krita.run("first = document")
    slow.new_document(picture(320, 200), "second")
    slow.krita.select(soft_mask(60, 50), 20, 10)
    slow.krita.wait_until("'another document' in part('scumble_progress_words').text()", 20)
    slow.set("slow two", steps=4)
    slow.says("Fill")
    slow.generate()
    assert slow.wait_layers(2)[-1] == "slow two (7)"
    assert slow.krita.get("[l.name() for l in layers(first.rootNode())]") == ["base", "slow one (7)"]
    slow.krita.run(
        "view, = [v for v in app.activeWindow().views() if v.document() == first]\n"
        "app.activeWindow().showView(view); view.setVisible()\n"
        "later(lambda: app.setActiveDocument(first))"
    )
    slow.krita.wait_until("part('scumble_prompt').toPlainText() == 'slow one'", 20)


def test_errors_are_said_in_words_with_one_button_that_helps(slow: Docker) -> None:
    slow.new_document(picture())
    slow.set("nothing selected", mode="Fill")
    slow.generate()
    slow.wait_notice("needs a selection")
    slow.click("scumble_notice_dismiss")
    slow.krita.wait_until("not shows('scumble_notice')", 10)
    begin(slow, "oom")
    slow.wait_notice("memory.*Try again")
    slow.krita.run("part('scumble_prompt').setPlainText('fine')")
    slow.click("scumble_notice_help")  # the same edit once more, and the same end
    slow.wait_notice("memory.*Try again")
    slow.generate()
    slow.krita.wait_until("len(layers()) == 2", 60)
    assert slow.notice() == ""
    assert slow.krita.dialogs() == []


def test_history_fills_the_panel_and_brings_images_back(slow: Docker) -> None:
    begin(slow, "a house", steps=4)
    slow.wait_layers(2)
    slow.click("scumble_discard")
    slow.krita.wait_until("len(layers()) == 1", 10)
    slow.krita.run("part('scumble_prompt').setPlainText(''); part('scumble_seed_locked').setChecked(False)")
    slow.krita.wait_until("part('scumble_history').item(0).text() == 'a house'", 20)
    slow.krita.run("part('scumble_history').setCurrentRow(0); part('scumble_use_again').click()")
    assert slow.krita.get("part('scumble_prompt').toPlainText(), part('scumble_seed').text()") == ["a house", "7"]
    slow.krita.run("part('scumble_bring_back').click()")
    slow.krita.wait_until("shows('scumble_results')", 20)
    slow.click("scumble_notice_help")
    slow.krita.wait_until("[l.name() for l in layers()] == ['base', 'a house (7)']", 20)


def test_keys_in_the_prompt(slow: Docker) -> None:
    slow.new_document(picture())
    slow.krita.select(soft_mask(160, 120), 120, 80)
    slow.set("")
    slow.click("scumble_prompt")
    slow.krita.display.type("a red dress")
    slow.krita.display.keys("ctrl+Up", "ctrl+Up")
    slow.krita.wait_until("part('scumble_prompt').toPlainText() == 'a red (dress:1.2)'", 10)
    slow.krita.display.keys("ctrl+Return")
    assert slow.wait_layers(2)[-1] == "a red (dress:1.2) (7)"
    slow.set("\U0001f338 red dress")  # an emoji counts as two places in Qt
    slow.click("scumble_prompt")
    slow.krita.display.keys("ctrl+End", "ctrl+Up", "ctrl+Up")
    slow.krita.wait_until("part('scumble_prompt').toPlainText() == '\U0001f338 red (dress:1.2)'", 10)


def test_a_killed_krita_finds_its_result_at_the_next_start(
    krita_install: Install, plugin_zip: Path, home: Home, slow_backend: Process, tmp_path: Path
) -> None:
    with open_krita(krita_install, plugin_zip, home, tmp_path / "krita") as krita:
        docker = Docker(krita)
        docker.ready()
        begin(docker, "slow", steps=15)
        krita.crash()
    with open_krita(krita_install, plugin_zip, home, tmp_path / "again") as krita:
        docker = Docker(krita)
        docker.ready_or_told()
        assert krita.get("part('scumble_steps').value()") == 15  # remembered for all documents
        docker.new_document(picture())
        docker.wait_notice("earlier session.*Insert")
        docker.click("scumble_notice_help")
        krita.wait_until("[l.name() for l in layers()] == ['base', 'slow (7)']", 20)
        assert_in_place(docker)


@pytest.mark.only("newest")
def test_a_long_first_look_at_the_models_is_told(
    krita_install: Install, plugin_zip: Path, home: Home, tmp_path: Path
) -> None:
    looked = tmp_path / "looked"
    with (
        process(home, SCUMBLE_TEST_LOOK=str(looked)),
        open_krita(krita_install, plugin_zip, home, tmp_path / "krita") as krita,
    ):
        docker = Docker(krita)
        krita.wait_until("'Looking through the models: 1,234 of 3,000' in part('scumble_connection').text()", 30)
        krita.screenshot("docker-looking")
        assert docker.notice() == ""
        looked.touch()
        docker.ready()


def test_no_backend_is_said_and_mended(krita_install: Install, plugin_zip: Path, home: Home, tmp_path: Path) -> None:
    with open_krita(krita_install, plugin_zip, home, tmp_path / "krita") as krita:
        docker = Docker(krita)
        docker.wait_notice("not installed.*Try again")
        home.installation.write_text(json.dumps({"python": str(krita_install.machine_python(tmp_path))}))
        docker.click("scumble_notice_help")
        krita.wait_until("not shows('scumble_notice')", 90)  # the one that was there; another one would be a failure
        docker.ready()
        assert docker.notice() == ""
        record = json.loads(home.record.read_text())
        wait_for(lambda: os.path.exists(f"/proc/{record['pid']}"), 5, "the backend that the plug-in has started")
