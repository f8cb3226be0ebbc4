"""The rig itself, in the real Krita."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from .driver import HostProblem, wait_for
from .host import Host
from .installs import Install
from .krita_host import KritaHost

PLUGIN = """
from krita import DockWidget, DockWidgetFactory, DockWidgetFactoryBase, Krita
if Krita.instance().version().startswith("5."):
    from PyQt5.QtWidgets import QPushButton
else:
    from PyQt6.QtWidgets import QPushButton

class Docker(DockWidget):
    def __init__(self):
        super().__init__()
        self.setWindowTitle("Trivial")
        button = QPushButton("Press", self)
        button.setObjectName("trivial_button")
        button.clicked.connect(lambda: button.setText("Pressed"))
        self.setWidget(button)

    def canvasChanged(self, canvas):
        pass

place = getattr(DockWidgetFactoryBase, "DockPosition", DockWidgetFactoryBase).DockRight
Krita.instance().addDockWidgetFactory(DockWidgetFactory("trivial", place, Docker))
"""


@pytest.fixture
def picture() -> np.ndarray:
    """192 x 256 RGBA, every pixel another colour, opaque."""
    y, x = np.mgrid[:192, :256].astype(np.uint8)
    return np.dstack([x, y, x ^ y, np.full_like(x, 255)])


def test_pixels_selection_undo_and_screenshot(krita: KritaHost, krita_install: Install, picture: np.ndarray) -> None:
    version = krita.get("app.version()")
    assert tuple(int(part) for part in version.split(".")[:2]) == krita_install.version

    krita.new_document(picture)
    np.testing.assert_array_equal(krita.pixels("layer", 0, 0, 256, 192), picture)
    np.testing.assert_array_equal(krita.pixels("document", 10, 20, 30, 40), picture[20:60, 10:40])

    mask = np.linspace(0, 255, 50 * 60).astype(np.uint8).reshape(50, 60)
    krita.select(mask, x=100, y=70)
    selected = krita.get("document.selection().pixelData(100, 70, 60, 50)")
    np.testing.assert_array_equal(np.frombuffer(selected, np.uint8).reshape(50, 60), mask)

    krita.run("document.rootNode().addChildNode(document.createNode('more', 'paintlayer'), None)")
    layers = "[node.name() for node in document.rootNode().childNodes()]"
    assert krita.get(layers)[-1] == "more"
    krita.undo()
    assert "more" not in krita.get(layers)

    shot = np.asarray(krita.screenshot("window"))
    assert shot.std() > 20
    assert krita.dialogs() == []


def test_plugin_from_a_zip_gets_a_real_click(krita_install: Install, tmp_path: Path) -> None:
    zipped = shutil.make_archive(str(tmp_path / "plugin"), "zip", trivial_plugin(tmp_path / "plugin"))
    with KritaHost(krita_install, tmp_path / "krita", plugins=[Path(zipped)]) as krita:
        krita.run(
            "dock, = [d for d in window.findChildren(QtWidgets.QDockWidget) if d.windowTitle() == 'Trivial']\n"
            "dock.show(); dock.raise_()\n"
            "button = dock.findChild(QtWidgets.QPushButton, 'trivial_button')"
        )
        krita.click("button")
        krita.wait_until("button.text() == 'Pressed'", 10)


def test_longest_stall_is_seen(krita: KritaHost) -> None:
    with krita.stalls() as idle:
        krita.run("later(lambda: None)")
    with krita.stalls() as busy:
        krita.run("import time; time.sleep(0.3)")
    assert idle.milliseconds < 200
    assert 300 <= busy.milliseconds < 1500


def test_errors_come_back_and_nothing_is_left(krita_install: Install, tmp_path: Path) -> None:
    with KritaHost(krita_install, tmp_path / "krita", environment={"SCUMBLE_HOME": str(tmp_path)}) as krita:
        assert krita.run("import os; result = os.environ['SCUMBLE_HOME']") == str(tmp_path)
        with pytest.raises(HostProblem, match="ZeroDivisionError"):
            krita.run("1 / 0")
        start_child(krita)
    assert krita.process.returncode == 0
    assert krita.leftovers() == {}


def test_crash_and_what_outlives_it(krita: KritaHost) -> None:
    start_child(krita)
    krita.crash()
    assert any("time.sleep(100)" in command for command in krita.leftovers().values())
    krita.kill()
    assert krita.leftovers() == {}


def start_child(host: Host) -> None:
    """Starts this machine's Python, with its packages, from within the host, detached."""
    host.run(
        "import subprocess\n"
        "child = subprocess.Popen([python, '-c', 'import numpy, time; time.sleep(100)'], start_new_session=True)",
        python=str(host.install.machine_python(host.work)),
    )
    wait_for(lambda: any("time.sleep(100)" in command for command in host.leftovers().values()), 10, "the child")
    time.sleep(1)
    host.run("assert child.poll() is None, child.returncode")


def trivial_plugin(folder: Path) -> Path:
    (folder / "trivial").mkdir(parents=True)
    (folder / "trivial" / "__init__.py").write_text(PLUGIN)
    (folder / "trivial.desktop").write_text(
        "[Desktop Entry]\nType=Service\nServiceTypes=Krita/PythonPlugin\nX-KDE-Library=trivial\nName=Trivial\n"
    )
    return folder
