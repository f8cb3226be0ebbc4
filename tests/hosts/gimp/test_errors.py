"""What the artist is told when something is wrong, in exit codes and words, in the real GIMP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scumble.client.launcher import find_backend, read_record
from scumble.home import Home

from ..driver import wait_for
from ..gimp_host import GimpConsole
from ..host import unpack
from ..installs import Install
from .conftest import CALL, in_scripts, note_installation

SCRIPT = (
    CALL
    + """
image = Gimp.Image.new(96, 64, Gimp.ImageBaseType.RGB)
layer = Gimp.Layer.new(image, "base", 96, 64, Gimp.ImageType.RGB_IMAGE, 100, Gimp.LayerMode.NORMAL)
image.insert_layer(layer, None, 0)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 20, 20, 30, 20)
done = call("scumble-remove-selection", image)
if "error" in done:
    raise RuntimeError(done["error"])
print("new layer at", done["bounds"])
"""
)


def console(install: Install, work: Path, plugin: Path, home: Home) -> GimpConsole:
    return GimpConsole(install, work / "gimp", plugins=[plugin], environment={"SCUMBLE_HOME": str(home.root)})


def script(gimp: GimpConsole) -> str:
    path = gimp.work / "script.py"
    path.write_text(SCRIPT)
    return f"exec(open({str(path)!r}).read())"


def test_batch_starts_the_backend_which_outlives_it(
    gimp_install: Install, tmp_path: Path, plugin_zip: Path, home: Home, fill_model: Path
) -> None:
    (home.models / "fill").mkdir(parents=True)
    shutil.copyfile(fill_model, home.models / "fill" / fill_model.name)
    gimp = console(gimp_install, tmp_path, plugin_zip, home)
    note_installation(home, gimp_install, tmp_path)
    try:
        done = gimp.batch(script(gimp))
        assert done.returncode == 0, done
        assert "new layer at [20, 20, 30, 20]" in done.stdout
        assert find_backend(home) is not None
    finally:
        record = read_record(home)
        if record is not None:
            os.kill(record.pid, 15)
            wait_for(lambda: find_backend(home) is None, 30, "the backend to end")


def test_no_backend(gimp_install: Install, tmp_path: Path, plugin_zip: Path, home: Home) -> None:
    gimp = console(gimp_install, tmp_path, plugin_zip, home)
    done = gimp.batch(script(gimp))
    assert done.returncode == 64, done
    assert "Scumble's backend is not installed. Run: python3 packaging/install.py" in done.stdout + done.stderr


def test_wrong_token(gimp_install: Install, tmp_path: Path, plugin_zip: Path, home: Home, backend_home: Home) -> None:
    home.record.write_bytes(backend_home.record.read_bytes())
    home.token.write_text("0" * 64)
    gimp = console(gimp_install, tmp_path, plugin_zip, home)
    done = gimp.batch(script(gimp))
    assert done.returncode == 64, done
    assert "token" in done.stdout + done.stderr


@pytest.mark.parametrize("damage", ["wrong name", "not executable", "unreadable module"])
def test_doctor_mends_the_plugin(
    gimp_install: Install, tmp_path: Path, plugin_zip: Path, backend_home: Home, damage: str
) -> None:
    home = Home(tmp_path / "scumble")
    shutil.copytree(backend_home.models, home.models)
    unpack(plugin_zip, home.root / "plugins" / "gimp")
    gimp = console(gimp_install, tmp_path, plugin_zip, home)
    folder = gimp.home / "gimp" / "plug-ins" / "scumble-gimp"
    if damage == "wrong name":
        folder.rename(folder.with_name("scumble-gimp-main"))
    elif damage == "not executable":
        (folder / "scumble-gimp.py").chmod(0o644)
    else:
        module = folder / "scumble_gimp" / "commands.py"
        module.unlink()
        module.symlink_to("/nowhere")
    if damage == "wrong name":
        assert offered(gimp, home, gimp_install) == "[False]"
    words = said(gimp)
    assert ("Scumble cannot start" in words) if damage == "unreadable module" else (words == "[]")
    (found,) = doctor(gimp, home, gimp_install)
    assert found["level"] == "problem", found
    (found,) = doctor(gimp, home, gimp_install, "--fix")
    assert found["level"] == "ok", found
    if damage == "wrong name":
        assert offered(gimp, home, gimp_install) == "[True]"
    assert "Nothing is selected." in said(gimp)


def said(gimp: GimpConsole) -> str:
    """What a procedure answers that has nothing to do."""
    with gimp:
        in_scripts(gimp)
        return str(
            gimp.get(
                "[call(name, Gimp.Image.new(8, 8, Gimp.ImageBaseType.RGB))['error']"
                " for name in ('scumble-panel', 'scumble-remove-selection') if Gimp.get_pdb().procedure_exists(name)]"
            )
        )


def doctor(gimp: GimpConsole, home: Home, install: Install, *arguments: str) -> list[dict[str, str]]:
    """What `scumble doctor` says of GIMP where that and its folders are the host's."""
    output = run_beside(gimp, home, install, "-m", "scumble", "doctor", "--json", *arguments)
    return [finding for finding in json.loads(output) if finding["what"].startswith("GIMP")]


def offered(gimp: GimpConsole, home: Home, install: Install) -> str:
    """What the installer hears when it asks each GIMP for the panel's procedure."""
    code = (
        "from scumble.client.hosts import find_hosts, gimp_offers, this_machine as machine;"
        "print([gimp_offers(machine(), host, 'scumble-panel') for host in find_hosts(machine()) if host.program == 'GIMP'])"
    )
    return run_beside(gimp, home, install, "-c", code).strip()


def run_beside(gimp: GimpConsole, home: Home, install: Install, *arguments: str) -> str:
    """The output of this Python on a machine that has the host as its GIMP, with its folders."""
    programs = gimp.work / "bin"
    programs.mkdir(exist_ok=True)
    inside = " ".join(install.command(["/usr/bin/gimp-console"], [gimp.work]))
    for name in ("gimp", "gimp-console"):
        (programs / name).write_text(f'#!/bin/sh\nexec {inside} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(gimp.home),
        "GIMP3_DIRECTORY": str(gimp.home / "gimp"),
        "SCUMBLE_HOME": str(home.root),
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    return done.stdout
