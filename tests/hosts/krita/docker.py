"""The Scumble docker as an artist uses it, in a real Krita."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..krita_host import KritaHost

Pixels = NDArray[np.uint8]
START = """
docks = {d.objectName(): d for d in window.findChildren(QtWidgets.QDockWidget)}
dock = docks["scumble_docker"]

def arrange(name=""):
    # The docker gets the room below the layers (some Kritas show others again later on), and scrolls to the named part.
    shown = [d for d in docks.values() if d.isVisible() and not d.isFloating() and d.windowTitle() != "Toolbox"]
    if {d.objectName() for d in shown} != {"scumble_docker", "KisLayerBox"}:
        for other in docks.values():
            other.setVisible(other.objectName() in ("scumble_docker", "KisLayerBox", "ToolBox"))
        window.resizeDocks([docks["KisLayerBox"], dock], [150, 750], QtCore.Qt.Orientation.Vertical)
        QtWidgets.QApplication.processEvents()
    if name:
        scroll, = [area for area in dock.findChildren(QtWidgets.QScrollArea) if type(area) is QtWidgets.QScrollArea]
        scroll.ensureWidgetVisible(part(name))
        QtWidgets.QApplication.processEvents()

def part(name):
    found = [w for w in dock.findChildren(QtWidgets.QWidget) if w.objectName() == name]
    assert len(found) == 1, (name, len(found))
    return found[0]

def layers(node=None):
    children = (node or document.rootNode()).childNodes()
    return [child for child in children if child.type() in ("paintlayer", "grouplayer")]

def shows(name):
    return part(name).isVisibleTo(dock)  # Krita 6 hides all dockers while no document is open

def pick(name, text):
    box = part(name)
    box.setCurrentIndex([box.itemText(i).split(":")[0] for i in range(box.count())].index(text))

dock.setFloating(False)
arrange()
"""


class Docker:
    def __init__(self, krita: KritaHost) -> None:
        self.krita = krita
        krita.run(START)

    def ready(self) -> None:
        self.krita.wait_until("'Ready' in part('scumble_connection').text() or shows('scumble_notice')", 90)
        assert self.notice() == ""

    def ready_or_told(self) -> None:
        """Connected, maybe with something to say."""
        self.krita.wait_until("'Ready' in part('scumble_connection').text()", 90)

    def new_document(self, pixels: Pixels, name: str = "test") -> None:
        """See KritaHost; the panel shows it then, so that what comes next is clicked at its place."""
        self.krita.new_document(pixels, name)
        self.krita.wait_until("dock.document is not None and dock.document.is_handle(document)", 20)

    def set(
        self, prompt: str = "", strength: int = 100, count: int = 1, mode: str = "Automatic", steps: int = 0
    ) -> None:
        """Writes the panel; what is not named is put back."""
        self.krita.run(
            "part('scumble_prompt').setPlainText(prompt)\n"
            "part('scumble_strength').setValue(strength); part('scumble_count').setValue(count)\n"
            "part('scumble_steps').setValue(steps); pick('scumble_mode', mode)\n"
            "part('scumble_seed_locked').setChecked(True); part('scumble_seed').setText('7')",
            prompt=prompt,
            strength=strength,
            count=count,
            mode=mode,
            steps=steps,
        )

    def says(self, words: str) -> None:
        """Waits until the main button says what will happen."""
        self.krita.wait_until(f"part('scumble_generate').text() == {words!r}", 20)

    def generate(self) -> None:
        """A real click on the main button."""
        self.click("scumble_generate")

    def click(self, name: str) -> None:
        """A real click."""
        self.krita.run(f"arrange({name!r})")
        self.krita.click(f"part({name!r})")

    def press(self, name: str) -> None:
        """A click on a button that may lie in a closed fold."""
        self.krita.run(f"part({name!r}).click()")

    def upscale(self, factor: int) -> None:
        """Presses the button in the fold that makes the picture so many times as large."""
        width, height = self.size()
        self.krita.run(f"pick('scumble_upscale_factor', '{factor} \u00d7')")
        said = f"{width * factor} \u00d7 {height * factor} px"
        self.krita.wait_until(f"part('scumble_upscale_size').text() == {said!r}", 20)
        self.press("scumble_upscale")

    def request_of_last_layer(self) -> dict[str, Any]:
        """What is stored with the document about its newest layer."""
        stored: bytes = self.krita.get("document.annotation('scumble')")
        identity = self.krita.get("layers()[-1].uniqueId().toString()")
        request: dict[str, Any] = json.loads(stored)["layers"][identity]["request"]
        return request

    def size(self) -> tuple[int, int]:
        """Width and height of the canvas."""
        width, height = self.krita.get("[document.width(), document.height()]")
        return width, height

    def layers(self) -> list[str]:
        names: list[str] = self.krita.get("[layer_.name() for layer_ in layers()]")
        return names

    def wait_layers(self, count: int, seconds: float = 120) -> list[str]:
        """Waits until the document has so many layers and nothing is running."""
        try:
            self.krita.wait_until(
                f"len(layers()) == {count} and not shows('scumble_cancel') or shows('scumble_notice')", seconds
            )
        finally:
            said = self.notice()
        assert not said, said
        return self.layers()

    def notice(self) -> str:
        """The sentence and the button of the notice, "" where there is none."""
        text: str = self.krita.get(
            "' | '.join(part('scumble_notice_' + name).text() for name in ('message', 'help'))"
            " if shows('scumble_notice') else ''"
        )
        return text

    def wait_notice(self, pattern: str, seconds: float = 60) -> str:
        self.krita.wait_until("shows('scumble_notice')", seconds)
        said = self.notice()
        assert re.search(pattern, said), said
        return said

    def visible(self) -> Pixels:
        """The picture as one sees it: height x width x RGBA, whatever kind of document it is."""
        size = self.krita.get("[document.width(), document.height()]")
        data: bytes = self.krita.run(
            "document.refreshProjection(); document.waitForDone()\n"
            "image = document.projection(0, 0, *size)\n"
            "result = image.constBits().asstring(size[0] * size[1] * 4)",
            size=size,
        )
        return _rgba(data, size)

    def layer(self, index: int = -1) -> Pixels:
        """What an 8-bit layer holds over the whole canvas."""
        size = self.krita.get("[document.width(), document.height()]")
        return self.krita.pixels(f"layers()[{index}]", 0, 0, *size)

    def undo(self) -> None:
        self.krita.undo()
        self.krita.run("document.waitForDone()")


def _rgba(data: bytes, size: Any) -> Pixels:
    pixels = np.frombuffer(data, np.uint8).reshape(size[1], size[0], 4)
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3]])


def picture(width: int = 400, height: int = 300) -> Pixels:
    """Opaque, smooth and nowhere the same."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / 31 + phase) * np.cos(y / 23 - phase) for phase in (0.0, 1.0, 2.0)]
    return np.dstack([*waves, np.full_like(x, 255)]).astype(np.uint8)


def soft_mask(width: int, height: int) -> Pixels:
    """A selection that fades to 0 at its borders."""
    y, x = np.mgrid[:height, :width]
    inwards = np.minimum.reduce([x, y, width - 1 - x, height - 1 - y])
    return np.clip(inwards * 16, 0, 255).astype(np.uint8)


def on_canvas(mask: Pixels, x: int, y: int, width: int, height: int) -> Pixels:
    """The mask at its place on a canvas."""
    whole = np.zeros((height, width), np.uint8)
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return whole
