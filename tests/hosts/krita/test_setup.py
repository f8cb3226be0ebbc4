"""How the plug-in comes into Krita by Krita's own hand, and how it is told where its backend is."""

from __future__ import annotations

from pathlib import Path

from scumble.home import Home

from tests.server.process import Process

from ..installs import Install
from ..krita_host import KritaHost
from .benchmark import import_again
from .conftest import open_krita
from .docker import Docker, picture, soft_mask

DIALOG = "QtWidgets.QApplication.activeModalWidget()"


def test_krita_imports_the_zip_by_its_own_menu(
    krita_install: Install, plugin_zip: Path, home: Home, slow_backend: Process, tmp_path: Path
) -> None:
    krita = KritaHost(
        krita_install, tmp_path / "krita", environment={"SCUMBLE_HOME": str(home.root)}, visible=[home.root]
    )
    with krita:
        assert not krita.get("[d for d in window.findChildren(QtWidgets.QDockWidget) if d.windowTitle() == 'Scumble']")
        krita.run("later(lambda: app.action('plugin_importer_file').trigger())")
        krita.wait_until(f"isinstance({DIALOG}, QtWidgets.QFileDialog)", 20)
        krita.run(
            f"dialog = {DIALOG}; dialog.findChild(QtWidgets.QLineEdit, 'fileNameEdit').setText(file)\n"
            "later(dialog.accept)",
            file=str(plugin_zip),
        )
        krita.wait_until(f"isinstance({DIALOG}, QtWidgets.QMessageBox)", 20)
        assert "Scumble" in krita.get(f"{DIALOG}.text()")
        krita.click(f"{DIALOG}.button(QtWidgets.QMessageBox.StandardButton.Yes)")
        krita.wait_until(f"{DIALOG} is None", 20)
    with krita:
        docker = Docker(krita)
        docker.ready()
        assert fills(docker)
        assert krita.dialogs() == []


def test_the_import_holds_kritas_start_up_by_no_more_than_50_ms(slow: Docker) -> None:
    assert min(import_again(slow.krita)[0] for _ in range(3)) < 50
    assert slow.krita.dialogs() == []


def test_a_backend_at_an_address_that_is_named(
    krita_install: Install, plugin_zip: Path, slow_backend: Process, tmp_path: Path
) -> None:
    here = Home(tmp_path / "here")  # no backend is installed there
    here.root.mkdir()
    with open_krita(krita_install, plugin_zip, here, tmp_path / "krita") as krita:
        docker = Docker(krita)
        docker.wait_notice("not installed.*Try again")
        name_backend(docker, slow_backend.port, "0" * 64)
        krita.wait_until("'token' in part('scumble_notice_message').text()", 30)
        docker.click("scumble_notice_help")  # leads back to where the token is written
        krita.wait_until(f"{DIALOG} is not None", 20)
        assert krita.get(f"{DIALOG}.findChild(QtWidgets.QSpinBox, 'scumble_port').value()") == slow_backend.port
        fill_in(docker, slow_backend.port, slow_backend.token)
        krita.wait_until("'Ready' in part('scumble_connection').text()", 30)
        assert docker.notice() == ""
        assert fills(docker)
        assert not here.record.exists()
    with krita:  # it is remembered
        docker = Docker(krita)
        docker.ready()
        docker.click("scumble_connection_button")
        krita.wait_until(f"{DIALOG} is not None", 20)
        krita.click(f"{DIALOG}.findChild(QtWidgets.QRadioButton, 'scumble_connection_here')")
        krita.click(
            f"{DIALOG}.findChild(QtWidgets.QDialogButtonBox).button(QtWidgets.QDialogButtonBox.StandardButton.Ok)"
        )
        docker.wait_notice("not installed.*Try again")
        assert krita.dialogs() == []


def name_backend(docker: Docker, port: int, token: str) -> None:
    docker.click("scumble_connection_button")
    docker.krita.wait_until(f"{DIALOG} is not None", 20)
    docker.krita.click(f"{DIALOG}.findChild(QtWidgets.QRadioButton, 'scumble_connection_there')")
    fill_in(docker, port, token)


def fill_in(docker: Docker, port: int, token: str) -> None:
    """Writes into the open dialog as an artist does, and presses its OK."""
    krita = docker.krita
    for name, text in (("scumble_host", "127.0.0.1"), ("scumble_port", str(port)), ("scumble_token", token)):
        krita.click(f"{DIALOG}.findChild(QtWidgets.QWidget, {name!r})")
        krita.display.keys("ctrl+a")
        krita.display.type(text)
    krita.wait_until(f"{DIALOG}.findChild(QtWidgets.QLineEdit, 'scumble_token').text() == {token!r}", 10)
    krita.click(f"{DIALOG}.findChild(QtWidgets.QDialogButtonBox).button(QtWidgets.QDialogButtonBox.StandardButton.Ok)")


def fills(docker: Docker) -> bool:
    docker.new_document(picture())
    docker.krita.select(soft_mask(160, 120), 120, 80)
    docker.set("a house", steps=1)
    docker.says("Fill")
    docker.generate()
    return docker.wait_layers(2) == ["base", "a house (7)"]
