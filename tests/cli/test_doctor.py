"""The doctor: each check over the facts it may find, and the command as a whole."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from scumble import __version__
from scumble.cli import checks, doctor, main
from scumble.cli.checks import Finding
from scumble.client.hosts import Host, Machine
from scumble.home import Home
from scumble.models.download import fill_model_path
from scumble.models.store import ModelStore

TORCH = {"version": "2.13.0+cpu", "device": "cpu", "dtype": "bfloat16"}


def test_python() -> None:
    assert checks.check_python((3, 11, 7), "python").level == "ok"
    old = checks.check_python((3, 9, 18), "python")
    assert (old.level, "3.11" in old.mend) == ("problem", True)


def test_packages() -> None:
    requirements = ["numpy>=1.26", "torch>=2.10", "pillow>=11", 'pytest>=9; extra == "test"']
    requirements.append('spandrel>=0.4.1; extra == "upscalers"')
    versions = {"numpy": "2.4.6", "torch": "2.13.0+cpu", "pillow": "11.0", "spandrel": "0.4.2"}
    assert [f.level for f in checks.check_packages(requirements, versions.__getitem__)] == ["ok"]
    versions = {"numpy": "1.25.9", "torch": "", "pillow": "11.1.2", "spandrel": ""}
    found = list(checks.check_packages(requirements, versions.__getitem__))
    assert [f.detail for f in found] == ["numpy 1.25.9 is older than 1.26", "torch is missing", "spandrel is missing"]
    assert all(f.level == "problem" and f.mend for f in found)


def test_packages_of_this_environment() -> None:
    assert checks.installed_version("numpy")
    assert checks.installed_version("no-such-package-of-ours") == ""


def test_torch() -> None:
    assert checks.check_torch(TORCH, "").level == "ok"
    assert checks.check_torch({**TORCH, "device": "cuda"}, "GPU 0: NVIDIA").level == "ok"
    unused = checks.check_torch(TORCH, "GPU 0: NVIDIA H200")
    assert (unused.level, "driver" in unused.mend) == ("problem", True)
    old = checks.check_torch({**TORCH, "built_for_others": "yes"}, "GPU 0: NVIDIA GeForce GTX 1080")
    assert (old.level, "older" in old.detail, "driver" in old.mend) == ("problem", True, False)
    broken = checks.check_torch({"error": "ImportError: libcudart.so"}, "")
    assert (broken.level, "libcudart" in broken.detail) == ("problem", True)


@pytest.mark.slow
def test_torch_of_this_environment() -> None:
    answer = checks.ask_torch()
    assert answer["version"].startswith("2.")
    assert answer["device"]


def test_torch_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert checks.ask_torch() == {"error": "ImportError: libcudart.so.13: cannot open shared object file"}


def test_models(home: Home, fill_model: Path) -> None:
    levels = {f.what: f.level for f in checks.check_models(ModelStore(home))}
    assert levels == {"fill model": "problem", "models": "note"}
    target = fill_model_path(home)
    target.parent.mkdir(parents=True)
    target.write_bytes(fill_model.read_bytes())
    (home.models / "damaged.safetensors").write_bytes(b"?")
    fill, _, damaged = checks.check_models(ModelStore(home))
    assert fill.level == "ok"
    assert "damaged.safetensors is not used" in damaged.detail
    target.write_bytes(b"half")
    assert next(checks.check_models(ModelStore(home))).level == "problem"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes.")
def test_token(home: Home) -> None:
    assert checks.check_token(home).level == "ok"
    home.token.write_text("0123456789abcdef" * 4)
    home.token.chmod(0o644)
    readable = checks.check_token(home)
    assert readable.level == "problem"
    assert readable.repair is not None
    assert readable.repair()
    assert checks.check_token(home).level == "ok"
    assert home.token.stat().st_mode & 0o777 == 0o600
    home.token.write_text("short")
    assert "damaged" in checks.check_token(home).detail


def listening() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_a_token_of_another_user(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a first run with sudo leaves behind; all else is looked at as well."""

    def forbid(path: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    home.token.write_text("0" * 64)
    monkeypatch.setattr(Path, "read_text", forbid)
    finding = checks.check_token(home)
    assert (finding.level, "another user" in finding.detail) == ("problem", True)
    assert str(home.root) in finding.mend


def test_backend(home: Home) -> None:
    with listening() as listener:
        port = listener.getsockname()[1]
        taken = checks.check_backend(home, port)
        assert (taken.level, "free port" in taken.detail) == ("ok", True)  # the backend takes one by itself
        record = {"pid": os.getpid(), "host": "127.0.0.1", "port": port, "version": __version__}
        home.token.write_text("0123456789abcdef" * 4)
        home.record.write_text(json.dumps(record))
        assert checks.check_backend(home, port).level == "ok"
        home.record.write_text(json.dumps({**record, "version": "0.0.1"}))
        old = checks.check_backend(home, port)
        assert (old.level, "scumble stop" in old.mend) == ("problem", True)
    assert checks.check_backend(home, port).detail.startswith("does not run; starts")


def test_installation(home: Home) -> None:
    assert checks.check_installation(home).level == "note"
    home.installation.write_text(json.dumps({"python": sys.executable}))
    assert checks.check_installation(home) == Finding("ok", "installation", sys.executable)
    home.installation.write_text(json.dumps({"python": str(home.root / "gone")}))
    assert checks.check_installation(home).level == "note"


def test_disk(home: Home) -> None:
    assert checks.check_disk(50_000_000_000).level == "ok"
    assert checks.check_disk(500_000_000).level == "problem"
    assert checks.nearest_folder(home.root / "not" / "there") == home.root


def test_a_folder_of_another_user(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """To which "Scumble's folder cannot be written to. Run: scumble doctor" leads."""
    assert checks.check_folder(home).level == "ok"
    monkeypatch.setattr(checks.os, "access", lambda *_: False)
    assert checks.check_folder(home).level == "problem"


def test_hosts(home: Home, tmp_path: Path) -> None:
    assert [f.level for f in checks.check_hosts(home, ())] == ["note"]
    old = Host("GIMP", "2.10.34", "system", tmp_path, "GIMP 2.10 has no usable Python.")
    assert checks.check_host(home, old) == Finding("note", "GIMP 2.10.34 (system)", old.problem)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit.")
def test_plugin_is_mended(home: Home, tmp_path: Path) -> None:
    host = Host("GIMP", "3.0.4", "system", tmp_path / "plug-ins")
    left_out = checks.check_host(home, host)
    assert (left_out.level, left_out.mend) == ("note", checks.INSTALLER)
    bundle = home.root / "plugins" / "gimp" / "scumble-gimp"
    (bundle / "lib" / "scumble").mkdir(parents=True)
    (bundle / "lib" / "scumble" / "__init__.py").write_text(f'__version__ = "{__version__}"')
    (bundle / "scumble-gimp.py").write_text("#!/usr/bin/env python3\n")
    for spoil in (
        lambda: None,  # never installed
        lambda: (host.plugins / "scumble-gimp" / "scumble-gimp.py").chmod(0o644),
        lambda: (host.plugins / "scumble-gimp").rename(host.plugins / "scumble-gimp-main"),
    ):
        spoil()
        finding = checks.check_host(home, host)
        assert (finding.level, "--fix" in finding.mend) == ("problem", True)
        assert doctor.mend(finding, home, ask=lambda _: False)
        assert checks.check_host(home, host).level == "ok"


def test_fill_model_is_fetched_only_when_asked_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    monkeypatch.setattr(doctor, "fetch_fill_model", fetched.append)
    missing = next(checks.check_models(ModelStore(home)))
    assert not doctor.mend(missing, home, ask=lambda _: False)
    assert fetched == []
    assert doctor.mend(missing, home, ask=lambda _: True)
    assert fetched == [home]


def test_what_cannot_be_mended_is_said(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    def locked() -> bool:
        raise PermissionError(13, "Permission denied")

    assert not doctor.mend(Finding("problem", "x", "y", "z", locked), home, ask=lambda _: True)
    assert "Permission denied" in capsys.readouterr().out


@pytest.fixture
def quiet_machine(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer without painting programs and GPUs, with a home that only lacks the fill model."""
    machine = Machine("linux", tmp_path, tmp_path, {}, lambda _: None, lambda _: "")
    monkeypatch.setattr(doctor, "this_machine", lambda: machine)
    monkeypatch.setattr(checks, "ask_torch", lambda: TORCH)
    monkeypatch.setattr(checks, "is_taken", lambda _: False)
    monkeypatch.setenv("SCUMBLE_HOME", str(home.root))


@pytest.mark.usefixtures("quiet_machine")
def test_the_command(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 4
    text = capsys.readouterr().out
    assert "problem  fill model: MI-GAN is missing" in text
    assert "-> Run: scumble models pull migan" in text
    assert text.endswith("1 problem, see above.\n")
    assert list(home.root.iterdir()) == []  # looking changes nothing


@pytest.mark.usefixtures("quiet_machine")
def test_the_command_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 4
    findings = json.loads(capsys.readouterr().out)
    assert {finding["what"] for finding in findings} >= {"Python", "packages", "torch", "token", "backend", "disk"}


@pytest.mark.usefixtures("quiet_machine")
@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes.")
def test_fix_mends_and_is_then_well(home: Home, fill_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = fill_model_path(home)
    target.parent.mkdir(parents=True)
    target.write_bytes(fill_model.read_bytes())
    home.token.write_text("0123456789abcdef" * 4)
    home.token.chmod(0o666)
    assert main(["doctor", "--fix"]) == 0
    assert capsys.readouterr().out.endswith("All is well.\n")
    assert main(["doctor"]) == 0
