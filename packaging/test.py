"""Sets up everything that the tests need, in .test-env, and runs them: packaging/test.py [--fast] [pytest arguments]

Standard library only. The exit code is 0 only where every check passed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from build_plugins import build_bundles
from environment import (
    ALONE,
    CONSTRAINTS,
    REPOSITORY,
    SetupProblem,
    make_environment,
    pip_install,
    torch_for_this_machine,
)

sys.path.insert(0, str(REPOSITORY / "backend"))

from scumble.home import Home
from scumble.models.download import fetch_fill_model
from scumble.protocol.errors import ScumbleError

PLACE = REPOSITORY / ".test-env"
OTHER_PYTHONS = ("3.9", "3.13")
"""The oldest Python of a painting program that we serve, and a new one."""
PLUGIN_TESTS = ("tests/protocol", "tests/client")
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-q")
SIDE_BY_SIDE = ("-n", str(min(os.cpu_count() or 1, 4)), "--dist", "worksteal")
"""A process of tests for each core, by pytest-xdist; but the painting programs serve one test at a time."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For each of those processes, which fill the cores already."""
PLUGIN_PACKAGES = ("pytest>=8", "pytest-timeout>=2.3", "hypothesis>=6", "websockets==15.0.1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="leave out slow tests and those of the painting programs")
    options, for_pytest = parser.parse_known_args()
    os.chdir(REPOSITORY)
    # More threads than cores make torch and onnxruntime slow; many cores do not make small models faster.
    os.environ.setdefault("OMP_NUM_THREADS", str(min(os.cpu_count() or 1, 4)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Built beside everything else: they take minutes, most of it spent on unpacking.
    hosts = None if options.fast else start_hosts()
    try:
        section("environment")
        python = test_environment()
        others = [(version, other_environment(version)) for version in OTHER_PYTHONS]
        plugins = build_bundles(python, PLACE / "plugins")
        section("fill model")
        print(fill_model())
    except (SetupProblem, ScumbleError) as problem:
        print(f"The tests cannot be set up: {problem} {getattr(problem, 'hint', '')}")
        if hosts:
            hosts.terminate()
        return 1

    beside = start_checks(python, others, plugins)
    pytest: list[str | Path] = [python, *PYTEST]
    selected = [*pytest, *SIDE_BY_SIDE, *for_pytest]
    if options.fast:
        tests_pass = passes("tests", [*selected, "-m", "not slow and not host"], ONE_THREAD)
    elif for_pytest:
        tests_pass = hosts_are_ready(hosts) & passes("tests", [*pytest, *for_pytest])
    else:
        tests_pass = passes("tests", [*selected, "-m", "not host"], ONE_THREAD)
        tests_pass &= hosts_are_ready(hosts) and hosts_pass(pytest)
    failed = [check.name for check in beside if not check.passes()]
    if failed:
        print(f"\nFAILED beside the tests: {', '.join(failed)}")
    return 0 if tests_pass and not failed else 1


class Beside:
    """A command that runs while others do; what it says is shown when it is asked for."""

    def __init__(self, name: str, command: list[str | Path], extra: dict[str, str] | None = None) -> None:
        self.name = name
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed once it is shown
        self._process = subprocess.Popen(
            command, env=environment(extra), stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said
        )

    def passes(self) -> bool:
        section(self.name)
        code = self._process.wait()
        self._said.seek(0)
        shutil.copyfileobj(self._said, sys.stdout)
        self._said.close()
        return code == 0


def start_checks(python: Path, others: list[tuple[str, Path | None]], plugins: dict[str, Path]) -> list[Beside]:
    """Lint, types and the other Pythons: they fill the time in which the backend's tests wait."""
    tools = python.parent
    # As they are given away: in the checkout Krita's has no client beside it.
    places = os.pathsep.join([str(plugins["Krita"]), str(plugins["GIMP"] / "scumble-gimp")])
    of_plugins = ["-p", "scumble_krita", "-p", "scumble_gimp", "--cache-dir", str(PLACE / "mypy")]
    checks = [
        Beside("ruff check", [tools / "ruff", "check"]),
        Beside("ruff format", [tools / "ruff", "format", "--check"]),
        Beside("mypy", [tools / "mypy"]),
        Beside("mypy of the plug-ins", [tools / "mypy", *of_plugins], {"MYPYPATH": places}),
        Beside("import-linter", [tools / "lint-imports"]),
    ]
    for version, other in others:
        name = f"protocol and client on Python {version}"
        if other is None:
            section(name)
            print(f"SKIPPED: there is no Python {version} on this machine (pyenv install {version})")
        else:
            checks.append(Beside(name, [other, *PYTEST, *PLUGIN_TESTS]))
    return checks


def hosts_are_ready(hosts: subprocess.Popen[bytes] | None) -> bool:
    """Waits for their set-up; true also where this machine cannot have them."""
    if hosts is None:
        return True
    section("painting programs")
    if hosts.wait():
        print("FAILED: Krita and GIMP cannot be set up")
        return False
    os.environ["SCUMBLE_TEST_REQUIRE_HOSTS"] = "1"  # what was prepared must not be skipped
    print("Krita and GIMP are ready")
    return True


def hosts_pass(pytest: list[str | Path]) -> bool:
    """The tests in Krita and in GIMP, side by side: most of their time both wait for windows."""

    def command(name: str) -> list[str | Path]:
        return [*pytest, "-m", "host", f"tests/hosts/{name}", f"tests/hosts/test_{name}.py"]

    krita = Beside("tests in Krita", command("krita"))
    return passes("tests in GIMP", command("gimp")) & krita.passes()


def start_hosts() -> subprocess.Popen[bytes] | None:
    """Begins to set up the real Krita and GIMP; None where this machine cannot have them."""
    section("painting programs")
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print("SKIPPED: the tests in the real Krita and GIMP install them by apt-get, as root, on Debian only")
        return None
    script = REPOSITORY / "tests" / "hosts" / "setup_hosts.py"
    return subprocess.Popen([sys.executable, script, "--directory", PLACE / "hosts"], stdin=subprocess.DEVNULL)


def section(name: str) -> None:
    print(f"\n==== {name} ", "=" * max(4, 100 - len(name)), sep="", flush=True)


def passes(name: str, command: list[str | Path], extra: dict[str, str] | None = None) -> bool:
    section(name)
    return subprocess.run(command, env=environment(extra), stdin=subprocess.DEVNULL, check=False).returncode == 0


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "backend"), **(extra or {})}


def test_environment() -> Path:
    """The Python of an environment with the backend, editable, and all test tools."""
    python = make_environment(PLACE / "venv")
    stamp = PLACE / "venv" / "installed"
    wanted = hashed(CONSTRAINTS.read_text(), (REPOSITORY / "pyproject.toml").read_text(), sys.version)
    if not is_stamped(stamp, wanted):
        torch = torch_for_this_machine()
        print(f"torch for {torch.device}: {torch.why}", flush=True)
        pip_install(python, "-q", "torch", indexes=torch.indexes)
        pip_install(python, "-q", "-e", f"{REPOSITORY}[test]")
        pip_install(python, "-q", "--no-deps", ALONE)
        stamp.write_text(wanted)
    print(f"Python {sys.version.split()[0]} in {python.parent.parent}")
    return python


def other_environment(version: str) -> Path | None:
    """The Python of a small environment as inside a painting program, None where this version is not installed."""
    found = find_python(version)
    if found is None:
        return None
    folder = PLACE / f"python{version}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = hashed(*PLUGIN_PACKAGES, str(found))
    if not is_stamped(stamp, wanted):
        shutil.rmtree(folder, ignore_errors=True)
        print(f"setting up {found}", flush=True)
        pip = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input")
        commands: list[list[str | Path]] = [[found, "-m", "venv", folder], [python, *pip, *PLUGIN_PACKAGES]]
        for command in commands:
            if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
                raise SetupProblem(f"No environment could be made with {found}.")
        stamp.write_text(wanted)
    return python


def find_python(version: str) -> Path | None:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    by_pyenv = sorted(root.glob(f"versions/{version}.*/bin/python{version}"))
    on_path = shutil.which(f"python{version}")
    for candidate in (*reversed(by_pyenv), *([Path(on_path)] if on_path else [])):
        # pyenv puts a name on the path for each version that it knows, whether or not it is switched on.
        if subprocess.run([candidate, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def fill_model() -> str:
    if os.environ.get("SCUMBLE_TEST_FILL_MODEL"):
        return f"SCUMBLE_TEST_FILL_MODEL={os.environ['SCUMBLE_TEST_FILL_MODEL']}"
    started = time.monotonic()
    path = fetch_fill_model(Home(PLACE))
    return f"{path} ({time.monotonic() - started:.1f} s)"


def hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_stamped(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


if __name__ == "__main__":
    sys.exit(main())
