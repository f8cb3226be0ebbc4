"""Sets Scumble up on this computer, from a bare Python to two pictures: python3 packaging/install.py

Standard library only. Safe to run again at any time: what is there and right stays, the rest is mended.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - before anything is imported that older ones cannot read
    sys.exit(
        "Scumble needs Python 3.11 or later, this is {}.{}: run this with another Python.".format(*sys.version_info)
    )

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "backend"))

from build_plugins import build_bundles, fetch_websockets
from environment import (
    ALONE,
    CONSTRAINTS,
    SetupProblem,
    beside_pips_own,
    build_wheel,
    for_python,
    make_environment,
    pip_install,
    python_in,
    remove_torch_for_others,
    run_pip,
    scumble_version,
    torch_for_this_machine,
)
from scumble.client.hosts import find_hosts, gimp_offers, this_machine
from scumble.client.plugins import find_bundle, install_plugin, remove_plugin
from scumble.home import Home, find_home
from scumble.models.download import FILL_MODEL, fetch_fill_model
from scumble.protocol.errors import ScumbleError

OUTPAINT = 96
"""Pixels by which the sample picture grows on its left and right."""

DATA = (
    "models", "models.json", "cache", "jobs", "pending", "settings.json", "logs", "token", "backend.json",
    "backend.lock", "start.lock", "settings.lock",
)  # fmt: skip
"""What the backend and the client keep in the home folder."""


def main() -> int:
    options = parse(sys.argv[1:])
    home = find_home()
    try:
        if options.uninstall:
            uninstall(home, options.all)
        elif options.fetch:
            fetch(options.fetch.absolute(), options.fill_model)
        else:
            install(home, options)
    except (SetupProblem, ScumbleError) as problem:
        print(f"\n{problem} {getattr(problem, 'hint', '')}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run this again to go on.", file=sys.stderr)
        return 130
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Sets Scumble up on this computer and tries it on a sample picture.")
    parser.add_argument("--target", type=Path, metavar="DIR", help="folder for Scumble's Python environment")
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="take all packages from this folder, without a network"
    )  # fmt: skip
    parser.add_argument("--fill-model", type=Path, metavar="FILE", help=f"take {FILL_MODEL.name} from here")
    parser.add_argument(
        "--fetch", type=Path, metavar="DIR", help="install nothing, but put all that --wheels DIR and --fill-model need "
        "into this folder, for computers like this one that have no network",
    )  # fmt: skip
    parser.add_argument("--no-plugins", action="store_true", help="leave Krita and GIMP alone")
    parser.add_argument("--uninstall", action="store_true", help="remove the environment and the plug-ins")
    parser.add_argument("--all", action="store_true", help="with --uninstall: also models, settings and jobs")
    options = parser.parse_args(arguments)
    if options.all and not options.uninstall:
        parser.error("--all goes with --uninstall")
    if options.wheels and not options.wheels.is_dir():
        parser.error(f"there is no folder {options.wheels}")
    if options.fill_model and not options.fill_model.is_file():
        parser.error(f"there is no file {options.fill_model}")
    return options


def install(home: Home, options: argparse.Namespace) -> None:
    """Raises SetupProblem, ScumbleError."""
    if sys.platform != "win32" and os.geteuid() == 0 and os.environ.get("SUDO_USER", "root") != "root":
        raise SetupProblem("With sudo only root could use Scumble, and not you: run this without sudo.")
    folder = (options.target or installed_in(home) or home.root / "env").expanduser().absolute()
    wheels = options.wheels.absolute() if options.wheels else None
    stop_backend(home)

    step("Python environment")
    python = make_environment(folder)
    say(folder)

    step("torch")
    torch = torch_for_this_machine()
    say(f"for {torch.device}: {torch.why}")
    if wheels is None:
        remove_torch_for_others(python, torch)
    if not [*folder.glob("lib/*/site-packages/torch"), *folder.glob("Lib/site-packages/torch")]:
        check_space(folder, torch.gigabytes)
    quiet = [] if sys.stdout.isatty() else ["-q"]  # a download of this size deserves pip's progress bar
    pip_install(python, *quiet, "torch", wheels=wheels, indexes=torch.indexes)

    step("Scumble and its packages (takes a minute)")
    install_package(python, wheels)
    say(f"Scumble {scumble_version()}")

    step("fill model MI-GAN (28 MB, MIT licence)")
    say(fetch_fill_model(home, options.fill_model, show_progress))

    step("plug-ins")
    if options.no_plugins:
        say("left alone, as you asked")
    else:
        build_bundles(python, home.root / "plugins", wheels)
        install_plugins(home)

    record = {"python": str(python), "environment": str(folder), "version": scumble_version()}
    home.installation.write_text(json.dumps(record, indent=2), encoding="utf-8")
    pictures = try_out(python, home)
    command = python.with_name("scumble")
    print(WELCOME.format(pictures=pictures, command=quoted(command), how=by_name(command, OWN_PROGRAMS / "scumble")))


WELCOME = """
Scumble works. Its first pictures:
  {pictures}

What next, in a terminal:
  scumble inpaint PICTURE --mask MASK -o OUT.png      removes what the mask covers
  scumble outpaint PICTURE --left 200 -o OUT.png      extends a picture
  scumble models pull          prompts need a Stable Diffusion model: lists what can be fetched
  scumble models add PATH      uses the models that you have, where they are
  scumble doctor               says what is wrong, if anything is, and how to mend it

{how}:
  {command}"""

IN_FULL = "There scumble is to be written in full"
OWN_PROGRAMS = Path.home() / ".local" / "bin"
"""Where Linux and macOS users keep programs of their own; the first login after it was made finds them by name."""


def by_name(command: Path, link: Path) -> str:
    """Has the command found by its name, where that can be done; says what its path is good for."""
    if os.name == "nt":
        return IN_FULL
    try:
        if link.is_symlink() or not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(command)
    except OSError:
        return IN_FULL
    found = shutil.which("scumble")
    if found and os.path.samefile(found, command):
        return "scumble stands for"
    return f"{IN_FULL}, until {link.parent} is on the PATH (perhaps after the next login)"


def quoted(path: Path) -> str:
    """As a shell takes it: the path may hold spaces, and on a Mac it does."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


def step(name: str) -> None:
    print(f"\n== {name}", flush=True)


def say(what: object) -> None:
    print(f"   {what}", flush=True)


def show_progress(done: int, total: int) -> None:
    if sys.stdout.isatty():
        filled = 40 * done // total
        end = "\n" if done == total else ""
        bar = "#" * filled + "." * (40 - filled)
        print(f"\r   [{bar}] {done / 1e6:5.1f} of {total / 1e6:.1f} MB", end=end, flush=True)


def check_space(folder: Path, gigabytes: float) -> None:
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise SetupProblem(f"{folder} has {free:.1f} GB free, Scumble needs {gigabytes:g}: make room or use --target.")


def install_package(python: Path, wheels: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        ready = sorted(wheels.glob(f"scumble-{scumble_version()}-*.whl")) if wheels else []
        wheel = ready[0] if ready else build_wheel(python, Path(scratch), wheels)
        pip_install(python, "-q", str(wheel), wheels=wheels)
        pip_install(python, "-q", "--no-deps", ALONE, wheels=wheels)
        # pip takes an equal version for the same package; the checkout may have changed since.
        pip_install(python, "-q", "--force-reinstall", "--no-deps", str(wheel), wheels=wheels)


def fetch(folder: Path, fill_model: Path | None) -> None:
    """All that an installation without a network takes."""
    folder.mkdir(parents=True, exist_ok=True)
    torch = torch_for_this_machine()
    step(f"packages, with torch for {torch.device}: {torch.why}")
    with tempfile.TemporaryDirectory() as scratch:
        python = make_environment(Path(scratch) / "env")
        wheel = build_wheel(python, folder)
        source = beside_pips_own(torch.indexes)
        run_pip(
            python, "wheel", "-q", "--no-input", "-c", str(CONSTRAINTS), *source, "-w", str(folder), "torch",
            "setuptools", str(wheel),
        )  # fmt: skip
        run_pip(python, "wheel", "-q", "--no-input", "-c", str(CONSTRAINTS), "-w", str(folder), "--no-deps", ALONE)
        # The plug-ins carry another version of this one than the backend has.
        shutil.copy(fetch_websockets(python, Path(scratch)), folder)
        step("fill model MI-GAN (28 MB, MIT licence)")
        model = shutil.copy(fetch_fill_model(Home(Path(scratch)), fill_model, show_progress), folder)
    print(f"\nThere: python3 {sys.argv[0]} --wheels {quoted(folder)} --fill-model {quoted(Path(model))}")


FIRST_USE = {
    "GIMP": "restart GIMP, then Filters > Scumble",
    "Krita": "restart Krita, switch Scumble on under Settings > Configure Krita > Python Plugin Manager, restart again",
}
"""Krita keeps which plug-ins are on in its own settings, and writes them back when it ends: not ours to edit."""


def install_plugins(home: Home) -> None:
    hosts = find_hosts(this_machine())
    if not hosts:
        say("neither Krita nor GIMP is on this computer; run this again once one is")
    for host in hosts:
        bundle = find_bundle(home, host.program)
        if host.problem:
            say(f"{host.name}: {host.problem}")
        elif bundle:
            try:
                install_plugin(host, bundle)
                say(f"{host.name}: installed in {host.plugins}; {FIRST_USE[host.program]}")
                if host.program == "GIMP" and gimp_offers(this_machine(), host, "scumble-panel") is False:
                    say(f"{host.name} does not see the plug-in; to find out why, run: scumble doctor --fix")
            except OSError as error:
                say(f"{host.name}: {host.plugins} cannot be written ({error.strerror})")


def try_out(python: Path, home: Home) -> Path:
    """Two real edits of a sample picture through the backend's websocket; returns where the pictures are.

    Raises SetupProblem.
    """
    step("trying it: a sample picture, one inpaint, one outpaint")
    folder = home.root / "welcome"
    folder.mkdir(exist_ok=True)
    sample = str(Path(__file__).with_name("sample.py"))
    for what, command in (
        ("a picture", [sample, "draw", "before.png", "mask.png"]),
        ("inpaint", ["-m", "scumble", "inpaint", "before.png", "--mask", "mask.png", "-o", "inpainted.png"]),
        ("outpaint", ["-m", "scumble", "outpaint", "inpainted.png", "--left", str(OUTPAINT), "--right", str(OUTPAINT),
                      "-o", "outpainted.png"]),
        ("both beside each other", [sample, "beside", "before.png", "outpainted.png", "before-after.png"]),
    ):  # fmt: skip
        say(what)
        if run(python, command, home, folder) != 0:
            raise SetupProblem(
                f"The try-out failed at: {what}. To see why: {quoted(python.with_name('scumble'))} doctor"
            )
    return folder / "before-after.png"


def run(python: Path, arguments: list[str], home: Home, folder: Path) -> int:
    environment = {**for_python(), "SCUMBLE_HOME": str(home.root)}
    command = [str(python), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def installed_in(home: Home) -> Path | None:
    """The environment of an earlier installation."""
    try:
        return Path(json.loads(home.installation.read_text(encoding="utf-8"))["environment"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stop_backend(home: Home) -> None:
    """An old backend would go on with old code, and on Windows its files could not be replaced."""
    python = python_in(installed_in(home) or home.root / "env")
    if home.record.exists() and python.exists():
        run(python, ["-m", "scumble", "stop"], home, home.root)


def uninstall(home: Home, everything: bool) -> None:
    stop_backend(home)
    for host in find_hosts(this_machine()):
        try:
            if remove_plugin(host):
                say(f"{host.name}: plug-in removed")
        except OSError as error:
            say(f"{host.name}: {host.plugins} cannot be changed ({error.strerror})")
    folder = installed_in(home) or home.root / "env"
    if (folder / "pyvenv.cfg").exists():
        remove(folder)
    link = OWN_PROGRAMS / "scumble"
    if link.is_symlink() and Path(os.readlink(link)).is_relative_to(folder):
        remove(link)
    for path in (home.root / "plugins", home.root / "welcome", home.installation):
        remove(path)
    if everything:
        for name in DATA:
            remove(home.root / name)
    if home.root.is_dir() and any(home.root.iterdir()):
        say(f"kept: {home.root} with {', '.join(sorted(path.name for path in home.root.iterdir()))}")
        say("--uninstall --all removes models, settings and jobs too" if not everything else "(not made by Scumble)")
    elif home.root.is_dir():
        home.root.rmdir()


def remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        say(f"removed {path}")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SetupProblem(f"{path} cannot be removed: {error.strerror}.") from error


if __name__ == "__main__":
    sys.exit(main())
