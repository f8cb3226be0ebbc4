"""Our plug-in in the folders of Krita and GIMP: what state it is in, placing it, mending it, taking it away.

A bundle is the folder that packaging/build_plugins.py makes for one program, and what its zip holds:
  Krita   scumble_krita.desktop  scumble_krita.action  scumble_krita/
  GIMP    scumble-gimp/scumble-gimp.py ...
Both folders carry the client in lib/scumble, whose version is the plug-in's.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import List, Literal, Optional

from ..home import Home
from .hosts import Host, Program

Kind = Literal["right", "missing", "wrong name", "not executable", "unreadable", "other version"]

KRITA, GIMP = "scumble_krita", "scumble-gimp"
"""Names of the plug-ins' folders. For GIMP the script must have its folder's name, or GIMP leaves it out in silence."""


@dataclass(frozen=True)
class PluginState:
    """`detail` is one sentence on what is wrong ("" where nothing is); `found` is the folder of the plug-in."""

    kind: Kind
    detail: str = ""
    found: Optional[Path] = None


def find_bundle(home: Home, program: Program) -> Optional[Path]:
    """The bundle that the installer left in the home; None where it was asked to leave the programs alone."""
    bundle = home.root / "plugins" / program.lower()
    return bundle if bundle.is_dir() else None


def plugin_state(host: Host, version: str) -> PluginState:
    """What a host would find in its folder; `version` is the one that belongs there."""
    name = _name(host)
    folder = host.plugins / name
    if not _entry(host, folder).exists():
        astray = _find_astray(host)
        if astray is None and not folder.exists():
            return PluginState("missing", "The plug-in is not installed.")
        if astray is None:
            return PluginState("unreadable", f"The plug-in's folder lacks {_entry(host, folder).name}.", folder)
        return PluginState("wrong name", f"The plug-in must lie in a folder named {name}, not {astray.name}.", astray)
    needed = [_entry(host, folder), folder / "lib" / "scumble" / "__init__.py", *sorted(folder.rglob("*.py"))]
    if host.program == "Krita":
        needed.append(_krita_desktop(host))
    for file in needed:
        if not _is_readable(file):
            return PluginState("unreadable", f"The plug-in's file {file.name} is missing or cannot be read.", folder)
    if host.program == "Krita" and not re.search(
        rf"^X-KDE-Library={KRITA}\s*$", _krita_desktop(host).read_text(encoding="utf-8", errors="replace"), re.MULTILINE
    ):
        return PluginState("wrong name", f"{KRITA}.desktop names another folder.", folder)
    if host.program == "GIMP" and os.name != "nt" and not os.access(_entry(host, folder), os.X_OK):
        return PluginState("not executable", "GIMP leaves out a plug-in whose file is not executable.", folder)
    theirs = _version_of(folder)
    if theirs != version:
        return PluginState("other version", f"The plug-in is of version {theirs or 'unknown'}, not {version}.", folder)
    return PluginState("right", "", folder)


def install_plugin(host: Host, bundle: Path) -> None:
    """Puts the plug-in of `bundle` into the host's folder, in place of any that is there. Raises OSError."""
    remove_plugin(host)
    host.plugins.mkdir(parents=True, exist_ok=True)
    folder = host.plugins / _name(host)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(bundle / folder.name, part)
    if host.program == "GIMP":
        _make_executable(_entry(host, part))
        os.utime(_entry(host, part))  # GIMP asks a plug-in anew what it offers only when its file has a new date
    part.rename(folder)
    if host.program == "Krita":
        for source, target in ((f"{KRITA}.desktop", _krita_desktop(host)), (f"{KRITA}.action", _krita_action(host))):
            if (bundle / source).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle / source, target)


def remove_plugin(host: Host) -> bool:
    """Takes our plug-in away, also from under a wrong name; says whether there was one. Raises OSError."""
    targets: List[Path] = [host.plugins / _name(host)]
    if host.program == "Krita":
        targets += [_krita_desktop(host), _krita_action(host)]
    astray = _find_astray(host)
    if astray is not None and astray.parent not in targets:
        targets.append(astray)
    there = [path for path in targets if path.exists() or path.is_symlink()]
    for path in there:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return bool(there)


def repair_plugin(host: Host, state: PluginState, bundle: Optional[Path]) -> bool:
    """Mends what can be mended: afresh from the bundle where there is one, else the bit or the name. Says whether it
    did. Raises OSError."""
    if state.kind == "right":
        return True
    if bundle is not None:
        install_plugin(host, bundle)
        return True
    folder = host.plugins / _name(host)
    if state.kind == "not executable":
        _make_executable(_entry(host, folder))
        os.utime(_entry(host, folder))
        return True
    if state.kind == "wrong name" and state.found is not None and state.found.is_dir() and not folder.exists():
        state.found.rename(folder)
        return True
    return False


def _name(host: Host) -> str:
    return KRITA if host.program == "Krita" else GIMP


def _entry(host: Host, folder: Path) -> Path:
    """The file that the host runs, in the plug-in's folder."""
    return folder / ("__init__.py" if host.program == "Krita" else f"{GIMP}.py")


def _krita_desktop(host: Host) -> Path:
    return host.plugins / f"{KRITA}.desktop"


def _krita_action(host: Host) -> Path:
    return host.plugins.parent / "actions" / f"{KRITA}.action"


def _find_astray(host: Host) -> Optional[Path]:
    """Our plug-in's folder (or GIMP script) under a wrong name, as unpacking by hand or renaming leaves it."""
    if not host.plugins.is_dir():
        return None
    right = host.plugins / _name(host)
    for path in sorted(host.plugins.iterdir()):
        if path == right:
            continue
        if host.program == "GIMP" and ((path / f"{GIMP}.py").is_file() or path.name == f"{GIMP}.py"):
            return path
        if path.is_dir() and (path / "lib" / "scumble" / "__init__.py").is_file():
            return path
    return right / right.name if (right / right.name).is_dir() and not _entry(host, right).exists() else None


def _version_of(folder: Path) -> str:
    text = (folder / "lib" / "scumble" / "__init__.py").read_text(encoding="utf-8", errors="replace")
    found = re.search(r'__version__ = "([^"]+)"', text)
    return found[1] if found else ""


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        return False
    return True


def _make_executable(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o111)
