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

from environment import CONSTRAINTS, REPOSITORY, SetupProblem, make_environment, pip_install, torch_for_this_machine

sys.path.insert(0, str(REPOSITORY / "backend"))

from scumble.home import Home
from scumble.models.download import fetch_fill_model
from scumble.protocol.errors import ScumbleError

PLACE = REPOSITORY / ".test-env"
OTHER_PYTHONS = ("3.9", "3.13")
"""The oldest Python of a painting program that we serve, and a new one."""
PLUGIN_TESTS = ("tests/protocol", "tests/client")
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
        section("fill model")
        print(fill_model())
    except (SetupProblem, ScumbleError) as problem:
        print(f"The tests cannot be set up: {problem} {getattr(problem, 'hint', '')}")
        if hosts:
            hosts.terminate()
        return 1

    tools = python.parent
    failed = [
        name
        for name, command in (
            ("ruff check", [tools / "ruff", "check"]),
            ("ruff format", [tools / "ruff", "format", "--check"]),
            ("mypy", [tools / "mypy"]),
            ("import-linter", [tools / "lint-imports"]),
        )
        if not passes(name, command)
    ]
    pytest = ["-m", "pytest", "-p", "no:cacheprovider", "-q"]
    for version, other in others:
        if other is None:
            section(f"protocol and client on Python {version}")
            print(f"SKIPPED: there is no Python {version} on this machine (pyenv install {version})")
        elif not passes(f"protocol and client on Python {version}", [other, *pytest, *PLUGIN_TESTS]):
            failed.append(f"Python {version}")
    if hosts:
        section("painting programs")
        if hosts.wait():
            failed.append("the painting programs cannot be set up")
        else:
            os.environ["SCUMBLE_TEST_REQUIRE_HOSTS"] = "1"  # what was prepared must not be skipped
            print("Krita and GIMP are ready")
    if failed:
        print(f"\nFAILED before the tests of the backend: {', '.join(failed)}")
    pytest = [python, *pytest]
    if options.fast:
        tests_pass = passes("tests", [*pytest, "-m", "not slow and not host", *for_pytest])
    elif for_pytest:
        tests_pass = passes("tests", [*pytest, *for_pytest])
    else:
        tests_pass = passes("tests", [*pytest, "-m", "not host"]) & hosts_pass(pytest)
    return 0 if tests_pass and not failed else 1


def hosts_pass(pytest: list[str | Path]) -> bool:
    """The tests in Krita and in GIMP, side by side: most of their time both wait for windows."""
    folders = {name: [f"tests/hosts/{name}", f"tests/hosts/test_{name}.py"] for name in ("krita", "gimp")}
    with tempfile.TemporaryFile("w+") as said:
        krita = subprocess.Popen(
            [*pytest, "-m", "host", *folders["krita"]],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        gimp_passes = passes("tests in GIMP", [*pytest, "-m", "host", *folders["gimp"]])
        section("tests in Krita")
        krita_passes = krita.wait() == 0
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout)
    return gimp_passes and krita_passes


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


def passes(name: str, command: list[str | Path]) -> bool:
    section(name)
    return subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, check=False).returncode == 0


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "backend")}


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
        for command in (
            [found, "-m", "venv", folder],
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", *PLUGIN_PACKAGES],
        ):
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
