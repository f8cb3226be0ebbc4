"""What only a model shows on which prompts work (tests/nano): regions, references and cut-outs in the real Krita."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nano.judge import share
from tests.nano.painting import GUIDANCE, PIECE, STEPS

from .docker import Docker, Pixels

pytestmark = pytest.mark.only("oldest")

GROUND = "on a plain white background"


@pytest.fixture
def docker(nano: Docker) -> Docker:
    """With an empty document of the model's size on view, and the section open, without rows."""
    nano.new_document(np.zeros((PIECE.height, PIECE.width, 4), np.uint8))
    nano.krita.run(
        "part('scumble_added').click() if not shows('scumble_region_add') else None\n"
        "for cross in dock.findChildren(QtWidgets.QPushButton):\n"
        "    cross.click() if cross.objectName() in ('scumble_reference_remove', 'scumble_region_remove') else None\n"
        "part('scumble_guidance').setValue(guidance); part('scumble_transparent').setChecked(False)",
        guidance=GUIDANCE,
    )
    return nano


def add_layer(docker: Docker, name: str, pixels: Pixels, visible: bool = True) -> None:
    """All over the canvas; in `run` it is then `made`."""
    docker.krita.run(
        "made = document.createNode(name, 'paintlayer')\n"
        "made.setPixelData(QtCore.QByteArray(pixels), 0, 0, width, height); made.setVisible(visible)\n"
        "document.rootNode().addChildNode(made, None); document.refreshProjection(); document.waitForDone()",
        name=name,
        pixels=np.ascontiguousarray(pixels[..., [2, 1, 0, 3]]).tobytes(),
        width=PIECE.width,
        height=PIECE.height,
        visible=visible,
    )


def paint(docker: Docker, prompt: str) -> Pixels:
    """From nothing; the pixels of the layer, which is taken back."""
    before = len(docker.layers())
    docker.set(prompt, steps=STEPS, mode="Generate")
    docker.generate()
    docker.wait_layers(before + 1)
    pixels = docker.layer()
    docker.undo()
    assert len(docker.layers()) == before
    return pixels


def test_a_region_holds_what_its_words_say(docker: Docker) -> None:
    half = np.zeros((PIECE.height, PIECE.width, 4), np.uint8)
    half[:, : PIECE.width // 2, 3] = 255
    add_layer(docker, "Left", half, visible=False)
    docker.click("scumble_region_add")
    docker.krita.wait_until("part('scumble_region_layer').findText('Left') > 0", 20)
    docker.krita.run(
        "pick('scumble_region_layer', 'Left'); part('scumble_region_prompt').setPlainText(words)",
        words=f"a red square on the left {GROUND}",
    )
    painted = paint(docker, f"a blue circle on the right {GROUND}")
    left, right = painted[:, : PIECE.width // 2, :3], painted[:, PIECE.width // 2 :, :3]
    assert share(left, "red") > 0.1
    assert share(left, "red") > 4 * share(right, "red")
    assert share(right, "blue") > 0.1
    assert share(right, "blue") > 4 * share(left, "blue")


def test_a_reference_is_seen_by_the_model(docker: Docker) -> None:
    shown = np.zeros((PIECE.height, PIECE.width, 4), np.uint8)
    shown[20:60, 30:90] = (200, 40, 30, 255)
    add_layer(docker, "Look", shown, visible=False)
    prompt = f"a green star {GROUND}"
    alone = paint(docker, prompt)
    docker.click("scumble_reference_add")
    docker.krita.wait_until("part('scumble_reference_layer').findText('Look') > 0", 20)
    docker.krita.run("pick('scumble_reference', 'Look'); pick('scumble_reference_layer', 'Look')")
    first = paint(docker, prompt)
    other = np.roll(shown[..., [2, 1, 0, 3]], 11, axis=1)  # bluish, and elsewhere
    docker.krita.run(
        "made.setPixelData(QtCore.QByteArray(pixels), 0, 0, width, height); document.waitForDone()",
        pixels=other.tobytes(),
        width=PIECE.width,
        height=PIECE.height,
    )
    moved = paint(docker, prompt)
    assert np.abs(first.astype(int) - alone).max() > 8
    np.testing.assert_array_equal(moved, first)  # B G R A of the same colours: it is not where, but what
    blue = other[..., [2, 1, 0, 3]]
    docker.krita.run(
        "made.setPixelData(QtCore.QByteArray(pixels), 0, 0, width, height); document.waitForDone()",
        pixels=np.ascontiguousarray(blue).tobytes(),
        width=PIECE.width,
        height=PIECE.height,
    )
    assert np.abs(paint(docker, prompt).astype(int) - first).max() > 8
    docker.krita.run("part('scumble_reference_weight').setValue(0)")
    np.testing.assert_array_equal(paint(docker, prompt), alone)


def test_an_object_is_cut_out_of_its_background(docker: Docker) -> None:
    docker.krita.run("part('scumble_transparent').setChecked(True)")
    cut = paint(docker, "a red circle in the center on a plain white background")
    docker.krita.run("part('scumble_transparent').setChecked(False)")
    whole = paint(docker, "a red circle in the center on a plain white background")
    assert (whole[..., 3] == 255).all()
    opaque = cut[..., 3] > 200
    assert 0.02 < opaque.mean() < 0.5
    assert cut[:8, :, 3].max() == cut[-8:, :, 3].max() == 0
    assert share(cut[opaque][None, :, :3], "red") > 0.5
    assert share(cut[opaque][None, :, :3], "white") < 0.1


def test_what_is_added_is_not_held_back_by_its_surroundings(docker: Docker) -> None:
    """As tests/nano/test_intents measures it on many pictures."""
    docker.new_document(np.full((PIECE.height, PIECE.width, 4), (250, 140, 20, 255), np.uint8))
    docker.krita.select(np.full((72, 72), 255, np.uint8), 28, 28)
    blue = []
    for mode in ("Fill", "Add"):
        shares = []
        for seed in (1, 3):
            docker.set("a blue square", steps=STEPS, mode=mode)
            docker.krita.run(f"part('scumble_seed').setText('{seed}')")
            docker.says(mode)
            docker.generate()
            docker.wait_layers(2)
            shares.append(share(docker.layer()[28:100, 28:100, :3], "blue"))
            docker.undo()
        blue.append(sum(shares))
    filled, added = blue
    assert added > max(1.5 * filled, 0.3)


def test_nothing_raised_into_krita(nano: Docker) -> None:
    assert nano.krita.dialogs() == []
    assert not list((nano.krita.work.parent / "scumble" / "logs").glob("krita.log"))
