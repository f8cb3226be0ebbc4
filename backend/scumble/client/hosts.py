"""Finds Krita and GIMP on this computer and where each looks for plug-ins. Standard library only, Python 3.9 and later.

Sources: Krita's and GIMP's manuals on resource folders.
"""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, List, Literal, Mapping, Optional, Sequence, Tuple

Program = Literal["Krita", "GIMP"]
_SNAP = "/snap/bin/"


@dataclass(frozen=True)
class Machine:
    """What finding a program needs to know of a computer.

    platform  as sys.platform
    user      the user's home folder
    system    the root of the file system; programs of all users lie below it
    which     the path of a command, None where there is none
    run       the output of a command, "" where it cannot be run or fails
    """

    platform: str
    user: Path
    system: Path
    environ: Mapping[str, str]
    which: Callable[[str], Optional[str]]
    run: Callable[[Sequence[str]], str]

    def folder(self, variable: str, *default: str) -> Path:
        """A folder that an environment variable names, else the one in the user's home."""
        named = self.environ.get(variable)
        return Path(named) if named else self.user.joinpath(*default)


@dataclass(frozen=True)
class Host:
    """A painting program. `plugins` is the folder in which it looks for the user's plug-ins, `version` is "" where it
    cannot be told, `problem` says in one sentence why it cannot be served ("" = it can)."""

    program: Program
    version: str
    source: str
    plugins: Path
    problem: str = ""

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.program, self.version, f"({self.source})") if part)


def this_machine() -> Machine:
    return Machine(sys.platform, Path.home(), Path("/"), os.environ, shutil.which, _run)


def find_hosts(machine: Machine) -> Tuple[Host, ...]:
    """Every Krita and GIMP that can be found, those that cannot be served too; the same place is named once."""
    found: List[Host] = []
    krita = tuple(_find_krita(machine))
    # One that lies elsewhere (an AppImage, a portable one, Steam's) has left its folder when it ran.
    pykrita = _pykrita(machine)
    if pykrita.parent.is_dir() and all(host.plugins != pykrita for host in krita):
        krita += (_krita("", "has run here", pykrita),)
    for host in (*krita, *_find_gimp(machine)):
        if all((host.plugins, host.version, host.source) != (h.plugins, h.version, h.source) for h in found):
            found.append(host)
    return tuple(found)


def gimp_offers(machine: Machine, host: Host, procedure: str) -> Optional[bool]:
    """Whether this GIMP, asked by itself, knows a plug-in's procedure; None where it cannot be asked."""
    question = f"print('offered:', Gimp.get_pdb().procedure_exists('{procedure}'))"
    interpreter = ["--batch-interpreter=python-fu-eval", "--batch", question, "--quit"]
    for program in _gimp_programs(machine):
        console = machine.which(re.sub(r"gimp(?!-console)(?=[^/\\\\]*$)", "gimp-console", program))
        if console and host.source == "system" and _version_in(machine.run([program, "--version"])) == host.version:
            found = re.search(r"offered: (True|False)", machine.run([console, "-i", "-d", "-f", *interpreter]))
            return found[1] == "True" if found else None
    return None


# ---- Krita -----------------------------------------------------------------------------------------------------------


def _find_krita(machine: Machine) -> Iterator[Host]:
    pykrita = _pykrita(machine)
    if machine.platform == "win32":
        if _exists(_windows_programs(machine), "Krita*/bin/krita.exe"):
            yield _krita("", "program folder", pykrita)
        packages = machine.folder("LOCALAPPDATA", "AppData", "Local") / "Packages"
        for package in sorted(packages.glob("*Krita_*")):
            yield _krita("", "Microsoft Store", package / "LocalCache" / "Roaming" / "krita" / "pykrita")
        return
    if machine.platform == "darwin":
        for app in _mac_apps(machine, "krita*.app"):
            yield _krita(_mac_version(app), "application", pykrita)
        return
    program = machine.which("krita")
    if program and _SNAP in program:
        yield _snap(machine, "Krita", ".local/share/krita/pykrita")
    elif program and "/flatpak/" not in program:
        # Asking Krita itself would open a display.
        known = machine.run(["dpkg-query", "-W", "-f", "${Version}", "krita"]) or machine.run(["pacman", "-Q", "krita"])
        yield _krita(_version_in(known), "system", pykrita)
    for image in _app_images(machine, "krita"):
        yield _krita(_version_in(image.name), "AppImage", pykrita)
    flatpak = _flatpak_version(machine, "org.kde.krita")
    if flatpak is not None:
        yield _krita(flatpak, "Flatpak", machine.user / ".var/app/org.kde.krita/data/krita/pykrita")


def _pykrita(machine: Machine) -> Path:
    if machine.platform == "win32":
        data = machine.folder("APPDATA", "AppData", "Roaming")
    elif machine.platform == "darwin":
        data = machine.user / "Library" / "Application Support"
    else:
        data = machine.folder("XDG_DATA_HOME", ".local", "share")
    return data / "krita" / "pykrita"


def _krita(version: str, source: str, pykrita: Path) -> Host:
    too_old = bool(version) and _numbers(version) < (5, 1)
    problem = "Krita is too old for the plug-in: install Krita 5.1 or later." if too_old else ""
    return Host("Krita", version, source, pykrita, problem)


# ---- GIMP ------------------------------------------------------------------------------------------------------------


def _find_gimp(machine: Machine) -> Iterator[Host]:
    base = _gimp_base(machine)
    versions: List[str] = []
    for program in _gimp_programs(machine):
        if _SNAP in program:
            yield _snap(machine, "GIMP", ".config/GIMP/3.0/plug-ins")
            continue
        version = _version_in(machine.run([program, "--version"]))
        if version and version not in versions:
            versions.append(version)
            yield _gimp(version, "system", _gimp_folder(machine, base, version))
    flatpak = _flatpak_version(machine, "org.gimp.GIMP") if machine.platform.startswith("linux") else None
    if flatpak:
        versions.append(flatpak)
        yield _gimp(flatpak, "Flatpak", base / _minor(flatpak))
    # A GIMP that lies elsewhere (an AppImage, a portable one) has left its folder when it ran.
    known = {_minor(version) for version in versions}
    for folder in sorted(base.glob("[23].*")):
        if folder.is_dir() and folder.name not in known:
            yield _gimp(folder.name, "has run here", folder)


def _gimp(version: str, source: str, folder: Path) -> Host:
    problem = ""
    if _numbers(version) < (2, 99):
        problem = f"GIMP {_minor(version)} has no usable Python for plug-ins any more: install GIMP 3."
    return Host("GIMP", version, source, folder / "plug-ins", problem)


def _gimp_base(machine: Machine) -> Path:
    """The folder with one folder for each minor version."""
    if machine.platform == "win32":
        return machine.folder("APPDATA", "AppData", "Roaming") / "GIMP"
    if machine.platform == "darwin":
        return machine.user / "Library" / "Application Support" / "GIMP"
    return machine.folder("XDG_CONFIG_HOME", ".config") / "GIMP"


def _gimp_folder(machine: Machine, base: Path, version: str) -> Path:
    named = machine.environ.get("GIMP3_DIRECTORY")
    if named and _numbers(version) >= (2, 99):
        return machine.user / named  # GIMP takes a relative one from the home folder; an absolute one stays
    return base / _minor(version)


def _gimp_programs(machine: Machine) -> Iterator[str]:
    if machine.platform == "win32":
        # The console program: the other one would open a window.
        for folder in _windows_programs(machine):
            yield from map(str, sorted(folder.glob("GIMP*/bin/gimp-console-*.exe")))
    elif machine.platform == "darwin":
        for app in _mac_apps(machine, "GIMP*.app"):
            yield str(app / "Contents" / "MacOS" / "gimp")
    else:
        for name in ("gimp", "gimp-3.2", "gimp-3.0", "gimp-3", "gimp-2.10"):
            program = machine.which(name)
            if program and "/flatpak/" not in program:
                yield program


# ---- ways to find things ---------------------------------------------------------------------------------------------


def _snap(machine: Machine, program: Program, folder: str) -> Host:
    """A Snap has a home of its own, and sees no hidden folder of the user's (https://snapcraft.io/docs/home-interface)."""
    problem = f"A Snap cannot reach Scumble: install {program} from elsewhere, as an AppImage, a Flatpak or a package."
    return Host(program, "", "Snap", machine.user / "snap" / program.lower() / "current" / folder, problem)


def _flatpak_version(machine: Machine, application: str) -> Optional[str]:
    """Its version ("" where it cannot be told), None where it is not installed."""
    output = machine.run(["flatpak", "info", application])
    if output:
        found = re.search(r"Version:\s*(\S+)", output)
        return _version_in(found[1]) if found else ""
    # Inside another sandbox or without the flatpak command its data still shows it.
    installed = any(
        (root / "app" / application).is_dir()
        for root in (machine.user / ".local/share/flatpak", machine.system / "var/lib/flatpak")
    )
    return "" if installed else None


def _app_images(machine: Machine, name: str) -> List[Path]:
    folders = (".", "Applications", "AppImages", "Downloads", "Desktop", "bin", ".local/bin")
    return sorted(
        path
        for folder in folders
        if (machine.user / folder).is_dir()
        for path in (machine.user / folder).iterdir()
        if path.name.lower().startswith(name) and path.suffix.lower() == ".appimage"
    )


def _windows_programs(machine: Machine) -> List[Path]:
    return [
        machine.folder("ProgramFiles", "Program Files"),
        machine.folder("LOCALAPPDATA", "AppData", "Local") / "Programs",
    ]


def _mac_apps(machine: Machine, pattern: str) -> List[Path]:
    return sorted(path for root in (machine.system, machine.user) for path in (root / "Applications").glob(pattern))


def _mac_version(app: Path) -> str:
    try:
        with (app / "Contents" / "Info.plist").open("rb") as file:
            return _version_in(str(plistlib.load(file).get("CFBundleShortVersionString", "")))
    except (OSError, ValueError):
        return ""


def _exists(folders: Sequence[Path], pattern: str) -> bool:
    return any(any(folder.glob(pattern)) for folder in folders)


def _version_in(text: str) -> str:
    found = re.search(r"\d+\.\d+(?:\.\d+)?", text.rpartition("version ")[2])
    return found[0] if found else ""


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _run(command: Sequence[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,  # the first start of a program may take half of that
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
