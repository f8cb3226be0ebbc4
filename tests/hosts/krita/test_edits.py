"""Every kind of edit in the real Krita with the real engines: nothing outside the selection changes, and the layer sits
to the pixel. One Krita for all tests of this file, a document for each."""

from __future__ import annotations

import numpy as np
import pytest
from scumble.home import Home

from ..driver import wait_for
from .docker import Docker, on_canvas, picture, soft_mask

AT = (120, 80, 160, 120)
"""x, y, width and height of the selection."""


@pytest.fixture
def docker(real: Docker) -> Docker:
    return real


def select(docker: Docker) -> np.ndarray:
    """A soft selection; the same over the whole canvas of 400 x 300."""
    x, y, width, height = AT
    mask = soft_mask(width, height)
    docker.krita.select(mask, x, y)
    return on_canvas(mask, x, y, 400, 300)


def activate(docker: Docker, node: str) -> None:
    """Krita makes a new node the active one by itself, some time after it was added."""
    docker.krita.wait_until(f"document.setActiveNode({node}) or document.activeNode() == {node}", 10)


def assert_untouched_outside(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> None:
    np.testing.assert_array_equal(after[mask == 0], before[mask == 0])
    assert (after[mask == 255] != before[mask == 255]).any()


def test_fill_keeps_a_soft_selection_soft_and_goes_in_one_step(docker: Docker) -> None:
    docker.new_document(picture())
    before, mask = docker.visible(), select(docker)
    docker.set()
    docker.says("Remove")
    docker.generate()
    names = docker.wait_layers(2)
    assert names == ["base", "Remove (7)"]
    alpha = docker.layer()[..., 3]
    assert (alpha <= mask).all()
    assert (alpha[mask == 255] == 255).all()
    assert_untouched_outside(before, docker.visible(), mask)
    docker.krita.wait_until("document.activeNode().name() == 'base'", 10)
    docker.undo()
    assert docker.layers() == ["base"]
    np.testing.assert_array_equal(docker.visible(), before)


def test_the_active_layer_s_local_selection_is_kept_to(docker: Docker) -> None:
    docker.new_document(picture())
    before, mask = docker.visible(), select(docker)
    docker.krita.run("app.action('add_new_selection_mask').trigger(); document.waitForDone()")
    docker.krita.wait_until("document.selection() is None and app.action('deselect').isEnabled()", 10)
    docker.set()
    docker.says("Remove")
    docker.generate()
    docker.wait_layers(2)
    assert_untouched_outside(before, docker.visible(), mask)
    docker.krita.run("app.action('deselect').trigger()")
    docker.says("Generate")


def test_remove_cares_for_neither_the_words_nor_the_model_that_follows_them(docker: Docker) -> None:
    layers = []
    for prompt, mode, model in (("", "Automatic", "Automatic"), ("a red dress", "Remove", "tiny")):
        docker.new_document(picture())
        select(docker)
        docker.set(prompt, mode=mode)
        docker.krita.run(f"pick('scumble_model', '{model}')")
        docker.says("Remove")
        docker.generate()
        assert docker.wait_layers(2)[-1] == "Remove (7)"
        layers.append(docker.layer())
    docker.krita.run("pick('scumble_model', 'Automatic')")
    np.testing.assert_array_equal(*layers)


def test_refine_at_half_strength(docker: Docker) -> None:
    docker.new_document(picture())
    before, mask = docker.visible(), select(docker)
    docker.set("a red dress", strength=50, steps=4)
    docker.says("Refine")
    docker.generate()
    assert docker.wait_layers(2)[-1] == "a red dress (7)"
    assert_untouched_outside(before, docker.visible(), mask)


def test_another_variant_takes_the_place_of_the_one_that_is_shown(docker: Docker) -> None:
    docker.new_document(picture())
    before, mask = docker.visible(), select(docker)
    docker.set("a red dress", strength=60, steps=2, count=2)
    docker.generate()
    docker.wait_layers(2)
    first = docker.visible()
    docker.krita.run("app.action('scumble_next').trigger()")
    assert docker.layers() == ["base", "a red dress (8)"]
    second = docker.visible()
    assert (second != first).any()
    assert_untouched_outside(before, second, mask)
    docker.krita.run("app.action('scumble_previous').trigger()")
    np.testing.assert_array_equal(docker.visible(), first)
    docker.undo()
    np.testing.assert_array_equal(docker.visible(), before)


def test_extend_by_numbers_grows_the_canvas_and_keeps_the_picture(docker: Docker) -> None:
    docker.new_document(picture())
    before = docker.visible()
    docker.set()
    docker.krita.run("part('scumble_extend_left').setValue(48); part('scumble_extend_bottom').setValue(40)")
    docker.press("scumble_extend")
    docker.wait_layers(2)
    after = docker.visible()
    assert after.shape == (340, 448, 4)
    np.testing.assert_array_equal(after[:300, 48:], before)
    assert (after[..., 3] == 255).all()
    assert (docker.layer()[:300, 48:, 3] == 0).all()
    docker.undo()
    docker.undo()
    assert docker.krita.get("[document.width(), document.height()]") == [400, 300]
    np.testing.assert_array_equal(docker.visible(), before)
    # Used again it is by numbers once more, and not a mode that asks for a selection.
    docker.krita.wait_until("part('scumble_history').count() > 0", 20)
    docker.krita.run("part('scumble_history').setCurrentRow(0); part('scumble_use_again').click()")
    sides = "[part('scumble_extend_' + side).value() for side in ('left', 'top', 'right', 'bottom')]"
    assert docker.krita.get(sides) == [48, 0, 0, 40]
    assert docker.krita.get("part('scumble_mode').currentData()") == ""
    assert docker.krita.get("part('scumble_extend').isVisible()")
    # What is in the docker would be so for the next test, too.
    docker.krita.run(
        "part('scumble_model').setCurrentIndex(0); part('scumble_extend_fold').click()\n"
        "for side in ('left', 'top', 'right', 'bottom'): part('scumble_extend_' + side).setValue(0)"
    )


def test_a_selection_over_empty_canvas_extends(docker: Docker) -> None:
    pixels = picture()
    pixels[:, 300:] = 0
    docker.new_document(pixels)
    before = docker.visible()
    mask = np.full((300, 120), 255, np.uint8)
    docker.krita.select(mask, 280, 0)
    docker.set()
    docker.says("Extend")
    docker.generate()
    docker.wait_layers(2)
    after = docker.visible()
    np.testing.assert_array_equal(after[:, :280], before[:, :280])
    assert (after[..., 3] == 255).all()


def test_the_whole_picture_without_a_selection(docker: Docker) -> None:
    docker.new_document(picture(256, 192))
    before = docker.visible()
    docker.set("a storm", strength=60, steps=4)
    docker.says("Refine picture")
    docker.generate()
    docker.wait_layers(2)
    assert (docker.layer()[..., 3] == 255).all()
    assert (docker.visible() != before).any()
    docker.undo()
    np.testing.assert_array_equal(docker.visible(), before)


def test_from_nothing_in_an_empty_document(docker: Docker) -> None:
    docker.new_document(np.zeros((192, 256, 4), np.uint8))
    docker.set("a storm", steps=4)
    docker.says("Generate")
    docker.generate()
    docker.wait_layers(2)
    painted = docker.layer()
    assert (painted[..., 3] == 255).all()
    assert painted[..., :3].std() > 1


SPACES = [
    ("RGBA", "U16", ""), ("RGBA", "F32", ""), ("RGBA", "U8", "Rec2020-elle-V4-g10.icc"), ("CMYKA", "U8", ""),
    ("GRAYA", "U8", ""), ("LABA", "U16", ""),
]  # fmt: skip


@pytest.mark.parametrize(("model", "depth", "profile"), SPACES, ids=["rgb16", "float", "wide", "cmyk", "grey", "lab"])
def test_documents_of_other_depths_and_models(docker: Docker, model: str, depth: str, profile: str) -> None:
    flat = np.full((300, 400, 4), (90, 140, 120, 255), np.uint8)
    docker.new_document(flat)
    docker.krita.run(
        "assert not profile or profile in app.profiles(model, depth), app.profiles(model, depth)\n"
        "document.setColorSpace(model, depth, profile); document.refreshProjection(); document.waitForDone()",
        model=model,
        depth=depth,
        profile=profile,
    )
    mask = select(docker)
    before, raw = docker.visible(), all_bytes(docker)
    docker.set()
    docker.says("Remove")
    docker.generate()
    docker.wait_layers(2)
    space = "[holder.colorModel(), holder.colorDepth(), holder.colorProfile()]"
    assert docker.krita.get(space.replace("holder", "layers()[-1]")) == docker.krita.get(
        space.replace("holder", "document")
    )
    np.testing.assert_array_equal(all_bytes(docker)[mask == 0], raw[mask == 0])
    # The filling continues the one colour that is all around: no conversion has shifted it, apart from what Krita's own
    # way to CMYK and back loses (perceptual: 12 of 255 for this colour).
    shift = np.abs(docker.visible().astype(int) - before)[mask == 255].mean(0).max()
    assert shift <= (20 if model == "CMYKA" else 8)
    docker.krita.run("layers()[0].setVisible(False)")
    alpha = docker.visible()[..., 3]
    assert (alpha <= mask).all()
    assert (alpha[mask == 255] == 255).all()
    docker.krita.run("layers()[0].setVisible(True)")
    docker.undo()
    assert docker.layers() == ["base"]
    np.testing.assert_array_equal(all_bytes(docker), raw)


def all_bytes(docker: Docker) -> np.ndarray:
    """The visible picture in the document's own space: 300 x 400 x bytes of a pixel."""
    data = docker.krita.run(
        "document.refreshProjection(); document.waitForDone(); result = document.pixelData(0, 0, 400, 300)"
    )
    return np.frombuffer(data, np.uint8).reshape(300, 400, -1)


@pytest.mark.parametrize("active", ["layer", "add_new_transparency_mask", "add_new_transform_mask"])
def test_the_source_may_be_the_active_layer_also_by_its_mask(docker: Docker, active: str) -> None:
    docker.new_document(picture())
    docker.krita.run(
        "cover = document.createNode('cover', 'paintlayer')\n"
        "cover.setPixelData(QtCore.QByteArray(bytes([0, 255, 0, 255]) * 120000), 0, 0, 400, 300)\n"
        "document.rootNode().addChildNode(cover, None)\n"
        "document.refreshProjection(); document.waitForDone()"
    )
    activate(docker, "cover")
    activate(docker, "layer")
    if active != "layer":
        docker.krita.run(f"app.action({active!r}).trigger()")  # while nothing is selected, it hides nothing
        docker.krita.wait_until("document.activeNode().type().endswith('mask')", 10)
    docker.krita.run("chosen = document.activeNode()")
    mask = select(docker)
    activate(docker, "chosen")
    docker.set()
    docker.krita.run("pick('scumble_source', 'Active layer or group')")
    docker.generate()
    docker.wait_layers(3)
    docker.krita.run("pick('scumble_source', 'Visible picture')")
    painted = docker.layer()[mask == 255][:, :3].astype(int)
    assert (np.abs(painted - [0, 255, 0]).max(1) > 60).mean() > 0.9  # not the green that covers it


def test_a_document_brings_its_prompt_back(docker: Docker) -> None:
    docker.new_document(picture())
    select(docker)
    docker.set("a lake at dawn", strength=70, steps=1)
    docker.generate()
    docker.wait_layers(2)
    file = str(docker.krita.work / "saved.kra")
    docker.krita.run("document.saveAs(file); document.waitForDone(); document.close()", file=file)
    docker.new_document(picture(64, 48))
    docker.set("another")
    docker.krita.run(
        "document = app.openDocument(file); document.setBatchmode(True); app.activeWindow().addView(document)"
    )
    docker.krita.wait_until("part('scumble_prompt').toPlainText() == 'a lake at dawn'", 20)
    assert docker.krita.get("part('scumble_strength').value()") == 70


def test_what_is_written_is_remembered_without_an_edit(docker: Docker) -> None:
    """With the document at its next saving, but it does not ask to be saved for that; and for all documents."""
    krita = docker.krita
    docker.new_document(picture())
    file = str(krita.work / "written.kra")
    krita.run("document.saveAs(file); document.waitForDone()", file=file)
    docker.set("a lake at dusk", steps=9)
    krita.wait_until("b'a lake at dusk' in document.annotation('scumble').data()", 10)
    assert not krita.get("document.modified()")
    settings = Home(krita.work.parent / "scumble").settings
    wait_for(lambda: '"steps": 9' in settings.read_text(), 10, "the steps on the disk")
    krita.run("document.setModified(True); document.save(); document.waitForDone(); document.close()")
    docker.new_document(picture(64, 48))
    docker.set("another")
    krita.run("document = app.openDocument(file); document.setBatchmode(True); app.activeWindow().addView(document)")
    krita.wait_until("part('scumble_prompt').toPlainText() == 'a lake at dusk'", 20)


def test_an_upscaler_and_a_model_that_paints_upscale_the_picture(docker: Docker) -> None:
    for model in ("tiny (paints)", "Automatic", "4x-small"):
        docker.krita.run(f"pick('scumble_upscale_model', '{model}')")
        docker.new_document(picture(160, 120))
        before = docker.visible()
        docker.set(steps=2)
        docker.upscale(3)
        assert docker.wait_layers(2)[-1] == "Upscale (7)", model
        assert docker.size() == (480, 360)
        layer = docker.layer()
        assert (layer[..., 3] == 255).all()
        if "paints" not in model:  # which is random here, and the upscaler nearly so
            small = layer.reshape(120, 3, 160, 3, 4).mean((1, 3))
            assert np.corrcoef(small[..., :3].ravel(), before[..., :3].ravel())[0, 1] > 0.7
        docker.undo()
        assert docker.layers() == ["base"]
        docker.undo()
        assert docker.size() == (160, 120)
        np.testing.assert_array_equal(docker.visible(), before)
    docker.krita.run("app.action('scumble_next').trigger()")  # enlarges once more: both pictures look alike
    docker.krita.wait_until("len(layers()) == 2 and document.width() == 480", 20)
    np.testing.assert_array_equal(docker.layer(), layer)
    docker.krita.run("pick('scumble_upscale_model', 'Automatic')")


def test_nothing_raised_into_krita(docker: Docker) -> None:
    assert docker.krita.dialogs() == []
    assert not list((docker.krita.work.parent / "scumble" / "logs").glob("krita.log"))
