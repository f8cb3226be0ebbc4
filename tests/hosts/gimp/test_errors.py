"""What the artist is told when something is wrong, in exit codes and words, in the real GIMP."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scumble.client.launcher import find_backend, read_record
from scumble.home import Home

from tests.server.process import Process, process

from ..driver import wait_for
from ..gimp_host import SCHEME, GimpConsole
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
SCHEME_SCRIPT = """
(let* ((image (car (gimp-image-new 96 64 RGB)))
       (layer (car (gimp-layer-new image "base" 96 64 RGB-IMAGE 100 LAYER-MODE-NORMAL))))
  (gimp-image-insert-layer image layer 0 0)
  {select}
  (scumble-remove-selection #:run-mode RUN-NONINTERACTIVE #:image image #:drawables (vector layer))
  (gimp-message (string-append "layers: " (number->string (vector-length (car (gimp-image-get-layers image)))))))
"""


def console(install: Install, work: Path, plugin: Path, home: Home) -> GimpConsole:
    return GimpConsole(install, work / "gimp", plugins=[plugin], environment={"SCUMBLE_HOME": str(home.root)})


EDIT = "call('scumble-fill-selection', image, prompt='slow', steps=15)"


@contextlib.contextmanager
def killed_in_mid_edit(
    install: Install, work: Path, plugin: Path
) -> Iterator[tuple[Home, GimpConsole, Future[dict[str, object]]]]:
    """A script that waits for an edit whose backend has just been killed, and what its call will answer."""
    home = Home(work / "slow-home")
    home.root.mkdir()
    backend = Process(home)
    with console(install, work, plugin, home) as gimp, ThreadPoolExecutor(1) as pool:
        in_scripts(gimp)
        gimp.new_image(np.full((64, 96, 4), 255, np.uint8))
        gimp.select(np.full((20, 30), 255, np.uint8), 20, 20)
        answer = pool.submit(gimp.get, EDIT, 120)
        wait_for(lambda: list(home.jobs.glob("*.submit")), 30, "an edit to be accepted")
        backend.end(signal.SIGKILL)
        yield home, gimp, answer
        answer.result()


@pytest.fixture(scope="module", autouse=True)
def deserted(
    gimp_install: Install, tmp_path_factory: pytest.TempPathFactory, plugin_zip: Path
) -> Iterator[Future[dict[str, object]]]:
    """A script whose backend never comes back: it waits for a minute, while the other tests run."""
    with killed_in_mid_edit(gimp_install, tmp_path_factory.mktemp("deserted"), plugin_zip) as (_, _, answer):
        yield answer


@pytest.mark.only("newest")
def test_backend_that_comes_back_in_mid_batch(gimp_install: Install, tmp_path: Path, plugin_zip: Path) -> None:
    """C4: the job goes on, and its layer comes."""
    with killed_in_mid_edit(gimp_install, tmp_path, plugin_zip) as (home, gimp, answer):
        with process(home):
            assert answer.result().get("bounds") == [20, 20, 30, 20]
        assert gimp.get("len(image.get_layers())") == 2


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


def test_scheme_scripts_and_the_exit_codes_of_a_batch(
    gimp_install: Install, tmp_path: Path, plugin_zip: Path, backend_home: Home
) -> None:
    gimp = console(gimp_install, tmp_path, plugin_zip, backend_home)
    select = "(gimp-image-select-rectangle image CHANNEL-OP-REPLACE 20 20 30 20)"
    done = gimp.batch(SCHEME_SCRIPT.format(select=select), SCHEME)
    assert done.returncode == 0, done
    assert "layers: 2" in done.stdout + done.stderr
    done = gimp.batch(SCHEME_SCRIPT.format(select=""), SCHEME)
    assert done.returncode == 70, done
    assert "Nothing is selected. Select what to change." in done.stdout + done.stderr


@pytest.mark.only("newest")
def test_no_backend(gimp_install: Install, tmp_path: Path, plugin_zip: Path, home: Home) -> None:
    gimp = console(gimp_install, tmp_path, plugin_zip, home)
    done = gimp.batch(script(gimp))
    assert done.returncode == 64, done
    assert "Scumble's backend is not installed. Run: python3 packaging/install.py" in done.stdout + done.stderr


@pytest.mark.only("newest")
def test_wrong_token(gimp_install: Install, tmp_path: Path, plugin_zip: Path, home: Home, backend_home: Home) -> None:
    home.record.write_bytes(backend_home.record.read_bytes())
    home.token.write_text("0" * 64)
    gimp = console(gimp_install, tmp_path, plugin_zip, home)
    done = gimp.batch(script(gimp))
    assert done.returncode == 64, done
    assert "token" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "damage", ["wrong name", "not executable", pytest.param("unreadable module", marks=pytest.mark.only("newest"))]
)
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


def test_backend_that_never_comes_back(deserted: Future[dict[str, object]]) -> None:
    told = {"error": "Scumble's backend is not installed. Run: python3 packaging/install.py"}
    assert deserted.result(90) == told


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
