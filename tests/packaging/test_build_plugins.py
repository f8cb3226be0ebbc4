"""Plug-in bundles and zips, from stand-ins for the plug-ins' own sources."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import build_plugins
import pytest
from build_plugins import CLIENT, fetch_websockets, make_bundle, write_zip
from scumble import __version__
from scumble.client.hosts import Host
from scumble.client.plugins import install_plugin, plugin_state


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    krita, gimp = tmp_path / "krita_plugin", tmp_path / "gimp_plugin"
    (krita / "scumble_krita" / "__pycache__").mkdir(parents=True)
    (krita / "scumble_krita" / "__pycache__" / "x.pyc").write_text("")
    (krita / "scumble_krita" / "__init__.py").write_text("")
    (krita / "scumble_krita.desktop").write_text("[Desktop Entry]\nX-KDE-Library=scumble_krita\n")
    (krita / "scumble_krita.action").write_text("<ActionCollection/>")
    (gimp / "scumble_gimp").mkdir(parents=True)
    (gimp / "scumble_gimp" / "plugin.py").write_text("")
    (gimp / "scumble-gimp.py").write_text("#!/usr/bin/env python3\n")
    return {"Krita": krita, "GIMP": gimp}


@pytest.fixture
def websockets(tmp_path: Path) -> Path:
    wheel = tmp_path / "websockets-15.0.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("websockets/__init__.py", "websockets/sync/client.py", "websockets/speedups.c"):
            archive.writestr(name, "")
        archive.writestr("websockets-15.0.1.dist-info/LICENSE", "BSD")
        archive.writestr("websockets-15.0.1.dist-info/METADATA", "")
    return wheel


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("program", ["Krita", "GIMP"])
def test_bundle_is_what_the_installer_places(
    program: str, sources: dict[str, Path], websockets: Path, tmp_path: Path
) -> None:
    bundle = make_bundle(program, sources[program], websockets, tmp_path / "bundle")
    folder = bundle / ("scumble_krita" if program == "Krita" else "scumble-gimp")
    names = names_in(folder)
    assert {"LICENSE", "lib/websockets/__init__.py", "lib/websockets/sync/client.py", "lib/websockets/LICENSE"} <= names
    assert {"lib/scumble/home.py", "lib/scumble/protocol/frames.py", "lib/scumble/client/client.py"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".c")) or "scumble/server" in name]
    host = Host("Krita" if program == "Krita" else "GIMP", "", "system", tmp_path / "host" / "plug-ins")
    install_plugin(host, bundle)
    assert plugin_state(host, __version__).kind == "right"


def test_bundles_protocol_runs_alone(sources: dict[str, Path], websockets: Path, tmp_path: Path) -> None:
    """What is packed is enough to import: nothing of the backend, nothing but the standard library."""
    bundle = make_bundle("Krita", sources["Krita"], websockets, tmp_path / "bundle")
    library = bundle / "scumble_krita" / "lib"
    modules = "scumble.protocol.frames, scumble.client.hosts, scumble.client.plugins, scumble.client.settings"
    code = f"import sys; sys.path.insert(0, {str(library)!r}); import {modules}; print(scumble.__file__)"
    python = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(python, check=True, timeout=60, capture_output=True, text=True)
    assert Path(done.stdout.strip()) == library / "scumble" / "__init__.py"


def test_kritas_packages_find_their_own_websockets(sources: dict[str, Path], websockets: Path, tmp_path: Path) -> None:
    """All plug-ins of Krita share one interpreter, and another one may have brought its own."""
    library = make_bundle("Krita", sources["Krita"], websockets, tmp_path / "krita") / "scumble_krita" / "lib"
    text = (library / "scumble" / "client" / "connection.py").read_text()
    assert "from ...websockets.sync.client import" in text
    assert not any("\nfrom websockets" in path.read_text() for path in (library / "scumble").rglob("*.py"))


def test_zip_has_folder_entries_and_is_the_same_each_time(
    sources: dict[str, Path], websockets: Path, tmp_path: Path
) -> None:
    zips = []
    for name in ("one", "two"):
        bundle = make_bundle("GIMP", sources["GIMP"], websockets, tmp_path / name)
        write_zip(bundle, tmp_path / f"{name}.zip")
        zips.append(tmp_path / f"{name}.zip")
        os.utime(sources["GIMP"] / "scumble-gimp.py", (1_000_000_000, 1_000_000_000))
    assert zips[0].read_bytes() == zips[1].read_bytes()
    with zipfile.ZipFile(zips[0]) as archive:
        names = archive.namelist()
        assert names[0] == "scumble-gimp/"
        assert {"scumble-gimp/lib/", "scumble-gimp/lib/scumble/client/"} <= set(names)
        assert archive.getinfo("scumble-gimp/scumble-gimp.py").external_attr >> 16 == 0o100755
        assert archive.getinfo("scumble-gimp/lib/scumble/home.py").external_attr >> 16 == 0o100644


def test_what_plugins_carry_exists() -> None:
    assert all((build_plugins.REPOSITORY / "backend" / "scumble" / name).exists() for name in CLIENT)


@pytest.mark.slow
def test_pinned_websockets_is_pure_python(tmp_path: Path) -> None:
    wheel = fetch_websockets(Path(sys.executable), tmp_path)
    assert wheel.name == "websockets-15.0.1-py3-none-any.whl"
