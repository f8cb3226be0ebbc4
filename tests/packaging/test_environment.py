"""Which torch is chosen for which computer, and what is said where no environment can be made."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import environment
import pytest
import scumble
from environment import SetupProblem, answer, build_wheel, choose_torch, make_environment, scumble_version

from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("system", "machine", "answers", "device", "indexes"),
    [
        ("Linux", "x86_64", {}, "CPU", ["cpu"]),
        ("Linux", "aarch64", {}, "CPU", ["cpu"]),
        ("Windows", "AMD64", {}, "CPU", []),
        ("Linux", "x86_64", {"nvidia-smi": "GPU 0: NVIDIA H200 (UUID: GPU-1)"}, "NVIDIA GPU", []),
        ("Windows", "AMD64", {"nvidia-smi": "GPU 0: NVIDIA GeForce"}, "NVIDIA GPU", ["cu130"]),
        (
            "Windows",
            "AMD64",
            {"nvidia-smi": "GPU 0: NVIDIA GeForce GTX 1080 (UUID: GPU-1)\n6.1\n"},
            "NVIDIA GPU",
            ["cu126"],
        ),
        ("Linux", "x86_64", {"nvidia-smi": "GPU 0: GTX 1080\nGPU 1: RTX 2060\n6.1\n7.5\n"}, "NVIDIA GPU", []),
        ("Linux", "x86_64", {"nvidia-smi": "No devices found."}, "CPU", ["cpu"]),
        ("Linux", "x86_64", {"rocminfo": "  Name:   gfx1100"}, "AMD GPU", ["rocm7.2"]),
        ("Windows", "AMD64", {"rocminfo": "  Name:   gfx1100"}, "CPU", []),
        ("Linux", "x86_64", {"sycl-ls": "[level_zero:gpu][level_zero:0] Arc"}, "Intel GPU", ["xpu"]),
        ("Windows", "AMD64", {"xpu-smi": "| Device Name: Arc |"}, "Intel GPU", ["xpu"]),
        ("Darwin", "arm64", {}, "Apple GPU", []),
    ],
)
def test_torch_for_each_computer(
    system: str, machine: str, answers: dict[str, str], device: str, indexes: list[str]
) -> None:
    torch = choose_torch(system, machine, lambda command: answers.get(command[0], ""))
    assert torch.device == device
    assert torch.why
    assert [index.rpartition("/")[2] for index in torch.indexes] == indexes


CPU, OLD = environment.Torch("CPU", "", ("https://x/cpu",)), environment.Torch("NVIDIA GPU", "", ("https://x/cu126",))
NEW, APPLE = environment.Torch("NVIDIA GPU", ""), environment.Torch("Apple GPU", "")


@pytest.mark.parametrize(
    ("installed", "torch", "removed"),
    [
        ("2.13.0+cpu", NEW, True),
        ("2.13.0+cpu", OLD, True),
        ("2.13.0", OLD, True),
        ("2.13.0+cu126", OLD, False),
        ("2.13.0+cu130", NEW, False),
        ("2.13.0", NEW, False),
        ("2.13.0", APPLE, False),
        ("2.13.0", CPU, False),
        ("2.13.0+cu130", CPU, False),
        ("", NEW, False),
    ],
)
def test_a_torch_for_another_device_makes_way(
    installed: str, torch: environment.Torch, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the driver has been updated since, which is what the doctor asks for."""
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(environment, "answer", lambda command: f"{installed}\n")
    monkeypatch.setattr(environment, "answers", lambda index: True)
    monkeypatch.setattr(environment, "run_pip", lambda python, *arguments: ran.append(arguments))
    environment.remove_torch_for_others(Path("python"), torch)
    assert ran == ([("uninstall", "-q", "-y", "torch")] if removed else [])


def test_without_another_one_no_torch_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "answer", lambda command: "2.13.0+cpu")
    monkeypatch.setattr(environment, "answers", lambda index: False)
    monkeypatch.setattr(environment, "run_pip", lambda *_: pytest.fail("removed"))
    environment.remove_torch_for_others(Path("python"), OLD)


def test_macs_that_torch_has_left() -> None:
    with pytest.raises(SetupProblem, match="Apple silicon"):
        choose_torch("Darwin", "x86_64", lambda _: "")


def test_answer_of_what_cannot_be_run() -> None:
    assert answer([sys.executable, "-c", "print('yes')"]).strip() == "yes"
    assert answer([sys.executable, "-c", "raise SystemExit(1)"]) == ""
    assert answer(["no-such-program-of-ours"]) == ""


def test_index_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert not environment.answers("http://127.0.0.1:9/whl/cpu")
    assert "does not answer" in capsys.readouterr().out


def test_old_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 18))
    with pytest.raises(SetupProblem, match=r"needs Python 3\.11 or later, this is 3\.9"):
        make_environment(tmp_path / "env")


def test_a_python_that_came_after_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which is what python.org offers first; pip would only say that it finds no torch."""
    monkeypatch.setattr(environment.sys, "version_info", (3, 15, 0))
    with pytest.raises(SetupProblem, match=r"not made for Python 3\.15 yet: run this with Python 3\.14"):
        make_environment(tmp_path / "env")


@pytest.mark.parametrize("error", [subprocess.CalledProcessError(1, "ensurepip"), ImportError("ensurepip")])
def test_python_without_venv(error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def create(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(venv, "create", create)
    with pytest.raises(SetupProblem, match="python3-venv"):
        make_environment(tmp_path / "env")


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SetupProblem, match="choose another folder"):
        make_environment(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_pip_is_not_led_astray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By packages that another program's PYTHONPATH shows it, nor by a setting that no environment can follow."""
    given: dict[str, str] = {}

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        given.update(env)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(environment.subprocess, "run", run)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PIP_USER", "1")
    environment.run_pip(tmp_path / "python", "install")
    assert given["PIP_USER"] == "0"
    assert "PYTHONPATH" not in given


def test_version_is_the_packages() -> None:
    assert scumble_version() == scumble.__version__


def test_constraints_are_exact() -> None:
    lines = environment.CONSTRAINTS.read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 40
    assert all(pin.count("==") == 1 for pin in pins)
    assert "torch" in {pin.partition("==")[0] for pin in pins}


@pytest.mark.slow
def test_environment_and_the_same_wheel_twice(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    (tmp_path / "env" / "mark").touch()
    assert make_environment(tmp_path / "env") == python
    assert (tmp_path / "env" / "mark").exists()  # a good one is not made again
    first = build_wheel(python, tmp_path / "first").read_bytes()
    assert build_wheel(python, tmp_path / "second").read_bytes() == first
    assert not (REPOSITORY / "build").exists()
