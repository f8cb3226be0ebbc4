"""Builds what is given away: the wheel, and a zip for each plug-in that this checkout has.

    python3 packaging/build_plugins.py --output DIR

Same sources, same bytes. A plug-in carries the client and the pure-Python websockets in its folder lib, because the
Python inside a painting program has no pip.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from environment import REPOSITORY, SetupProblem, build_wheel, make_environment, run_pip, scumble_version

WEBSOCKETS = "websockets==15.0.1"
"""The last release whose pure-Python wheel runs on Python 3.9."""
WEBSOCKETS_SHA256 = "f7a866fbc1e97b5c617ee4116daaa09b722101d4a3c170c787450ba409f9736f"
CLIENT = ("__init__.py", "files.py", "home.py", "lock.py", "protocol", "client")
"""What of the package goes into a plug-in."""
PLUGINS = {"Krita": REPOSITORY / "krita_plugin", "GIMP": REPOSITORY / "gimp_plugin"}
_OLDEST_DATE = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds Scumble's wheel and plug-in zips.")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where to put them")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="take packages from this folder, not the network")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            python = make_environment(Path(scratch) / "env")
            print(build_wheel(python, options.output, options.wheels))
            for program, bundle in build_bundles(python, Path(scratch) / "plugins", options.wheels).items():
                target = options.output / f"scumble-{program.lower()}-{scumble_version()}.zip"
                write_zip(bundle, target)
                print(target)
    except SetupProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def build_bundles(python: Path, into: Path, wheels: Path | None = None) -> dict[str, Path]:
    """A folder for each plug-in of this checkout, as scumble.client.plugins describes it, in `into`, by program.

    Raises SetupProblem.
    """
    with tempfile.TemporaryDirectory() as scratch:
        websockets = fetch_websockets(python, Path(scratch), wheels)
        return {
            program: make_bundle(program, sources, websockets, into / program.lower())
            for program, sources in PLUGINS.items()
        }


def make_bundle(program: str, sources: Path, websockets: Path, bundle: Path) -> Path:
    """Puts one plug-in together in the folder `bundle`, in place of any that is there."""
    shutil.rmtree(bundle, ignore_errors=True)
    only_what_runs = shutil.ignore_patterns("__pycache__", "*.pyc", "screenshot.png")
    # Krita unpacks what lies beside its .desktop file; GIMP wants all in one folder with the script's name.
    root = bundle if program == "Krita" else bundle / "scumble-gimp"
    shutil.copytree(sources, root, ignore=only_what_runs)
    folder = root / "scumble_krita" if program == "Krita" else root
    shutil.copyfile(REPOSITORY / "LICENSE", folder / "LICENSE")
    for name in CLIENT:
        source, target = REPOSITORY / "backend" / "scumble" / name, folder / "lib" / "scumble" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=only_what_runs)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    with zipfile.ZipFile(websockets) as wheel:
        for name in wheel.namelist():
            if name.startswith("websockets/") and name.endswith(".py"):
                wheel.extract(name, folder / "lib")
        (licence,) = (name for name in wheel.namelist() if name.endswith(".dist-info/LICENSE"))
        (folder / "lib" / "websockets" / "LICENSE").write_bytes(wheel.read(licence))
    if program == "GIMP":
        (folder / "scumble-gimp.py").chmod(0o755)
    else:
        name_by_place(folder / "lib")
    return bundle


def name_by_place(library: Path) -> None:
    """Has the packages in `library` find each other by their place, not by name: all plug-ins of Krita share one
    interpreter, where another one may have brought its own websockets."""
    for path in sorted((library / "scumble").rglob("*.py")):
        dots = "." * len(path.relative_to(library).parts)
        text = path.read_text(encoding="utf-8")
        path.write_text(
            re.sub(r"^from websockets\b", f"from {dots}websockets", text, flags=re.MULTILINE), encoding="utf-8"
        )


def fetch_websockets(python: Path, into: Path, wheels: Path | None = None) -> Path:
    """The pinned pure-Python wheel. Raises SetupProblem."""
    source = ["--no-index", "--find-links", str(wheels)] if wheels else []
    # A hash that we name makes pip refuse any other file, and every platform but "any" refuses compiled ones.
    requirements = into / "requirements.txt"
    requirements.write_text(f"{WEBSOCKETS} --hash=sha256:{WEBSOCKETS_SHA256}\n", encoding="utf-8")
    pure = ["--only-binary", ":all:", "--platform", "any", "--implementation", "py", "--abi", "none"]
    run_pip(
        python, "download", "-q", "--no-input", "--no-deps", "--python-version", "3.9", *pure, *source,
        "--require-hashes", "-d", str(into), "-r", str(requirements),
    )  # fmt: skip
    (wheel,) = into.glob("websockets-*.whl")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WEBSOCKETS_SHA256:
        raise SetupProblem("The websockets package is not the one that we know.")
    return wheel


def write_zip(folder: Path, target: Path) -> None:
    """The folder's content as a zip with an entry for each folder: Krita's importer finds a plug-in by that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            entry = zipfile.ZipInfo(name + "/" if path.is_dir() else name, _OLDEST_DATE)
            entry.create_system = 3  # Unix, whose file modes these are, wherever this runs
            executable = path.is_dir() or path.name == "scumble-gimp.py"
            entry.external_attr = (0o40755 if path.is_dir() else 0o100755 if executable else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, b"" if path.is_dir() else path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
