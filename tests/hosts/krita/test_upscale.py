"""Upscaling the picture from the docker, in the real Krita: one enlargement for all variants, exact when it is taken back,
and in place whatever happens meanwhile. (With real models: test_edits.)"""

from __future__ import annotations

import numpy as np

from .docker import Docker, on_canvas, picture, soft_mask


def begin(docker: Docker, prompt: str = "", count: int = 1, steps: int = 4) -> np.ndarray:
    """A picture of 400 x 300 that is being made twice as large. Returns what it looks like before."""
    docker.new_document(picture())
    before = docker.visible()
    docker.set(prompt, count=count, steps=steps)
    docker.upscale(2)
    return before


def test_variants_share_one_enlargement_and_after_undo_another_is_made(slow: Docker) -> None:
    before = begin(slow, count=2)
    assert slow.wait_layers(2)[-1] == "Upscale (7)"
    first = slow.visible()
    assert first.shape == (600, 800, 4)
    slow.krita.run("app.action('scumble_next').trigger()")
    slow.krita.wait_until("[l.name() for l in layers()] == ['base', 'Upscale (8)']", 20)
    assert slow.size() == (800, 600)
    assert (slow.visible() != first).any()
    slow.undo()
    slow.undo()
    assert slow.size() == (400, 300)
    np.testing.assert_array_equal(slow.visible(), before)
    slow.krita.run("app.action('scumble_next').trigger()")
    slow.wait_notice("canvas was changed.*Insert anyway")  # one colour, which this engine paints, is like no picture
    slow.click("scumble_notice_help")  # enlarges once more
    slow.krita.wait_until("len(layers()) == 2 and document.width() == 800", 20)
    np.testing.assert_array_equal(slow.visible(), first)


def test_discard_gives_back_every_pixel(slow: Docker) -> None:
    before = begin(slow)
    slow.wait_layers(2)
    slow.click("scumble_discard")
    slow.krita.wait_until("len(layers()) == 1 and document.width() == 400", 20)
    np.testing.assert_array_equal(slow.visible(), before)


def test_discard_keeps_what_was_painted_since(slow: Docker) -> None:
    begin(slow)
    slow.wait_layers(2)
    slow.krita.run(
        "mine = document.createNode('mine', 'paintlayer'); document.rootNode().addChildNode(mine, None)\n"
        "document.waitForDone()"
    )
    slow.click("scumble_discard")
    slow.wait_notice("stays at its new size")
    assert slow.layers() == ["base", "mine"]
    assert slow.size() == (800, 600)


def test_an_upscale_can_be_cancelled(slow: Docker) -> None:
    before = begin(slow, "slow", steps=40)
    slow.krita.wait_until("part('scumble_progress').value() >= 1", 30)
    slow.click("scumble_cancel")
    slow.krita.wait_until("not shows('scumble_cancel')", 30)
    assert slow.size() == (400, 300)
    np.testing.assert_array_equal(slow.visible(), before)


def test_a_crop_and_another_edit_meanwhile(slow: Docker) -> None:
    begin(slow, "slow", steps=10)
    slow.krita.wait_until("part('scumble_progress').value() >= 1", 30)
    slow.krita.select(soft_mask(160, 120), 120, 80)
    slow.set("fill", steps=2)
    slow.says("Fill")
    slow.generate()
    slow.krita.wait_until("'1 more in the queue' in part('scumble_progress_words').text()", 30)
    slow.krita.run("document.resizeImage(20, 10, 380, 280); document.waitForDone()")
    assert slow.wait_layers(3) == ["base", "slow (7)", "fill (7)"]
    assert slow.size() == (760, 560)
    assert slow.krita.get("[getattr(layers()[1].bounds(), side)() for side in ('x', 'y')]") == [-40, -20]
    alpha = slow.layer()[..., 3]  # of the fill, which was made for the small picture
    mask = on_canvas(soft_mask(160, 120), 100, 70, 380, 280)
    small = alpha.reshape(280, 2, 380, 2).mean((1, 3))
    assert np.abs(small - mask).max() <= 20


def test_nothing_raised_into_krita(slow: Docker) -> None:
    assert slow.krita.dialogs() == []
    assert not list((slow.krita.work.parent / "scumble" / "logs").glob("krita.log"))
