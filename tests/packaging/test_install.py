"""The installer's own decisions; the installation as a whole is the README's first command."""

from __future__ import annotations

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import install
import numpy as np
import pytest
import sample
from build_plugins import build_bundles
from environment import SetupProblem
from PIL import Image
from scumble.client.hosts import Host, Machine
from scumble.home import Home
from scumble.models.download import FILL_MODEL, is_complete


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here may find the real painting programs of this computer."""
    empty = Machine("linux", tmp_path / "user", tmp_path, {}, lambda _: None, lambda _: "")
    monkeypatch.setattr(install, "this_machine", lambda: empty)


def test_all_goes_with_uninstall(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        install.parse(["--all"])
    assert "--uninstall" in capsys.readouterr().err
    assert install.parse(["--uninstall", "--all"]).all


@pytest.mark.parametrize("option", ["--wheels", "--fill-model"])
def test_what_is_named_must_be_there(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not after the minutes that an environment takes."""
    with pytest.raises(SystemExit):
        install.parse([option, "nowhere"])
    assert "nowhere" in capsys.readouterr().err


def test_sudo_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill root's home, where the artist's Krita never looks, or leave root's files in the artist's."""
    monkeypatch.setenv("SUDO_USER", "artist")
    monkeypatch.setattr(install.os, "geteuid", lambda: 0, raising=False)
    with pytest.raises(SetupProblem, match="without sudo"):
        install.install(home, install.parse([]))
    assert not home.installation.exists()


def test_every_program_gets_its_line(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install.install_plugins(home)
    assert "neither Krita nor GIMP" in capsys.readouterr().out
    old = Host("GIMP", "2.10.34", "system", tmp_path / "old", "GIMP 2.10 is too old.")
    gimp = Host("GIMP", "3.0.4", "Flatpak", tmp_path / "gimp")
    monkeypatch.setattr(install, "find_hosts", lambda _: (old, gimp))
    bundle = home.root / "plugins" / "gimp" / "scumble-gimp"
    bundle.mkdir(parents=True)
    (bundle / "scumble-gimp.py").write_text("")
    install.install_plugins(home)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "GIMP 2.10.34 (system): GIMP 2.10 is too old."
    assert lines[1].strip().startswith(f"GIMP 3.0.4 (Flatpak): installed in {gimp.plugins}")
    assert (gimp.plugins / "scumble-gimp" / "scumble-gimp.py").exists()
    assert not old.plugins.exists()


def test_folder_that_cannot_be_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    host = Host("GIMP", "3.0.4", "system", tmp_path / "file" / "plug-ins")
    monkeypatch.setattr(install, "find_hosts", lambda _: (host,))
    (home.root / "plugins" / "gimp" / "scumble-gimp").mkdir(parents=True)
    install.install_plugins(home)
    assert "cannot be written" in capsys.readouterr().out


def test_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2_000_000_000))
    install.check_space(tmp_path, 1.5)
    with pytest.raises(SetupProblem, match=r"2\.0 GB free, Scumble needs 3"):
        install.check_space(tmp_path, 3)


@pytest.mark.slow
def test_what_is_fetched_serves_without_a_network(
    tmp_path: Path, fill_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for torch and its kin, hundreds of megabytes by the one command that is left out here."""
    asked: list[str] = []
    monkeypatch.setattr(install, "run_pip", lambda python, *arguments: asked.extend(arguments))
    monkeypatch.setattr(install, "beside_pips_own", lambda indexes: [])
    folder = tmp_path / "wheels"
    install.fetch(folder, fill_model)
    (scumble,) = folder.glob("scumble-*.whl")
    assert {"wheel", "torch", "setuptools", "spandrel", str(scumble), str(folder)} <= set(asked)
    assert is_complete(folder / FILL_MODEL.name, FILL_MODEL)
    assert set(build_bundles(Path(sys.executable), tmp_path / "plugins", folder)) == {"Krita", "GIMP"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such folder.")
def test_the_command_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As README, the panels and the doctor say it."""
    command, own = tmp_path / "env folder" / "bin" / "scumble", tmp_path / "own" / "scumble"
    command.parent.mkdir(parents=True)
    command.write_text("")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert str(own.parent) in install.by_name(command, own)  # not on the PATH yet
    monkeypatch.setenv("PATH", str(own.parent))
    for _ in range(2):
        assert install.by_name(command, own) == "scumble stands for"
    assert own.resolve() == command
    own.unlink()
    own.write_text("another program")
    assert install.by_name(command, own).startswith(install.IN_FULL)
    assert own.read_text() == "another program"
    assert install.quoted(command) == f"'{command}'"


@pytest.fixture
def installed(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    environment = tmp_path / "target"
    environment.mkdir()
    (environment / "pyvenv.cfg").write_text("")
    home.installation.write_text(json.dumps({"python": "python", "environment": str(environment)}))
    for folder in (home.models, home.jobs, home.logs, home.root / "plugins", home.root / "welcome"):
        folder.mkdir()
    for file in (home.token, home.settings, home.models / "model.safetensors"):
        file.write_text("{}")
    monkeypatch.setattr(install, "OWN_PROGRAMS", tmp_path)
    (tmp_path / "scumble").symlink_to(environment / "bin" / "scumble")
    return environment


def test_uninstall_keeps_models_and_settings(home: Home, installed: Path) -> None:
    install.uninstall(home, everything=False)
    assert not installed.exists()
    kept = {path.name for path in home.root.iterdir()}
    assert kept == {"models", "jobs", "logs", "token", "settings.json"}
    install.uninstall(home, everything=False)  # nothing left to do


def test_uninstall_of_all_leaves_nothing_of_ours(home: Home, installed: Path) -> None:
    (home.root / "thesis.txt").write_text("precious")
    install.uninstall(home, everything=True)
    assert [path.name for path in home.root.iterdir()] == ["thesis.txt"]
    (home.root / "thesis.txt").unlink()
    install.uninstall(home, everything=True)
    assert not home.root.exists()
    assert not installed.exists()
    assert not (installed.parent / "scumble").is_symlink()


def test_uninstall_removes_only_environments(home: Home, installed: Path) -> None:
    (installed / "pyvenv.cfg").unlink()
    (installed / "thesis.txt").write_text("precious")
    install.uninstall(home, everything=False)
    assert (installed / "thesis.txt").exists()


def test_sample_picture_and_what_to_remove_from_it() -> None:
    picture, mask = sample.draw_sample()
    assert picture.size == mask.size == (sample.WIDTH, sample.HEIGHT)
    covered = np.asarray(mask) == 255
    assert 0.01 < covered.mean() < 0.05
    clean = np.asarray(sample._lake())
    changed = (np.asarray(picture) != clean).any(axis=-1)
    assert not (changed & ~covered).any()
    assert sample.beside(picture, Image.new("RGB", (10, 600))).size == (sample.WIDTH + 26, 600)
