"""Gets the real Krita and GIMP for the tests: one from the machine's own packages, the others as Debian folders.

    python tests/hosts/setup_hosts.py --directory .test-env/hosts [--host NAME ...]

A folder is built under a temporary name and renamed when it is whole; it is built again only when its recipe changes.
Needs a Debian-like machine and root; without them the tests of the hosts are skipped. Standard library only, because it
runs before any environment exists.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DIRECTORY = REPOSITORY / ".test-env" / "hosts"

TOOLS = ("xvfb", "openbox", "xdotool", "mmdebstrap", "bubblewrap", "procps")
# at-spi2-core and dbus-daemon: the windows' accessible tree. The font: without one the windows show boxes for letters.
GIMP_PACKAGES = ("gimp", "dbus-daemon", "at-spi2-core", "gir1.2-atspi-2.0", "fonts-dejavu-core")
LEFT_OUT = ("doc", "man", "locale", "help", "info")


class SetupProblem(Exception):
    """A host that cannot be had here: one sentence that says why."""


@dataclass(frozen=True)
class Recipe:
    """How one host is made.

    suite     Debian suite of the folder; "" = the host is a package of the machine itself
    packages  what is installed
    newer     packages that come from the suite `experimental`, on top
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    newer: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        return self.name.split("-")[0]

    @property
    def version(self) -> str:
        return self.name.split("-")[1]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self, LEFT_OUT)).encode()).hexdigest()


# python3-pyqt5 and python3-pyqt6 are only recommended by Krita's package, but without them it loads no Python plug-in.
# QtWebSockets is left out on purpose: Krita's own builds do not carry it.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("krita-5.1", "", ("krita", "python3-pyqt5", "python3-sip")),
        Recipe("krita-5.2", "trixie", ("krita", "python3-pyqt5", "fonts-dejavu-core")),
        Recipe("krita-6.0", "forky", ("python3-pyqt6", "qt6-svg-plugins", "fonts-dejavu-core"), newer=("krita",)),
        Recipe("gimp-3.0", "trixie", GIMP_PACKAGES),
        Recipe("gimp-3.2", "forky", GIMP_PACKAGES),
    )
}
USUAL = ("krita-5.1", "krita-6.0", "gimp-3.0", "gimp-3.2")
"""What CI prepares. The others are for looking into a report from that version."""


def prepare_hosts(directory: Path = DIRECTORY, names: Sequence[str] = USUAL) -> None:
    """Makes every host of `names` usable, with a line of progress for each; returns at once for those that are.

    Raises SetupProblem.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory / "lock"):
        missing = [RECIPES[name] for name in names if find_root(RECIPES[name], directory) is None]
        if missing and (shutil.which("apt-get") is None or os.geteuid() != 0):
            names_of_missing = ", ".join(recipe.name for recipe in missing)
            raise SetupProblem(f"{names_of_missing}: the real hosts are installed by apt-get, as root, on Debian only.")
        of_machine = [package for recipe in missing if not recipe.suite for package in recipe.packages]
        _install([*of_machine, *TOOLS], directory / "apt.log")
        _machine_krita.cache_clear()
        for recipe in missing:
            if not recipe.suite and find_root(recipe, directory) is None:
                raise SetupProblem(f"{recipe.name}: this machine's packages have another version of {recipe.program}.")
        folders = [recipe for recipe in missing if recipe.suite]
        with ThreadPoolExecutor(2) as pool:
            for recipe, seconds in pool.map(lambda recipe: _build(recipe, directory), folders):
                print(f"{recipe.name}: built in {seconds:.0f} s", flush=True)


def find_root(recipe: Recipe, directory: Path = DIRECTORY) -> Path | None:
    """The folder that holds the prepared host as its root file system ("/" = the machine itself), None where there is
    none that fits the recipe."""
    if not recipe.suite:
        return Path("/") if _machine_krita().startswith(recipe.version + ".") else None
    root = directory / recipe.name
    mark = root / ".recipe"
    return root if mark.is_file() and mark.read_text() == recipe.fingerprint else None


@functools.lru_cache
def _machine_krita() -> str:
    """Version of the machine's own Krita, e.g. "5.1.5"; "" without one. kritarunner tells it without a display."""
    if shutil.which("kritarunner") is None:
        return ""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(["kritarunner", "--version"], capture_output=True, text=True, timeout=60, env=environment)
    return (done.stdout.split() or [""])[-1]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two runs at once build once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(packages: Sequence[str], log: Path) -> None:
    if all(_is_installed(package) for package in packages):
        return
    started = time.monotonic()
    print(f"Installing {' '.join(packages)} ...", flush=True)
    _run(["apt-get", "update", "-q"], log)
    _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages], log)
    print(f"Installed in {time.monotonic() - started:.0f} s", flush=True)


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True).stdout == "installed"


def _build(recipe: Recipe, directory: Path) -> tuple[Recipe, float]:
    started = time.monotonic()
    print(f"{recipe.name}: building from Debian {recipe.suite} (minutes) ...", flush=True)
    target, unfinished = directory / recipe.name, directory / f"{recipe.name}.unfinished"
    for old in (target, unfinished):
        shutil.rmtree(old, ignore_errors=True)
    mirror = _mirror()
    suites = [recipe.suite, *(["experimental"] if recipe.newer else [])]
    options = ['APT::Install-Recommends "false"', 'Acquire::Languages "none"', 'Acquire::Check-Valid-Until "false"']
    hooks = []
    if recipe.newer:
        hooks = [f'--customize-hook=chroot "$1" apt-get install --yes -t experimental {" ".join(recipe.newer)}']
    _run(
        [
            "mmdebstrap",
            "--variant=apt",
            "--skip=check/qemu",
            *(f"--aptopt={option}" for option in options),
            "--dpkgopt=force-unsafe-io",
            *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in LEFT_OUT),
            *hooks,
            f"--include={','.join(recipe.packages)}",
            recipe.suite,
            str(unfinished),
            *(f"deb {mirror} {suite} main" for suite in suites),
        ],
        directory / f"{recipe.name}.log",
    )
    (unfinished / ".recipe").write_text(recipe.fingerprint)
    unfinished.rename(target)
    return recipe, time.monotonic() - started


def _mirror() -> str:
    """The archive that this machine's own apt is set up with."""
    query = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SITE)", "Created-By: Packages"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    sites = [line.split()[1].rstrip("/") for line in lines if line.startswith("Debian ") and "security" not in line]
    if not sites:
        raise SetupProblem("This machine's apt knows no archive of Debian to build the hosts from.")
    return sites[0]


def _run(command: Sequence[str], log: Path) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with log.open("ab") as output:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=1200
        )
    if done.returncode:
        end = log.read_text(errors="replace")[-3000:]
        raise SetupProblem(f"{command[0]} failed; the end of {log}:\n{end}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Gets the real Krita and GIMP for the tests.")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where the folders lie (%(default)s)")
    parser.add_argument("--host", action="append", choices=RECIPES, help="only this one (may be given several times)")
    arguments = parser.parse_args()
    try:
        prepare_hosts(arguments.directory.resolve(), arguments.host or USUAL)
    except SetupProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
