"""The prepared hosts: where each is and how a program of it is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .setup_hosts import DIRECTORY, RECIPES, REPOSITORY, find_root

MACHINE = Path("/machine")
"""Where a folder's programs see the whole root of this machine."""


@dataclass(frozen=True)
class Install:
    """One prepared host. `root` is the folder with its file system, "/" for a package of the machine itself."""

    name: str
    root: Path

    @property
    def version(self) -> tuple[int, ...]:
        """(major, minor)"""
        return tuple(int(part) for part in RECIPES[self.name].version.split("."))

    @property
    def in_folder(self) -> bool:
        return self.root != Path("/")

    def command(self, arguments: Sequence[str], visible: Sequence[Path]) -> list[str]:
        """The command line that runs a program of this host. Each of `visible`, the repository and /tmp have the same
        path inside as outside; so have the loopback network and the processes.

        bubblewrap and not chroot: the image loaders of newer GTK open a sandbox of their own, which the kernel refuses
        in a plain chroot.
        """
        if not self.in_folder:
            return list(arguments)
        shared = {Path("/tmp"), REPOSITORY, *visible}
        return [
            *("bwrap", "--bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev"),
            *("--dev-bind", "/", str(MACHINE)),
            *(part for path in sorted(shared) for part in ("--bind", str(path), str(path))),
            *("--cap-add", "ALL", "--die-with-parent", "--"),
            *arguments,
        ]

    def machine_python(self, work: Path) -> Path:
        """A program, visible to the host, that is the Python of these tests: what the host may start a backend with."""
        if not self.in_folder:
            return Path(sys.executable)
        script = work / "machine-python"
        script.write_text(f'#!/bin/sh\nexec chroot {MACHINE} {sys.executable} "$@"\n')
        script.chmod(0o755)
        return script


def find_install(name: str) -> Install | None:
    root = find_root(RECIPES[name], DIRECTORY)
    return None if root is None else Install(name, root)


def warm_home(install: Install) -> Path:
    """Where the template of this host's HOME lies, which saves each start the seconds of the very first one."""
    return DIRECTORY / f"{install.name}.home-{RECIPES[install.name].fingerprint[:8]}"


def clean_environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """What a host sees: nothing of the test's own environment but what is named here."""
    run = home / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "USER": os.environ.get("USER", "root"),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_RUNTIME_DIR": str(run),
        **extra,
    }
