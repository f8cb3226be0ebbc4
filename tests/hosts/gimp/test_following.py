"""What the artist does to the canvas while the panel's edit runs: C2."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ..driver import wait_for
from ..gimp_host import GimpHost
from .window import CLOSE_ALL, click, layers, open_panel, prepare, write

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
    ("image.flip(Gimp.OrientationType.HORIZONTAL)",): [140, 70, 80, 60],
    ("image.flip(Gimp.OrientationType.VERTICAL)",): [100, 126, 80, 60],
    ("image.rotate(Gimp.RotationType.DEGREES180)", "image.scale(480, 384)"): [210, 189, 120, 90],
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


def test_the_panel_waits_until_gimp_has_scaled_the_picture(gimp: GimpHost, picture: np.ndarray) -> None:
    """GIMP takes a while, and shows plug-ins a canvas that has its new size and layers that have not: C2."""
    prepare(gimp, picture.repeat(8, 0).repeat(6, 1))
    with open_panel(gimp) as panel, ThreadPoolExecutor(1) as pool:
        write(panel, "two gates", count=2)
        panel.wait_until("named('mode').get_text().startswith('Fill')", 10)
        panel.run("named('generate').clicked()")
        panel.wait_until("named('apply').get_sensitive()", 30)
        panel.run("followed = Gimp.get_images()[0]")
        scaling = pool.submit(gimp.run, "image.scale(960, 2048); Gimp.displays_flush()")
        panel.wait_until("followed.get_width() == 960", 30)
        panel.run("named('apply').clicked()")
        assert panel.get("says('GIMP is changing the canvas')")
        scaling.result()
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        new = "image.get_layers()[0]"
        place = f"[*{new}.get_offsets()[1:], {new}.get_width(), {new}.get_height()]"
        wait_for(lambda: gimp.get(place) == [50, 70, 40, 60], 10, "the layer in its place")
        panel.wait_until("not named('notice').get_visible()", 10)
        gimp.undo()
        gimp.wait_until("len(image.get_layers()) == 1", 30)
        gimp.undo()
        gimp.wait_until("image.get_width() == 1920", 60)


def test_layer_is_mirrored_with_the_picture(gimp: GimpHost, picture: np.ndarray) -> None:
    """Whatever has been painted meanwhile."""
    prepare(gimp, picture)
    gimp.select(np.linspace(0, 255, 80, dtype=np.uint8)[None].repeat(60, 0), 100, 70)
    with open_panel(gimp) as panel:
        write(panel, "slow gate", steps=8)
        panel.run("named('generate').clicked()")
        panel.wait_until("named('preview').get_visible()", 30)
        gimp.run(
            "Gimp.Selection.none(image); image.select_rectangle(Gimp.ChannelOps.REPLACE, 5, 5, 40, 30)\n"
            "layer.edit_clear(); Gimp.Selection.none(image)\n"
            "image.flip(Gimp.OrientationType.HORIZONTAL); Gimp.displays_flush()"
        )
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        gimp.wait_until("image.get_layers()[0].get_offsets()[1:] == (140, 70)", 10)
        alpha = gimp.pixels("image.get_layers()[0]", 0, 0, 80, 60)[30, :, 3].astype(int)
        assert alpha[0] > 240
        assert alpha[79] < 5
        assert (np.diff(alpha) <= 0).all()


def test_canvas_that_changes_while_the_layer_goes_in(gimp: GimpHost, picture: np.ndarray) -> None:
    """GIMP goes on while a plug-in fills a layer."""
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        panel.run(
            "from scumble_gimp import document\n"
            "plain = document.to_json\n"
            "def late(request):\n"
            "    Gimp.get_images()[0].scale(480, 384)\n"
            "    return plain(request)\n"
            "document.to_json = late"
        )
        write(panel, "a gate", steps=1)
        panel.run("named('generate').clicked()")
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        new = "image.get_layers()[0]"
        gimp.wait_until(f"[*{new}.get_offsets()[1:], {new}.get_width(), {new}.get_height()] == [150, 105, 120, 90]", 10)


@pytest.mark.only("oldest")
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


def test_floating_selection_comes_first(gimp: GimpHost, picture: np.ndarray) -> None:
    """Until it is anchored, nothing has happened to the canvas, and one step takes all away later."""
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        write(panel, "slow gate", steps=6)
        panel.run("named('left').set_value(64); named('generate').clicked()")
        panel.wait_until("named('preview').get_visible()", 30)
        gimp.run("floating = Gimp.Selection.float(image, image.get_selected_drawables(), 3, 3)")
        panel.wait_until("'floating selection' in named('notice-words').get_text()", 30)
        assert gimp.get("[image.get_width(), image.get_floating_sel() is not None]") == [320, True]
        gimp.run("Gimp.floating_sel_anchor(floating)")
        panel.run("named('apply').clicked()")
        gimp.wait_until("len(image.get_layers()) == 2 and image.get_width() == 384", 30)
        gimp.undo()
        gimp.wait_until("len(image.get_layers()) == 1 and image.get_width() == 320", 30)


@pytest.mark.only("oldest")
def test_square_that_is_turned_asks(gimp: GimpHost, picture: np.ndarray) -> None:
    """By 90 degrees, so that its size tells nothing."""
    prepare(gimp, picture[:, :256])
    with open_panel(gimp) as panel:
        write(panel, "slow gate", steps=6)
        panel.run("named('generate').clicked()")
        panel.wait_until("named('preview').get_visible()", 30)
        gimp.run("image.rotate(Gimp.RotationType.DEGREES90); Gimp.displays_flush()")
        panel.wait_until("'its place is unknown' in named('notice-words').get_text()", 30)
        assert layers(gimp) == ["base"]
