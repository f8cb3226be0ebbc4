"""GIMP's menu while the panel is open: its items set the panel up, and wait for nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..driver import wait_for
from ..gimp_host import IMAGE_WINDOW, GimpHost
from .window import REQUEST_OF, layers, open_panel, prepare, runs, write


def test_menu_items_reach_the_open_panel(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    gimp.run(REQUEST_OF)
    with open_panel(gimp) as panel:
        write(panel, "a red brick wall", strength=100)

        def choose(item: str) -> None:
            gimp.menu("Filters", "Scumble", item)
            heard(item)

        def heard(item: str) -> None:
            """The panel comes to the front then: not later, when keys are for GIMP."""
            wait_for(lambda: len(runs(gimp)) == 1, 30, f"{item} to be handed over")
            gimp.wait_until("not [name for name in Gimp.get_parasite_list() if name.startswith('scumble-panel')]", 10)
            panel.get("0")  # done with what it has heard

        def shown() -> list[object]:
            return panel.get("[named('generate').get_label(), named('strength').get_value()]")

        choose("Refine / Image to Image...")
        panel.wait_until("named('generate').get_label() == '_Refine'", 10)
        assert shown() == ["_Refine", 60]
        choose("Fill Selection...")
        panel.wait_until("named('generate').get_label() == '_Fill'", 10)
        assert shown() == ["_Fill", 100]
        choose("Extend Canvas...")
        panel.wait_until("named('extend').get_expanded()", 10)
        panel.run("named('left').set_value(32)")
        panel.wait_until("named('generate').get_label() == '_Extend'", 10)

        # A new picture, not one that continues what is around the selection.
        choose("Generate Layer...")
        panel.wait_until("named('generate').get_label() == '_Generate'", 10)
        assert panel.get("named('mode').get_text()") == "Paint a new picture (80 \u00d7 60 px)"
        panel.run("named('generate').clicked()")
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        gimp.wait_until("mode_of(image.get_layers()[0]) == 'txt2img'", 10)
        panel.wait_until("named('generate').get_label() == '_Fill'", 10)

        # Repeat does the same once more; Remove does at once what it says.
        choose("Repeat Last")
        gimp.wait_until("[mode_of(layer) for layer in image.get_layers()] == ['txt2img', 'txt2img', '']", 30)
        choose("Remove Selection")
        gimp.wait_until("len(image.get_layers()) == 4 and mode_of(image.get_layers()[0]) == 'remove'", 30)
        choose("Repeat Last")
        gimp.wait_until("len(image.get_layers()) == 5 and mode_of(image.get_layers()[0]) == 'remove'", 30)

        # So does GIMP's own Repeat, whatever dialogs there were, once it is about what can be repeated.
        def repeat() -> None:
            gimp.display.activate(gimp.window(IMAGE_WINDOW))
            gimp.display.keys("ctrl+f")
            heard("it")

        choose("Fill Selection...")
        panel.run("named('generate').clicked()")
        gimp.wait_until("len(image.get_layers()) == 6", 30)
        repeat()
        gimp.wait_until("len(image.get_layers()) == 7", 30)
        names = layers(gimp)
        assert [name.partition(" (")[0] for name in names[:2]] == ["a red brick wall"] * 2
        assert len(set(names)) == 7
        choose("Open Panel")
        repeat()
        time.sleep(1)
        assert not gimp.display.windows("GIMP Message")
        assert len(layers(gimp)) == 7


def test_menu_items_come_while_the_panel_asks_gimp(gimp: GimpHost, picture: np.ndarray, tmp_path: Path) -> None:
    """No answer of GIMP is taken for another's, nothing is lost, and the panel is still there afterwards."""
    prepare(gimp, picture)
    ask = (
        "asked, wrong = Gimp.get_images()[0], 0\n"
        "sign.touch()\n"
        "while sign.exists():\n"
        "    wrong += asked.get_width() != 320 or not asked.is_valid()\n"
        "result = wrong"
    )
    sign = tmp_path / "asking"
    with open_panel(gimp) as panel, ThreadPoolExecutor(1) as pool:
        panel.run("import pathlib; sign = pathlib.Path(place)", place=str(sign))
        asking = pool.submit(panel.run, ask, 120)
        wait_for(sign.exists, 30, "the panel to ask")
        try:
            for item in ("Fill Selection...", "Upscale Image...", "Refine / Image to Image..."):
                gimp.menu("Filters", "Scumble", item)
                wait_for(lambda: len(runs(gimp)) == 2, 30, f"{item} to start")
                wait_for(lambda: len(runs(gimp)) == 1, 30, f"{item} to be handed over")
            assert not asking.done()
        finally:
            sign.unlink(missing_ok=True)
        assert asking.result() == 0
        panel.wait_until("named('generate').get_label() == '_Refine' and named('strength').get_value() == 60", 10)
        assert panel.get("named('upscale-fold').get_expanded()")
        assert gimp.get("[name for name in Gimp.get_parasite_list() if name.startswith('scumble-panel')]") == []
        panel.run("named('upscale-fold').set_expanded(False)")
