"""Regions and cut-outs from GIMP's layers to what is to be seen, with a model on which prompts work (tests/nano)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scumble.home import Home

from tests.nano.judge import share
from tests.nano.world import SIZE

from ..driver import wait_for
from ..gimp_host import GimpConsole, GimpHost
from ..installs import Install
from .conftest import scripting
from .window import NAMED, PLUGIN, add, click, runs

pytestmark = pytest.mark.only("oldest")

STAR = "a blue star in the center"
GROUND = "on a plain white background"
RIGHT, LEFT = f"a blue circle on the right {GROUND}", f"a red square on the left {GROUND}"
HALF = """
half = Gimp.Layer.new(image, "half", side // 2, side, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)
image.insert_layer(half, None, 0)
half.fill(Gimp.FillType.WHITE)
image.set_selected_layers([layer])
"""


@pytest.fixture(scope="module")
def nano(
    gimp_install: Install, tmp_path_factory: pytest.TempPathFactory, plugin_zip: Path, nano_home: Home
) -> Iterator[GimpConsole]:
    with scripting(gimp_install, tmp_path_factory.mktemp("gimp"), plugin_zip, nano_home) as gimp:
        yield gimp


def blank(gimp: GimpHost) -> None:
    gimp.new_image(np.full((SIZE, SIZE, 4), 255, np.uint8))
    gimp.run(HALF, side=SIZE)


def newest(gimp: GimpHost) -> np.ndarray:
    return gimp.pixels("image.get_layers()[0]", 0, 0, SIZE, SIZE)


def assert_is_cut_out(pixels: np.ndarray) -> None:
    """The star is there, all around it is nothing, and no white of its background is left."""
    alpha = pixels[..., 3]
    assert alpha[:8].max() == alpha[-8:].max() == alpha[:, :8].max() == alpha[:, -8:].max() == 0
    opaque = alpha > 200
    assert 0.02 < opaque.mean() < 0.5
    assert share(pixels[opaque][None, :, :3], "blue") > 0.5
    assert share(pixels[opaque][None, :, :3], "white") < 0.1


def assert_has_halves(pixels: np.ndarray) -> None:
    """What the region says is where its layer is, what the prompt says is where it is not."""
    left, right = pixels[:, : SIZE // 2, :3], pixels[:, SIZE // 2 :, :3]
    assert share(left, "red") > 0.1
    assert share(left, "red") > 4 * share(right, "red")
    assert share(right, "blue") > 0.1
    assert share(right, "blue") > 4 * share(left, "blue")


def test_scripts(nano: GimpConsole) -> None:
    blank(nano)
    generate = "call('scumble-generate-layer', image, prompt=prompt, seed=1, steps=12, guidance=5.0, {})"
    for prompt, more, assert_looks_right in (
        (STAR, "transparent=True", assert_is_cut_out),
        (RIGHT, "region=half, region_prompt=left", assert_has_halves),
    ):
        nano.run("prompt, left = words", words=[prompt, LEFT])
        for arguments, right in (("", False), (more, True)):
            done = nano.get(generate.format(arguments), timeout=240)
            assert done.get("bounds") == [0, 0, SIZE, SIZE], done
            if right:
                assert_looks_right(newest(nano))
            else:
                with pytest.raises(AssertionError):
                    assert_looks_right(newest(nano))
    nano.run("image.delete()")


def test_panel(gimp_install: Install, nano_home: Home, tmp_path: Path, plugin_zip: Path) -> None:
    environment = {"SCUMBLE_HOME": str(nano_home.root)}
    with GimpHost(gimp_install, tmp_path / "gimp", [plugin_zip], environment) as gimp:
        blank(gimp)
        gimp.menu("Filters", "Scumble", "Open Panel")
        gimp.window("^Scumble$")
        with gimp.plugin(PLUGIN) as panel:
            panel.run(NAMED)
            panel.wait_until("not named('notice').get_visible()", 60)
            panel.run(
                "named('keep').set_active(True); named('seed').set_value(1)\n"
                "named('steps').set_value(12); named('guidance').set_value(5)\n"
                "named('prompt').get_buffer().set_text(words)",
                words=STAR,
            )
            click(gimp, panel, "named('transparent')")
            click(gimp, panel, "named('generate')")
            gimp.wait_until("len(image.get_layers()) == 3", 240)
            assert_is_cut_out(newest(gimp))

            click(gimp, panel, "named('transparent')")
            panel.run("named('prompt').get_buffer().set_text(words); named('added').set_expanded(True)", words=RIGHT)
            add(gimp, panel, "region")
            panel.run("pick('region', 'half'); named('region-prompt').set_text(words)", words=LEFT)
            click(gimp, panel, "named('generate')")
            gimp.wait_until("len(image.get_layers()) == 4", 240)
            assert_has_halves(newest(gimp))
            gimp.screenshot("nano-region")
        gimp.run("image.clean_all()")
        # A panel that is still open goes with GIMP.
        gimp.ask_to_quit()
        gimp.process.wait(60)
        wait_for(lambda: not runs(gimp), 30, "the panel to end with GIMP")
