"""Virtual environments with the right torch in them: shared by the installer and the tests. Standard library only."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CONSTRAINTS = REPOSITORY / "packaging" / "constraints.txt"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
"""Between them lie those that all packages of constraints.txt are made for."""
PYTORCH = "https://download.pytorch.org/whl/"
"""PyTorch's own index: the builds for one kind of device each."""

TURING = 7.5
"""The compute capability of GeForce GTX 16 and RTX 20, the oldest that builds for CUDA 13 run on."""
ALONE = "spandrel"
"""Installed without what it asks for: that would bring torchvision, which it needs for nothing that we use and which
breaks others where its build is not torch's own (backend/scumble/diffusion/upscaler.py)."""

Answer = Callable[[Sequence[str]], str]
"""Runs a command and gives its output, "" where it cannot be run or fails."""


class SetupProblem(Exception):
    """Something the user has to mend before we can go on: one sentence that says what and how."""


@dataclass(frozen=True)
class Torch:
    """Which build of torch to install: `indexes` are asked besides pip's own, the highest build of the pinned version
    wins (`2.13.0+cpu` before `2.13.0`). `gigabytes` are what all of Scumble then takes on the disk."""

    device: str
    why: str
    indexes: tuple[str, ...] = ()
    gigabytes: float = 3


def choose_torch(system: str, machine: str, answer: Answer) -> Torch:
    """The build for this computer. `system` and `machine` as `platform` names them.

    Raises SetupProblem where PyTorch is no longer made.
    """
    if system == "Darwin":
        if machine != "arm64":
            raise SetupProblem("PyTorch is no longer made for Macs with Intel processors; Scumble needs Apple silicon.")
        return Torch("Apple GPU", "this is a Mac with Apple silicon")
    if "GPU " in answer(["nvidia-smi", "-L"]):
        told = answer(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"])
        capabilities = [float(line) for line in told.splitlines() if re.fullmatch(r"\d+\.\d+", line.strip())]
        if capabilities and max(capabilities) < TURING:
            return Torch("NVIDIA GPU", "nvidia-smi lists a GPU that CUDA 13 does not know", (PYTORCH + "cu126",), 10)
        # The default index has the CUDA build for Linux, but only a CPU build for Windows.
        return Torch("NVIDIA GPU", "nvidia-smi lists a GPU", (PYTORCH + "cu130",) if system == "Windows" else (), 10)
    if system == "Linux" and "gfx" in answer(["rocminfo"]):
        return Torch("AMD GPU", "rocminfo lists a GPU", (PYTORCH + "rocm7.2",), 20)
    if "level_zero:gpu" in answer(["sycl-ls"]) or "Device Name" in answer(["xpu-smi", "discovery"]):
        return Torch("Intel GPU", "its compute driver lists a GPU", (PYTORCH + "xpu",), 10)
    why = "no GPU that torch can use was found (nvidia-smi, rocminfo, sycl-ls and xpu-smi list none)"
    # The default index's build for Linux on x86 brings gigabytes of CUDA along.
    return Torch("CPU", why, (PYTORCH + "cpu",) if system == "Linux" else ())


def serves(installed: str, torch: Torch) -> bool:
    """Whether the version of torch that is installed ("2.13.0+cpu") is of a build for the same kind of device. Every build
    serves a CPU."""
    build, builds = installed.partition("+")[2], [index.rpartition("/")[2] for index in torch.indexes]
    return torch.device == "CPU" or (build in builds if builds else build != "cpu")


def remove_torch_for_others(python: Path, torch: Torch) -> None:
    """To pip one build is as good as another, so it would leave a torch for the CPU where there is a GPU by now. Raises
    SetupProblem."""
    ask = "import importlib.metadata; print(importlib.metadata.version('torch'))"
    installed = answer([str(python), "-I", "-c", ask]).strip()
    if installed and not serves(installed, torch) and all(map(answers, torch.indexes)):
        run_pip(python, "uninstall", "-q", "-y", "torch")


def torch_for_this_machine() -> Torch:
    return choose_torch(platform.system(), platform.machine(), answer)


def answer(command: Sequence[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def python_in(environment: Path) -> Path:
    windows = sys.platform == "win32"
    return environment / ("Scripts/python.exe" if windows else "bin/python")


def make_environment(folder: Path) -> Path:
    """A virtual environment of the running Python in `folder`, made new where it is broken or of another Python.
    Returns its Python.

    Raises SetupProblem.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SetupProblem(
            "Scumble needs Python 3.11 or later, this is {}.{}: run this with another Python.".format(*sys.version_info)
        )
    if sys.version_info[:2] > NEWEST_PYTHON:
        raise SetupProblem(
            "The packages that Scumble needs are not made for Python {}.{} yet: run this with Python {}.{}.".format(
                *sys.version_info[:2], *NEWEST_PYTHON
            )
        )
    python = python_in(folder)
    version = "print('%d.%d' % __import__('sys').version_info[:2])"
    if answer([str(python), "-I", "-c", f"import pip; {version}"]).strip() == "{}.{}".format(*sys.version_info):
        return python
    if folder.exists() and not (folder / "pyvenv.cfg").exists() and any(folder.iterdir()):
        raise SetupProblem(f"{folder} exists and is no Python environment: choose another folder.")
    try:
        venv.create(folder, clear=True, with_pip=True)
    except (subprocess.CalledProcessError, ImportError) as error:
        raise SetupProblem(
            "This Python cannot make virtual environments: install its venv package "
            "(Debian and Ubuntu: sudo apt install python3-venv) and run this again."
        ) from error
    except OSError as error:
        raise SetupProblem(f"The environment cannot be made in {folder}: {error.strerror}.") from error
    return python


def pip_install(python: Path, *what: str, wheels: Path | None = None, indexes: Sequence[str] = ()) -> None:
    """`pip install` under the constraints; from the folder `wheels` only, where one is given.

    Raises SetupProblem.
    """
    source = ["--no-index", "--find-links", str(wheels)] if wheels is not None else beside_pips_own(indexes)
    run_pip(python, "install", "--no-input", "-c", str(CONSTRAINTS), *source, *what)


def beside_pips_own(indexes: Sequence[str]) -> list[str]:
    return [part for index in indexes if answers(index) for part in ("--extra-index-url", index)]


def answers(index: str) -> bool:
    """Whether the index can be reached; pip would try for minutes, and its own index has torch too."""
    try:
        with urllib.request.urlopen(f"{index}/torch/", timeout=10):  # noqa: S310 - addresses of ours
            return True
    except (OSError, ValueError):
        print(f"{index} does not answer: taking torch from pip's own index.", flush=True)
        return False


def for_python() -> dict[str, str]:
    """The user's environment without what has a Python take other packages for its own; other programs for artists set
    that, and pip would leave out what it finds there."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def run_pip(python: Path, *arguments: str) -> None:
    environment = {
        "SOURCE_DATE_EPOCH": "315532800",  # 1980-01-01, the oldest that a zip can hold: same sources, same wheel
        **for_python(),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_USER": "0",  # as Scumble's own environment has no place for a user's packages, whatever pip is set to
        "PYTHONNOUSERSITE": "1",
    }
    command = [str(python), "-m", "pip", *arguments]
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
        raise SetupProblem(
            "pip could not do it; its last lines above say why (no network? --wheels DIR works without)."
        )


def build_wheel(python: Path, into: Path, wheels: Path | None = None) -> Path:
    """Scumble's own wheel, the same bytes for the same sources, from a copy of them: a `build` folder left in the
    checkout would bring files back that have long been deleted.

    Raises SetupProblem.
    """
    source = ["--no-index", "--find-links", str(wheels)] if wheels else []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "scumble"
        copy.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / name, copy / name)
        leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / "backend", copy / "backend", ignore=leave_out)
        built = Path(scratch) / "built"
        run_pip(python, "wheel", "-q", "--no-deps", "--no-input", *source, "-w", str(built), str(copy))
        (wheel,) = built.glob("*.whl")
        into.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, into / wheel.name))


def scumble_version() -> str:
    text = (REPOSITORY / "backend" / "scumble" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise SetupProblem("This is no complete checkout of Scumble.")
    return found[1]
