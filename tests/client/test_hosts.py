"""Finding Krita and GIMP, and our plug-in's state there, in trees of files made for each test."""

from __future__ import annotations

import os
import plistlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scumble.client.hosts import Host, Machine, find_hosts
from scumble.client.plugins import (
    find_bundle,
    install_plugin,
    plugin_state,
    remove_plugin,
    repair_plugin,
)
from scumble.home import Home

VERSION = "0.1.0"


class Fake:
    """A computer whose commands answer what the test says."""

    def __init__(self, root: Path) -> None:
        self.user = root / "home"
        self.user.mkdir()
        self.system = root
        self.commands: dict[str, str] = {}
        self.outputs: dict[str, str] = {}
        self.environ: dict[str, str] = {}

    def machine(self, platform: str = "linux") -> Machine:
        return Machine(platform, self.user, self.system, self.environ, self.which, self.run)

    def which(self, command: str) -> str | None:
        return self.commands.get(command)

    def run(self, command: Sequence[str]) -> str:
        return self.outputs.get(" ".join(command), "")

    def touch(self, *parts: str) -> Path:
        path = self.system.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def described(hosts: Sequence[Host]) -> list:
    return [(host.program, host.version, host.source) for host in hosts]


def test_bare_machine(fake: Fake) -> None:
    assert find_hosts(fake.machine("linux")) == ()
    assert find_hosts(fake.machine("darwin")) == ()


def test_system_programs_on_linux(fake: Fake) -> None:
    fake.commands = {"krita": "/usr/bin/krita", "gimp": "/usr/bin/gimp", "gimp-3.0": "/usr/bin/gimp-3.0"}
    fake.outputs["dpkg-query -W -f ${Version} krita"] = "1:5.2.9+dfsg-1"
    for program in ("/usr/bin/gimp", "/usr/bin/gimp-3.0"):
        fake.outputs[program + " --version"] = "GNU Image Manipulation Program version 3.0.4"
    krita, gimp = find_hosts(fake.machine())
    assert krita == Host("Krita", "5.2.9", "system", fake.user / ".local/share/krita/pykrita")
    assert gimp == Host("GIMP", "3.0.4", "system", fake.user / ".config/GIMP/3.0/plug-ins")


def test_folders_follow_the_environment(fake: Fake) -> None:
    fake.commands = {"krita": "/usr/bin/krita", "gimp": "/usr/bin/gimp"}
    fake.outputs["/usr/bin/gimp --version"] = "GNU Image Manipulation Program version 3.2.6"
    fake.environ = {"XDG_DATA_HOME": str(fake.user / "data"), "XDG_CONFIG_HOME": str(fake.user / "config")}
    krita, gimp = find_hosts(fake.machine())
    assert krita.plugins == fake.user / "data/krita/pykrita"
    assert gimp.plugins == fake.user / "config/GIMP/3.2/plug-ins"
    fake.environ["GIMP3_DIRECTORY"] = str(fake.user / "elsewhere")
    assert find_hosts(fake.machine())[1].plugins == fake.user / "elsewhere/plug-ins"


def test_old_gimp_is_named_and_not_served(fake: Fake) -> None:
    fake.commands = {"gimp": "/usr/bin/gimp"}
    fake.outputs["/usr/bin/gimp --version"] = "GNU Image Manipulation Program version 2.10.34"
    (gimp,) = find_hosts(fake.machine())
    assert gimp.version == "2.10.34"
    assert gimp.problem == "GIMP 2.10 has no usable Python for plug-ins any more: install GIMP 3."


def test_old_krita_is_named_and_not_served(fake: Fake) -> None:
    fake.commands = {"krita": "/usr/bin/krita"}
    fake.outputs["dpkg-query -W -f ${Version} krita"] = "1:4.4.2+dfsg-1"
    (krita,) = find_hosts(fake.machine())
    assert "5.1 or later" in krita.problem


def test_flatpaks(fake: Fake) -> None:
    fake.commands = {"krita": "/var/lib/flatpak/exports/bin/krita"}
    fake.outputs["flatpak info org.kde.krita"] = "Krita\n\n   ID: org.kde.krita\n   Version: 5.2.11\n"
    fake.outputs["flatpak info org.gimp.GIMP"] = "GIMP\n\n   Version: 3.2.0\n"
    krita, gimp = find_hosts(fake.machine())
    assert krita == Host("Krita", "5.2.11", "Flatpak", fake.user / ".var/app/org.kde.krita/data/krita/pykrita")
    assert gimp == Host("GIMP", "3.2.0", "Flatpak", fake.user / ".config/GIMP/3.2/plug-ins")


def test_a_snap_is_named_and_not_served(fake: Fake) -> None:
    """It would not look where other Kritas and GIMPs do, and cannot read the backend's token."""
    fake.commands = {"krita": "/snap/bin/krita", "gimp": "/var/lib/snapd/snap/bin/gimp"}
    fake.outputs["/var/lib/snapd/snap/bin/gimp --version"] = "GNU Image Manipulation Program version 3.0.4"
    hosts = find_hosts(fake.machine())
    assert described(hosts) == [("Krita", "", "Snap"), ("GIMP", "", "Snap")]
    assert all("A Snap cannot reach Scumble" in host.problem for host in hosts)


@pytest.mark.parametrize(
    ("platform", "data"),
    [("linux", ".local/share"), ("darwin", "Library/Application Support"), ("win32", "AppData/Roaming")],
)
def test_a_krita_that_lies_elsewhere_and_has_run(fake: Fake, platform: str, data: str) -> None:
    """A portable one, one of Steam's, an AppImage in a folder of its own."""
    (fake.user / data / "krita").mkdir(parents=True)
    (krita,) = find_hosts(fake.machine(platform))
    assert krita == Host("Krita", "", "has run here", fake.user / data / "krita" / "pykrita")


def test_flatpak_without_its_command(fake: Fake) -> None:
    (fake.system / "var/lib/flatpak/app/org.kde.krita").mkdir(parents=True)
    assert described(find_hosts(fake.machine())) == [("Krita", "", "Flatpak")]


def test_app_image_and_a_gimp_that_has_run(fake: Fake) -> None:
    fake.touch("home", "Applications", "krita-5.2.9-x86_64.appimage")
    for folder in ("2.10", "3.0", "3.0/plug-ins", "other"):
        (fake.user / ".config/GIMP" / folder).mkdir(parents=True)
    assert described(find_hosts(fake.machine())) == [
        ("Krita", "5.2.9", "AppImage"),
        ("GIMP", "2.10", "has run here"),
        ("GIMP", "3.0", "has run here"),
    ]


def test_windows(fake: Fake) -> None:
    programs = fake.system / "Program Files"
    fake.environ = {
        "ProgramFiles": str(programs),
        "APPDATA": str(fake.user / "Roaming"),
        "LOCALAPPDATA": str(fake.user / "Local"),
    }
    fake.touch("Program Files", "Krita (x64)", "bin", "krita.exe")
    console = fake.touch("Program Files", "GIMP 3", "bin", "gimp-console-3.0.exe")
    fake.outputs[f"{console} --version"] = "GNU Image Manipulation Program version 3.0.6"
    (fake.user / "Local/Packages/49800Krita_RT1Q2345").mkdir(parents=True)
    normal, store, gimp = find_hosts(fake.machine("win32"))
    assert normal.plugins == fake.user / "Roaming/krita/pykrita"
    assert store.plugins == fake.user / "Local/Packages/49800Krita_RT1Q2345/LocalCache/Roaming/krita/pykrita"
    assert gimp.plugins == fake.user / "Roaming/GIMP/3.0/plug-ins"


def test_mac(fake: Fake) -> None:
    info = fake.touch("Applications", "krita.app", "Contents", "Info.plist")
    info.write_bytes(plistlib.dumps({"CFBundleShortVersionString": "5.2.9"}))
    app = fake.system / "Applications" / "GIMP.app"
    app.mkdir()
    fake.outputs[f"{app}/Contents/MacOS/gimp --version"] = "GNU Image Manipulation Program version 3.0.4"
    krita, gimp = find_hosts(fake.machine("darwin"))
    assert (krita.version, gimp.version) == ("5.2.9", "3.0.4")
    assert krita.plugins == fake.user / "Library/Application Support/krita/pykrita"
    assert gimp.plugins == fake.user / "Library/Application Support/GIMP/3.0/plug-ins"


# ---- our plug-in -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["Krita", "GIMP"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """A program with another plug-in that must stay as it is."""
    folder = "krita/pykrita" if request.param == "Krita" else "GIMP/3.0/plug-ins"
    host = Host(request.param, "", "system", tmp_path / folder)
    (host.plugins / "other").mkdir(parents=True)
    (host.plugins / "other" / "other.py").write_text("")
    (host.plugins / "other.desktop").write_text("")
    return host


@pytest.fixture
def bundle(host: Host, home: Home) -> Path:
    """A stand-in for what packaging/build_plugins.py makes."""
    bundle = home.root / "plugins" / host.program.lower()
    name, entry = ("scumble_krita", "__init__.py") if host.program == "Krita" else ("scumble-gimp", "scumble-gimp.py")
    (bundle / name / "lib" / "scumble").mkdir(parents=True)
    (bundle / name / "lib" / "scumble" / "__init__.py").write_text(f'__version__ = "{VERSION}"\n')
    (bundle / name / entry).write_text("#!/usr/bin/env python3\n")
    if host.program == "Krita":
        (bundle / "scumble_krita.desktop").write_text("[Desktop Entry]\nX-KDE-Library=scumble_krita\n")
        (bundle / "scumble_krita.action").write_text("<ActionCollection/>")
    return bundle


def plugin_folder(host: Host) -> Path:
    return host.plugins / ("scumble_krita" if host.program == "Krita" else "scumble-gimp")


def test_install_again_and_remove(host: Host, bundle: Path, home: Home) -> None:
    before = sorted(host.plugins.rglob("*"))
    assert find_bundle(home, host.program) == bundle
    assert plugin_state(host, VERSION).kind == "missing"
    for _ in range(2):
        install_plugin(host, bundle)
        assert plugin_state(host, VERSION).kind == "right"
    if host.program == "Krita":
        assert (host.plugins.parent / "actions" / "scumble_krita.action").exists()
    else:
        assert os.access(plugin_folder(host) / "scumble-gimp.py", os.X_OK)
    assert remove_plugin(host)
    assert not remove_plugin(host)
    assert sorted(host.plugins.rglob("*")) == before
    assert plugin_state(host, VERSION).kind == "missing"


def test_no_bundle_in_this_version(host: Host, home: Home) -> None:
    assert find_bundle(home, host.program) is None


def test_install_into_a_program_that_never_ran(host: Host, bundle: Path, tmp_path: Path) -> None:
    fresh = replace(host, plugins=tmp_path / "new" / "plug-ins")
    assert plugin_state(fresh, VERSION).kind == "missing"
    install_plugin(fresh, bundle)
    assert plugin_state(fresh, VERSION).kind == "right"


def test_other_version(host: Host, bundle: Path) -> None:
    install_plugin(host, bundle)
    state = plugin_state(host, "0.2.0")
    assert (state.kind, "0.1.0" in state.detail) == ("other version", True)


def test_wrong_folder_name_is_mended(host: Host, bundle: Path) -> None:
    install_plugin(host, bundle)
    folder = plugin_folder(host)
    folder.rename(folder.with_name(folder.name + "-main"))
    state = plugin_state(host, VERSION)
    assert state.kind == "wrong name"
    assert folder.name in state.detail
    assert repair_plugin(host, state, None)
    assert plugin_state(host, VERSION).kind == "right"


@pytest.mark.parametrize("with_bundle", [True, False])
def test_folder_in_a_folder(host: Host, bundle: Path, with_bundle: bool) -> None:
    install_plugin(host, bundle)
    folder = plugin_folder(host)
    folder.rename(folder.with_name("x"))
    folder.mkdir()
    folder.with_name("x").rename(folder / folder.name)
    state = plugin_state(host, VERSION)
    assert state.kind == "wrong name"
    assert repair_plugin(host, state, bundle if with_bundle else None) == with_bundle
    assert plugin_state(host, VERSION).kind == ("right" if with_bundle else "wrong name")


def test_missing_file(host: Host, bundle: Path) -> None:
    install_plugin(host, bundle)
    (plugin_folder(host) / "lib" / "scumble" / "__init__.py").unlink()
    state = plugin_state(host, VERSION)
    assert state.kind == "unreadable"
    assert not repair_plugin(host, state, None)
    assert repair_plugin(host, state, bundle)
    assert plugin_state(host, VERSION).kind == "right"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit.")
@pytest.mark.parametrize("with_bundle", [True, False])
@pytest.mark.parametrize("host", ["GIMP"], indirect=True)
def test_gimp_needs_the_executable_bit(host: Host, bundle: Path, with_bundle: bool) -> None:
    install_plugin(host, bundle)
    (plugin_folder(host) / "scumble-gimp.py").chmod(0o644)
    state = plugin_state(host, VERSION)
    assert state.kind == "not executable"
    assert repair_plugin(host, state, bundle if with_bundle else None)
    assert plugin_state(host, VERSION).kind == "right"


@pytest.mark.parametrize("host", ["GIMP"], indirect=True)
def test_gimp_script_without_its_folder(host: Host, bundle: Path) -> None:
    host.plugins.mkdir(parents=True, exist_ok=True)
    (host.plugins / "scumble-gimp.py").write_text("")
    state = plugin_state(host, VERSION)
    assert state.kind == "wrong name"
    assert repair_plugin(host, state, bundle)
    assert plugin_state(host, VERSION).kind == "right"
    assert not (host.plugins / "scumble-gimp.py").exists()


@pytest.mark.parametrize("host", ["Krita"], indirect=True)
@pytest.mark.parametrize("desktop", [None, "[Desktop Entry]\nX-KDE-Library=scumble_krita_old\n"])
def test_krita_needs_its_desktop_file(host: Host, bundle: Path, desktop: str | None) -> None:
    install_plugin(host, bundle)
    path = host.plugins / "scumble_krita.desktop"
    path.unlink()
    if desktop is not None:
        path.write_text(desktop)
    state = plugin_state(host, VERSION)
    assert state.kind == ("unreadable" if desktop is None else "wrong name")
    assert repair_plugin(host, state, bundle)
    assert plugin_state(host, VERSION).kind == "right"
