"""Layers that an edit takes beside the picture, and what an edit is said to mean, from clicks in the docker to what the
backend has on its disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scumble.editing.plan import Source
from scumble.protocol.messages import EditRequest
from scumble.server.worker import unpack

from ..driver import wait_for
from .docker import Docker, Pixels, picture, soft_mask

LOOK_AT, BARN_AT = (40, 30), (-20, 90)
"""Where the layers of `open_document` have pixels, from their left and top."""


@pytest.fixture
def docker(slow: Docker) -> Docker:
    """With the section open, and without rows."""
    slow.krita.run("part('scumble_added').click() if not shows('scumble_region_add') else None")
    clear(slow)
    return slow


def clear(docker: Docker) -> None:
    """Takes all references and regions away, and the tick before the cut-out."""
    docker.krita.run(
        "for cross in dock.findChildren(QtWidgets.QPushButton):\n"
        "    cross.click() if cross.objectName() in ('scumble_reference_remove', 'scumble_region_remove') else None\n"
        "part('scumble_transparent').setChecked(False)"
    )


def look() -> Pixels:
    """50 x 60 px, every one another."""
    rows, columns = np.mgrid[:60, :50].astype(np.uint8)
    return np.dstack([rows, columns, rows ^ columns, np.full_like(rows, 255)])


def barn() -> Pixels:
    """200 x 80 px of any alpha."""
    rows, columns = np.mgrid[:80, :200]
    return np.dstack([np.full_like(rows, 7)] * 3 + [(rows * columns) % 255 + 1]).astype(np.uint8)


def open_document(docker: Docker) -> None:
    """A picture of 300 x 200; above it, hidden, a layer Look, and a group Barn whose layer begins left of the canvas."""
    docker.new_document(picture(300, 200))
    for name, pixels, (x, y) in (("Look", look(), LOOK_AT), ("Boards", barn(), BARN_AT)):
        docker.krita.run(
            "made = document.createNode(name, 'paintlayer')\n"
            "made.setPixelData(QtCore.QByteArray(pixels), x, y, width, height)\n"
            "if name == 'Boards':\n"
            "    group = document.createGroupLayer('Barn'); group.addChildNode(made, None); made = group\n"
            "made.setVisible(False); document.rootNode().addChildNode(made, None)\n"
            "document.refreshProjection(); document.waitForDone()",
            name=name,
            pixels=np.ascontiguousarray(pixels[..., [2, 1, 0, 3]]).tobytes(),
            x=x,
            y=y,
            width=pixels.shape[1],
            height=pixels.shape[0],
        )
    docker.krita.wait_until("part('scumble_generate').text() != ''", 20)


def fill_in(docker: Docker) -> None:
    """A reference of Look, and a region where Barn is, by clicks and keys."""
    docker.click("scumble_reference_add")
    docker.click("scumble_region_add")
    docker.krita.wait_until("part('scumble_region_layer').findText('Barn') > 0", 20)
    docker.krita.run(
        "pick('scumble_reference', 'Look (sd1)'); pick('scumble_reference_layer', 'Look')\n"
        "part('scumble_reference_weight').setValue(0.65)\n"
        "part('scumble_reference_start').setValue(10); part('scumble_reference_end').setValue(80)\n"
        "pick('scumble_region_layer', 'Barn')"
    )
    docker.click("scumble_region_prompt")
    docker.krita.display.type("a barn")
    docker.krita.wait_until("part('scumble_region_prompt').toPlainText() == 'a barn'", 20)


def submitted(docker: Docker) -> tuple[EditRequest, Source]:
    """What the backend has got of the edit that is running."""
    jobs = Path(docker.krita.work.parent / "scumble" / "jobs")
    (file,) = wait_for(lambda: list(jobs.glob("*.submit")), 30, "the edit to arrive")
    return unpack(file.read_bytes())


def test_a_reference_and_a_region_arrive_with_their_layers_pixels(docker: Docker) -> None:
    open_document(docker)
    docker.set("slow", steps=15)
    fill_in(docker)
    docker.krita.display.keys("ctrl+Return")  # in the region's prompt
    request, source = submitted(docker)
    (reference,) = request.references
    assert (reference.id, reference.weight, reference.start, reference.end) == ("reference-1", 0.65, 0.1, 0.8)
    np.testing.assert_array_equal(source.references[0], look())  # all of it, and nothing else
    assert [(region.prompt, region.mask) for region in request.regions] == [("a barn", (0, 0, 300, 200))]
    mask = np.zeros((200, 300), np.uint8)
    mask[90:170, :180] = barn()[:, 20:, 3]
    np.testing.assert_array_equal(source.regions[0], mask)
    docker.wait_layers(4)


def test_a_region_lies_where_the_edit_s_picture_does(docker: Docker) -> None:
    """With a selection only a part of a large picture is sent, and of the layer the same part."""
    docker.new_document(picture(2400, 1800))
    docker.krita.run(
        "made = document.createNode('Spot', 'paintlayer')\n"
        "made.setPixelData(QtCore.QByteArray(bytes([0, 0, 0, 200]) * 1500), 1250, 910, 50, 30)\n"
        "document.rootNode().addChildNode(made, None); document.refreshProjection()"
    )
    docker.krita.select(soft_mask(160, 120), 1200, 900)
    docker.set("slow", steps=15)
    docker.says("Fill")
    docker.click("scumble_region_add")
    docker.krita.run("part('scumble_region_prompt').setPlainText('a star'); pick('scumble_region_layer', 'Spot')")
    docker.generate()
    request, source = submitted(docker)
    area = request.regions[0].mask
    assert area == request.image
    assert area.size == (1024, 1024)
    whole = np.zeros((1800, 2400), np.uint8)
    whole[910:940, 1250:1300] = 200
    np.testing.assert_array_equal(source.regions[0], whole[area.slices()])
    docker.wait_layers(3)


def test_what_is_not_there_is_said_and_nothing_is_sent(docker: Docker) -> None:
    open_document(docker)
    docker.set("a house", steps=1)
    fill_in(docker)
    docker.krita.run("document.nodeByName('Look').remove(); document.waitForDone()")
    docker.generate()
    docker.wait_notice("A layer that was chosen is gone")
    assert docker.layers() == ["base", "Barn"]
    docker.krita.run(
        "bare = document.createNode('Bare', 'paintlayer'); document.rootNode().addChildNode(bare, None)\n"
        "document.waitForDone()"
    )
    docker.krita.wait_until("part('scumble_reference_layer').findText('Bare') > 0", 20)
    docker.krita.run("pick('scumble_reference_layer', 'Bare')")
    docker.generate()
    docker.wait_notice("nothing on the layer Bare")
    docker.click("scumble_notice_dismiss")
    docker.click("scumble_reference_remove")
    docker.krita.run("part('scumble_region_prompt').setPlainText(' ')")  # does not count without words
    docker.generate()
    docker.wait_layers(4)
    request = docker.request_of_last_layer()
    assert (request["references"], request["regions"]) == ([], [])


def test_rows_come_back_with_the_document_and_from_history(docker: Docker) -> None:
    open_document(docker)
    docker.set("a house of its own", steps=1, mode="Refine picture")
    docker.krita.run("part('scumble_transparent').setChecked(True)")
    fill_in(docker)
    docker.generate()
    docker.wait_layers(4)
    first = docker.request_of_last_layer()
    assert first["transparent"] is True
    file = str(docker.krita.work / "added.kra")
    docker.krita.run("document.saveAs(file); document.waitForDone(); document.close()", file=file)
    docker.new_document(picture(64, 48))
    docker.set("another", steps=1)
    names = "{w.objectName() for w in dock.findChildren(QtWidgets.QComboBox)}"
    docker.krita.wait_until(f"not {names} & {{'scumble_reference', 'scumble_region_layer'}}", 20)  # they need layers
    clear(docker)
    docker.krita.run(
        "document = app.openDocument(file); document.setBatchmode(True); app.activeWindow().addView(document)"
    )
    docker.krita.wait_until("part('scumble_prompt').toPlainText() == 'a house of its own'", 20)
    said = "[part('scumble_' + name).currentText() for name in ('reference', 'reference_layer', 'region_layer')]"
    docker.krita.wait_until(f"{said} == ['Look (sd1)', 'Look', 'Barn']", 20)
    assert docker.krita.get("part('scumble_region_prompt').toPlainText()") == "a barn"
    assert docker.krita.get("part('scumble_transparent').isChecked()")
    docker.generate()
    docker.wait_layers(5)
    assert docker.request_of_last_layer() == first

    # Without rows nobody knows which layers they were.
    clear(docker)
    docker.krita.wait_until("part('scumble_history').item(0).text() == 'a house of its own'", 20)
    docker.krita.run("part('scumble_history').setCurrentRow(0); part('scumble_use_again').click()")
    docker.krita.wait_until(f"{said} == ['Look (sd1)', 'Not found', 'Not found']", 20)
    assert docker.krita.get("part('scumble_transparent').isChecked()")
    docker.krita.run("pick('scumble_reference_layer', 'Look')")
    docker.generate()
    docker.wait_notice("A layer that was chosen is gone")
    docker.krita.run("part('scumble_notice_dismiss').click(); pick('scumble_region_layer', 'Barn')")
    docker.generate()
    docker.wait_layers(6)
    assert docker.request_of_last_layer() == first


def test_add_starts_from_grey_and_remove_from_no_words(docker: Docker) -> None:
    docker.new_document(picture())
    docker.krita.select(soft_mask(160, 120), 120, 80)
    for words, mode, prefill, prompt in (("Add", "fill", "neutral", "a house"), ("Remove", "remove", "auto", "")):
        docker.set("a house", strength=100, steps=1, mode=words)
        docker.says(words)
        docker.generate()
        docker.wait_layers(2 if words == "Add" else 3)
        request = docker.request_of_last_layer()
        assert (request["mode"], request["prefill"], request["prompt"]) == (mode, prefill, prompt)
    assert docker.layers()[1:] == ["a house (7)", "Remove (7)"]
    docker.krita.wait_until("part('scumble_history').item(1).text() == 'a house'", 20)
    docker.krita.run("part('scumble_history').setCurrentRow(1); part('scumble_use_again').click()")
    docker.says("Add")
    docker.set()


def test_a_textual_inversion_goes_into_a_region_s_words_while_there_are_any(docker: Docker) -> None:
    docker.new_document(picture(300, 200))
    docker.set("a house", steps=1)
    docker.click("scumble_region_add")
    docker.click("scumble_region_prompt")
    docker.krita.display.type("a star")
    docker.krita.display.keys("Return")
    docker.krita.run("pick('scumble_embedding', 'Oil-Style (sd1)')")
    docker.krita.wait_until("part('scumble_region_prompt').toPlainText() == 'a star Oil-Style'", 20)
    docker.click("scumble_region_remove")
    docker.krita.run("pick('scumble_embedding', 'Oil-Style (sd1)')")
    assert docker.krita.get("part('scumble_prompt').toPlainText()") in ("a house Oil-Style", "Oil-Style a house")
    docker.set()


def test_nothing_raised_into_krita(slow: Docker) -> None:
    assert slow.krita.dialogs() == []
    assert not list((slow.krita.work.parent / "scumble" / "logs").glob("krita.log"))
