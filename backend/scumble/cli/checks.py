"""What `scumble doctor` looks at, one function for each thing: facts in, lines out. Nothing here changes anything."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import __version__
from ..client.hosts import Host, Machine, find_hosts
from ..client.launcher import find_backend, installed_command, read_record
from ..client.plugins import find_bundle, plugin_state, repair_plugin
from ..home import Home
from ..models.store import ModelStore
from ..protocol.errors import ScumbleError

PORT = 8737
LEAST_PYTHON = (3, 11)
LEAST_FREE = 2.0
"""Gigabytes that results and converted copies of models should find."""
INSTALLER = "Run: python3 packaging/install.py"
PULL = "Run: scumble models pull migan"
_FEW = 10
"""Files that are named one by one."""


@dataclass(frozen=True)
class Finding:
    """One line. `mend` says how the user can mend it; `repair` does it where we can, and says whether it is done."""

    level: Literal["ok", "note", "problem"]
    what: str
    detail: str
    mend: str = ""
    repair: Callable[[], bool] | None = None


def check_all(home: Home, machine: Machine) -> Iterator[Finding]:
    yield check_python(sys.version_info[:3], sys.executable)
    yield from check_packages(importlib.metadata.requires("scumble") or [], installed_version)
    yield check_torch(ask_torch(), machine.run(["nvidia-smi", "-L"]))
    yield from check_models(ModelStore(home))
    yield check_token(home)
    yield check_backend(home)
    yield check_installation(home)
    yield check_folder(home)
    yield check_disk(shutil.disk_usage(nearest_folder(home.root)).free)
    yield from check_hosts(home, find_hosts(machine))


def check_python(version: tuple[int, ...], executable: str) -> Finding:
    text = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        return Finding("problem", "Python", f"{text} is too old", f"Install Python 3.11 or later. {INSTALLER}")
    return Finding("ok", "Python", f"{text} ({executable})")


def check_packages(requirements: list[str], installed: Callable[[str], str]) -> Iterator[Finding]:
    """Each requirement of the package's own metadata, such as "numpy>=1.26", and what upscalers need; `installed` gives ""
    for a missing one."""
    wrong = []
    parts = [requirement.partition(";") for requirement in requirements]
    needed = [requirement.strip() for requirement, _, marker in parts if "extra" not in marker or "upscalers" in marker]
    for requirement in needed:
        name, _, least = requirement.partition(">=")
        version = installed(name)
        if not version:
            wrong.append(f"{name} is missing")
        elif _numbers(version) < _numbers(least):
            wrong.append(f"{name} {version} is older than {least}")
    for detail in wrong:
        yield Finding("problem", "packages", detail, INSTALLER)
    if not wrong:
        yield Finding("ok", "packages", f"all {len(needed)} are there")


def check_torch(answer: dict[str, str], gpus: str) -> Finding:
    """`answer` of ask_torch; `gpus` is what nvidia-smi lists."""
    if "error" in answer:
        return Finding("problem", "torch", f"cannot be used: {answer['error']}", INSTALLER)
    detail = f"{answer['version']} on {answer['device']} in {answer['dtype']}"
    if "GPU " in gpus and answer["device"] == "cpu":
        if answer.get("built_for_others"):
            detail += ", and there is an NVIDIA GPU, but older than those that it was built for"
            return Finding("problem", "torch", detail, f"Install again for this GPU. {INSTALLER}")
        mend = f"Update the NVIDIA driver, then install again for the GPU. {INSTALLER}"
        return Finding("problem", "torch", f"{detail}, but there is an NVIDIA GPU", mend)
    return Finding("ok", "torch", detail)


def check_models(store: ModelStore) -> Iterator[Finding]:
    models = store.list(refresh=True)
    if any(model.info.kind == "fill" for model in models):
        yield Finding("ok", "fill model", "MI-GAN is here, whole")
    else:
        yield Finding("problem", "fill model", "MI-GAN is missing or damaged", PULL)
    prompts = [model.info.name for model in models if model.info.kind == "diffusion"]
    if prompts:
        yield Finding("ok", "models", ", ".join(prompts))
    else:
        mend = "Add one that you have: scumble models add PATH, or fetch one: scumble models pull sd15"
        yield Finding("note", "models", "none that follows a prompt", mend)
    problems = store.problems()
    for name, why in problems[:_FEW]:
        yield Finding("note", "models", f"{name} is not used: {why.message}", why.hint)
    rest = len(problems[_FEW:]) + len(store.others())
    if rest:
        yield Finding("note", "models", f"{rest} more files cannot be used", "Which: scumble models list --all")


def check_token(home: Home) -> Finding:
    try:
        mode = home.token.stat().st_mode & 0o777
        text = home.token.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return Finding("ok", "token", "made when the backend starts for the first time")
    except PermissionError:
        mend = f"Make Scumble's folder yours: sudo chown -R \"$USER\" '{home.root}'"
        return Finding("problem", "token", "it belongs to another user, as when Scumble was once run with sudo", mend)
    if sys.platform != "win32" and mode & 0o077:

        def repair() -> bool:
            home.token.chmod(0o600)
            return True

        return Finding("problem", "token", "others on this computer can read it", f"chmod 600 '{home.token}'", repair)
    if not re.fullmatch(r"[0-9a-f]{64}", text.strip()):
        return Finding("problem", "token", "the file is damaged", f"Delete '{home.token}' and restart the backend.")
    return Finding("ok", "token", "only you can read it")


def check_backend(home: Home, port: int = PORT) -> Finding:
    try:
        address = find_backend(home)
    except ScumbleError as error:
        return Finding("problem", "backend", error.message, error.hint)
    record = read_record(home)
    if address is not None and record is not None:
        where = f"runs on {record.host}:{record.port}"
        if record.version != __version__:
            mend = "Stop it, it starts again when it is needed: scumble stop"
            return Finding("problem", "backend", f"{where} in version {record.version}, not {__version__}", mend)
        return Finding("ok", "backend", where)
    if is_taken(port):
        return Finding("ok", "backend", f"does not run; starts when it is needed, on a free port: {port} is taken")
    return Finding("ok", "backend", f"does not run; starts when it is needed, port {port} is free")


def check_installation(home: Home) -> Finding:
    try:
        return Finding("ok", "installation", installed_command(home)[0])
    except ScumbleError:
        detail = "not made by the installer: Krita and GIMP cannot start the backend by themselves"
        return Finding("note", "installation", detail, INSTALLER)


def check_folder(home: Home) -> Finding:
    folder = nearest_folder(home.root)
    if not os.access(folder, os.W_OK):
        mend = f"Make it yours: sudo chown -R \"$USER\" '{folder}'"
        return Finding("problem", "folder", f"{folder} may not be written", mend)
    return Finding("ok", "folder", str(home.root))


def check_disk(free: int) -> Finding:
    gigabytes = free / 1e9
    if gigabytes < LEAST_FREE:
        return Finding("problem", "disk", f"{gigabytes:.1f} GB free", "Make room: results and models need it.")
    return Finding("ok", "disk", f"{gigabytes:.0f} GB free")


def check_hosts(home: Home, hosts: tuple[Host, ...]) -> Iterator[Finding]:
    if not hosts:
        yield Finding("note", "programs", "neither Krita nor GIMP was found", "Install one of them.")
    for host in hosts:
        yield check_host(home, host)


def check_host(home: Home, host: Host) -> Finding:
    if host.problem:
        return Finding("note", host.name, host.problem)
    state, bundle = plugin_state(host, __version__), find_bundle(home, host.program)
    if state.kind == "right":
        return Finding("ok", host.name, f"the plug-in is in {host.plugins}")
    if state.kind == "missing" and bundle is None:
        return Finding("note", host.name, "its plug-in was left out when Scumble was installed", INSTALLER)
    mend = f"Run: scumble doctor --fix, then restart {host.program}"
    return Finding("problem", host.name, state.detail, mend, lambda: repair_plugin(host, state, bundle))


# ---- facts -----------------------------------------------------------------------------------------------------------


def installed_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def ask_torch() -> dict[str, str]:
    """Version, device and dtype, and whether there is a GPU that it was not built for; or an error. From a process of its
    own: importing a broken torch can end one."""
    code = (
        "import json, torch; from scumble.diffusion.device import choose_device, is_built_for; d = choose_device(); "
        "print(json.dumps({'version': torch.__version__, 'device': d.torch_device, 'dtype': str(d.dtype)[6:], "
        "'built_for_others': 'yes' if torch.cuda.is_available() and not is_built_for('cuda') else ''}))"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {"error": "it does not answer"}
    if done.returncode != 0:
        return {"error": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
    answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answer


def is_taken(port: int) -> bool:
    with socket.socket() as listener:
        if sys.platform != "win32":  # else a connection that has just ended would count
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def nearest_folder(path: Path) -> Path:
    """The path itself or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
