"""A real Krita with a window."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .driver import HostProblem, Stalls
from .host import INSIDE, Host, make_warm_home, unpack
from .installs import Install

Pixels = NDArray[np.uint8]


class KritaHost(Host):
    """See Host. In the code given to `run` these names exist: `app` (Krita.instance()), `Krita`, `QtCore`, `QtGui`,
    `QtWidgets`, `QtTest` of the right binding, and `later(call)` for what blocks, such as opening a dialog."""

    program = "krita"

    def prepare(self, settings: str) -> None:
        for folder in (self._config, self._plugins):
            folder.mkdir(parents=True, exist_ok=True)
        (self._config / "kritarc").write_text(settings + "\n[python]\n")
        # The plain canvas: there is no GL here.
        (self._config / "kritadisplayrc").write_text("OpenGLRenderer=none\nuseOpenGL=false\n")
        self.add_plugin(INSIDE / "krita")
        shutil.copy(INSIDE / "shared" / "scumble_test_session.py", self._plugins / "scumble_test_driver")

    def add_plugin(self, plugin: Path) -> None:
        """As Krita's importer does it: the .desktop file names the package that lies beside it, an .action file may lie
        anywhere."""
        with tempfile.TemporaryDirectory() as scratch:
            source = unpack(plugin, Path(scratch))
            descriptions = sorted(source.rglob("*.desktop"))
            if not descriptions:
                raise HostProblem(f"There is no Krita plug-in in {plugin}.")
            for description in descriptions:
                entries = dict(line.split("=", 1) for line in description.read_text().splitlines() if "=" in line)
                name = entries["X-KDE-Library"]
                shutil.copy(description, self._plugins)
                no_caches = shutil.ignore_patterns("__pycache__")
                shutil.copytree(description.parent / name, self._plugins / name, ignore=no_caches)
                for action in source.rglob(f"{name}.action"):
                    (self._plugins.parent / "actions").mkdir(exist_ok=True)
                    shutil.copy(action, self._plugins.parent / "actions")
                self.enable_plugin(name)

    def enable_plugin(self, name: str) -> None:
        """Switches on a plug-in that lies in its place (one that the product's own installer put there, say)."""
        with (self._config / "kritarc").open("a") as settings:
            settings.write(f"enable_{name}=true\n")

    def arguments(self) -> list[str]:
        return [self.program, "--nosplash"]

    def start(self) -> None:
        super().start()
        self.run("window = app.activeWindow().qwindow(); window.showMaximized()")

    def ask_to_quit(self) -> None:
        # Krita would ask whether to save.
        self.run(
            "for document in app.documents():\n"
            "    document.setBatchmode(True); document.setModified(False); document.close()\n"
            "later(lambda: app.action('file_quit').trigger())"
        )

    @property
    def _config(self) -> Path:
        return self.home / ".config"

    @property
    def _plugins(self) -> Path:
        return self.home / ".local/share/krita/pykrita"

    # What tests of a plug-in need again and again

    def new_document(self, pixels: Pixels, name: str = "test") -> None:
        """An 8-bit RGBA document on view, with one paint layer. `pixels`: height x width x RGBA. In `run` it is then
        `document`, the layer is `layer`."""
        height, width = pixels.shape[:2]
        self.run(
            """
document = app.createDocument(width, height, name, "RGBA", "U8", "", 300.0)
document.setBatchmode(True)
app.activeWindow().addView(document)
layer, = document.rootNode().childNodes()
layer.setName("base")
layer.setOpacity(255)
layer.setPixelData(QtCore.QByteArray(pixels), 0, 0, width, height)
document.setActiveNode(layer)
document.refreshProjection()
document.waitForDone()
""",
            name=name,
            width=width,
            height=height,
            pixels=_swap_red_and_blue(pixels).tobytes(),
        )

    def select(self, mask: Pixels, x: int = 0, y: int = 0) -> None:
        """Makes `mask` (height x width, 255 = selected) the selection of `document`, with its corner at x, y."""
        height, width = mask.shape
        self.run(
            "from krita import Selection\n"
            "selection = Selection(); selection.select(x, y, width, height, 255)\n"
            "selection.setPixelData(QtCore.QByteArray(mask), x, y, width, height)\n"
            "document.setSelection(selection)",
            x=x,
            y=y,
            width=width,
            height=height,
            mask=np.ascontiguousarray(mask).tobytes(),
        )

    def pixels(self, node: str, x: int, y: int, width: int, height: int) -> Pixels:
        """What an 8-bit RGBA node (a Python expression, e.g. "layer") holds in this rectangle of the canvas:
        height x width x RGBA. "document" gives the visible picture."""
        code = "document.waitForDone(); result = (node_).pixelData(x, y, width, height)".replace("node_", node)
        data: bytes = self.run(code, x=x, y=y, width=width, height=height)
        return _swap_red_and_blue(np.frombuffer(data, np.uint8).reshape(height, width, 4))

    def click(self, widget: str) -> None:
        """A real click of the mouse at the middle of a visible widget (a Python expression)."""
        # A dialog is visible to Qt before the window manager has put it on the screen: a click would go beside it.
        self.wait_until(f"({widget}).window().windowHandle().isExposed()")
        x, y = self.run(
            f"widget = {widget}\n"
            "assert widget.isVisible(), 'not visible'\n"
            "middle = widget.mapToGlobal(widget.rect().center()); result = [middle.x(), middle.y()]"
        )
        self.display.click(x, y)

    def dialogs(self) -> list[str]:
        """Titles of the modal windows on view, e.g. Krita's "Script error" after an exception left a slot."""
        titles: list[str] = self.get(
            "[w.windowTitle() for w in QtWidgets.QApplication.topLevelWidgets() if w.isVisible() and w.isModal()]"
        )
        return titles

    def undo(self) -> None:
        """One step, as Edit > Undo."""
        self.run("app.action('edit_undo').trigger(); document.waitForDone()")

    @contextlib.contextmanager
    def stalls(self) -> Iterator[Stalls]:
        """Measures the longest gap between the ticks of a 10 ms timer in Krita's event loop. What the test itself does
        by `run` meanwhile counts as well: measure a gap with nothing going on beside it."""
        stalls = Stalls()
        self.run("stall_timer.start(10); stalls.start()")
        yield stalls
        stalls.milliseconds = self.get("stalls.stop()")
        self.run("stall_timer.stop()")


def warm_up_krita(install: Install) -> None:
    def launch(work: Path) -> None:
        with KritaHost(install, work):
            pass
        # Each host writes its own; the window's size and place shall not depend on an earlier run.
        for pattern in ("kritarc", "kritadisplayrc"):
            (work / "host-home" / ".config" / pattern).unlink(missing_ok=True)
        shutil.rmtree(work / "host-home" / ".local/share/krita/pykrita")

    make_warm_home(install, launch)


def _swap_red_and_blue(pixels: Pixels) -> Pixels:
    """RGBA from Krita's BGRA and back."""
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3]])
