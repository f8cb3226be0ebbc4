"""Enlarging the picture from the docker, in the real Krita: the picture is scaled, the layer lies over all of it, and two
steps of undo take both away."""

from __future__ import annotations

import numpy as np

from .docker import Docker, on_canvas, picture, soft_mask


def begin(
    docker: Docker,
    prompt: str = "",
    factor: int = 2,
    count: int = 1,
    steps: int = 4,
    width: int = 400,
    height: int = 300,
) -> np.ndarray:
    """A picture that is being enlarged. Returns what it looks like before."""
    docker.krita.new_document(picture(width, height))
    before = docker.visible()
    docker.set(prompt, count=count, steps=steps)
    docker.krita.run(f"pick('scumble_enlarge_factor', '{factor} \\u00d7')")
    docker.krita.wait_until(
        f"part('scumble_enlarge_size').text() == '{width * factor} \\u00d7 {height * factor} px'", 20
    )
    docker.press("scumble_enlarge")
    return before


def size(docker: Docker) -> list[int]:
    wide_and_high: list[int] = docker.krita.get("[document.width(), document.height()]")
    return wide_and_high


def test_an_upscaler_and_a_model_that_paints(real: Docker) -> None:
    for model in ("tiny (paints)", "Automatic", "4x-small"):
        real.krita.run(f"pick('scumble_enlarge_model', '{model}')")
        before = begin(real, factor=3, steps=2, width=160, height=120)
        assert real.wait_layers(2)[-1] == "Upscale (7)", model
        assert size(real) == [480, 360]
        layer = real.layer()
        assert (layer[..., 3] == 255).all()
        if "paints" not in model:  # which is random here, and the upscaler nearly so
            small = layer.reshape(120, 3, 160, 3, 4).mean((1, 3))
            assert np.corrcoef(small[..., :3].ravel(), before[..., :3].ravel())[0, 1] > 0.7
        real.undo()
        assert real.layers() == ["base"]
        real.undo()
        assert size(real) == [160, 120]
        np.testing.assert_array_equal(real.visible(), before)
    real.krita.run("app.action('scumble_next').trigger()")  # enlarges once more: both pictures look alike
    real.krita.wait_until("len(layers()) == 2 and document.width() == 480", 20)
    np.testing.assert_array_equal(real.layer(), layer)
    real.krita.run("pick('scumble_enlarge_model', 'Automatic')")


def test_variants_share_one_enlargement_and_after_undo_another_is_made(slow: Docker) -> None:
    before = begin(slow, count=2)
    assert slow.wait_layers(2)[-1] == "Upscale (7)"
    first = slow.visible()
    assert first.shape == (600, 800, 4)
    slow.krita.run("app.action('scumble_next').trigger()")
    slow.krita.wait_until("[l.name() for l in layers()] == ['base', 'Upscale (8)']", 20)
    assert size(slow) == [800, 600]
    assert (slow.visible() != first).any()
    slow.undo()
    slow.undo()
    assert size(slow) == [400, 300]
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
    assert size(slow) == [800, 600]


def test_an_enlargement_can_be_cancelled(slow: Docker) -> None:
    before = begin(slow, "slow", steps=40)
    slow.krita.wait_until("part('scumble_progress').value() >= 1", 30)
    slow.click("scumble_cancel")
    slow.krita.wait_until("not shows('scumble_cancel')", 30)
    assert size(slow) == [400, 300]
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
    assert size(slow) == [760, 560]
    assert slow.krita.get("[getattr(layers()[1].bounds(), side)() for side in ('x', 'y')]") == [-40, -20]
    alpha = slow.layer()[..., 3]  # of the fill, which was made for the small picture
    mask = on_canvas(soft_mask(160, 120), 100, 70, 380, 280)
    small = alpha.reshape(280, 2, 380, 2).mean((1, 3))
    assert np.abs(small - mask).max() <= 20
    assert (small[mask == 0] <= 20).all()


def test_nothing_raised_into_krita(slow: Docker) -> None:
    assert slow.krita.dialogs() == []
    assert not list((slow.krita.work.parent / "scumble" / "logs").glob("krita.log"))
