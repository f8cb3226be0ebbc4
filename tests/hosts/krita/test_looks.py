"""How the docker looks: pictures to be looked at (in the test's folder, and where SCUMBLE_TEST_PICTURES names a folder),
and that nothing is cut off at the narrowest width."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scumble.home import Home

from tests.server.process import Process

from ..installs import Install
from .conftest import open_krita
from .docker import Docker, picture, soft_mask

CUT_OFF = """
cut = []
scroll = next(area for area in dock.findChildren(QtWidgets.QScrollArea) if type(area) is QtWidgets.QScrollArea)
inside = scroll.viewport().width()
for widget in scroll.widget().findChildren(QtWidgets.QWidget):
    if not widget.isVisible() or isinstance(widget, QtWidgets.QScrollBar):
        continue
    left = widget.mapTo(scroll.viewport(), QtCore.QPoint(0, 0)).x()
    if left < 0 or left + widget.width() > inside:
        cut.append((widget.objectName() or type(widget).__name__, left, widget.width(), inside))
    if isinstance(widget, (QtWidgets.QPushButton, QtWidgets.QCheckBox)):
        needed = widget.fontMetrics().boundingRect(widget.text()).width()
        if needed > widget.width():
            cut.append((widget.objectName(), 'text', needed, widget.width()))
result = cut
"""


class Album:
    def __init__(self, docker: Docker, name: str) -> None:
        self.docker, self.name = docker, name
        self.folder = Path(os.environ.get("SCUMBLE_TEST_PICTURES") or docker.krita.work)

    def keep(self, state: str, part: str = "") -> None:
        """Of usual width, and as narrow as the docker can be; scrolled to the named part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for width, suffix in ((330, ""), (10, "-narrow")):
            self.docker.krita.run(
                "arrange(); window.resizeDocks([dock], [width], QtCore.Qt.Orientation.Horizontal)\n"
                "QtWidgets.QApplication.processEvents(); arrange(part_)",
                width=width,
                part_=part,
            )
            self.docker.krita.screenshot("look").save(self.folder / f"{self.name}-{state}{suffix}.png")
            assert self.docker.krita.run(CUT_OFF) == [], state
        assert self.docker.krita.get("dock.width()") <= 300


@pytest.mark.parametrize("theme", ["dark", "bright"])
def test_every_state_in_krita_s_themes_wide_and_narrow(
    krita_install: Install, plugin_zip: Path, home: Home, slow_backend: Process, tmp_path: Path, theme: str
) -> None:
    settings = f"[theme]\nTheme=Krita {theme}\n"
    with open_krita(krita_install, plugin_zip, home, tmp_path / "krita", settings) as krita:
        docker = Docker(krita)
        docker.ready()
        album = Album(docker, f"{krita_install.name}-{theme}")
        docker.new_document(picture(800, 600))
        krita.select(soft_mask(260, 200), 240, 180)
        docker.set("slow boat on a calm lake, (morning mist:1.2), oil painting", steps=200)
        docker.says("Fill")
        album.keep("idle")
        docker.generate()
        krita.wait_until("shows('scumble_preview')", 30)
        album.keep("running")
        assert krita.get("shows('scumble_preview')")
        docker.click("scumble_cancel")
        krita.wait_until("not shows('scumble_cancel')", 30)
        docker.set("boat on a calm lake, (morning mist:1.2), oil painting", count=3, steps=1)
        docker.generate()
        docker.wait_layers(2)
        album.keep("results")
        docker.set("oom")
        docker.generate()
        docker.wait_notice("memory")
        krita.run("part('scumble_advanced').click(); part('scumble_history_fold').click()")
        krita.run("part('scumble_extend_fold').click(); part('scumble_upscale_fold').click()")
        krita.run(
            "part('scumble_added').click()\n"
            "for name in ('lora', 'control', 'reference', 'region'):\n"
            "    part(f'scumble_{name}_add').click()"
        )
        album.keep("error")
        album.keep("added", "scumble_region_add")
