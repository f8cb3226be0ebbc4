"""The built plug-in, a home with a real backend, and how tests call procedures."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diffusers import UNet2DConditionModel
from scumble.client.launcher import find_backend
from scumble.client.settings import update_settings
from scumble.home import Home

from tests.conftest import REPOSITORY
from tests.diffusion.tiny import make_sd1_folder
from tests.diffusion.tiny_adapters import make_control, make_vision, reference_tensors, write_adapter, write_control
from tests.nano.painting import MODELS as NANO

from ..driver import wait_for
from ..gimp_host import GimpConsole, GimpHost
from ..host import started
from ..installs import Install
from .window import CLOSE_ALL, Backend, runs

sys.path[:0] = [str(REPOSITORY / "packaging"), str(REPOSITORY / "gimp_plugin")]

WHEELS = REPOSITORY / ".test-env" / "wheels"


@pytest.fixture(scope="session")
def plugin_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What users unpack into GIMP's folder, built from this checkout."""
    return build_zip(tmp_path_factory.mktemp("plugin"))


def build_zip(folder: Path) -> Path:
    from build_plugins import PLUGINS, fetch_websockets, make_bundle, write_zip

    WHEELS.mkdir(parents=True, exist_ok=True)
    kept = list(WHEELS.glob("websockets-15*.whl"))
    wheel = kept[0] if kept else fetch_websockets(Path(sys.executable), WHEELS)
    write_zip(make_bundle("GIMP", PLUGINS["GIMP"], wheel, folder / "bundle"), folder / "scumble-gimp.zip")
    return folder / "scumble-gimp.zip"


@pytest.fixture(scope="session")
def backend_home(tmp_path_factory: pytest.TempPathFactory, fill_model: Path) -> Iterator[Home]:
    """A home whose backend runs, with the fill model, a small random Stable Diffusion model, "tiny", and for that a control
    network, "edges", and an IP-Adapter, "look"."""
    home = Home(tmp_path_factory.mktemp("scumble-home"))
    (home.models / "fill").mkdir(parents=True)
    shutil.copyfile(fill_model, home.models / "fill" / fill_model.name)
    make_sd1_folder(home.models / "tiny")
    unet = UNet2DConditionModel.from_pretrained(home.models / "tiny" / "unet")
    write_control(home.models / "edges", make_control(unet))
    write_adapter(home.models / "look.safetensors", reference_tensors(unet), "reference")
    make_vision(home.models / "image_encoder")
    with served(home):
        yield home


@pytest.fixture(scope="session")
def nano_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One with a model on which prompts work (tests/nano)."""
    home = Home(tmp_path_factory.mktemp("nano-home"))
    shutil.copytree(NANO / "nano-sd", home.models / "nano-sd")
    with served(home):
        yield home


@contextlib.contextmanager
def served(home: Home) -> Iterator[None]:
    """A backend as users have it runs for this home."""
    environment = {**os.environ, "SCUMBLE_HOME": str(home.root), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "scumble", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: find_backend(home), 60, "the backend")
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def picture() -> np.ndarray:
    """256 x 320 RGBA, opaque, smooth with some noise: every row and column is another."""
    y, x = np.mgrid[:256, :320]
    noise = np.random.default_rng(7).integers(0, 8, (256, 320))
    planes = [60 + x // 2 + noise, 220 - y // 2 - noise, 90 + (x + y) // 5, np.full_like(x, 255)]
    return np.dstack(planes).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def console(
    gimp_install: Install, tmp_path_factory: pytest.TempPathFactory, plugin_zip: Path, backend_home: Home
) -> Iterator[GimpConsole]:
    with scripting(gimp_install, tmp_path_factory.mktemp("gimp"), plugin_zip, backend_home) as gimp:
        yield gimp


@contextlib.contextmanager
def scripting(install: Install, work: Path, plugin: Path, home: Home) -> Iterator[GimpConsole]:
    """A GIMP without a window that has `call` (`in_scripts`)."""
    with GimpConsole(install, work, plugins=[plugin], environment={"SCUMBLE_HOME": str(home.root)}) as gimp:
        in_scripts(gimp)
        yield gimp


@pytest.fixture
def mask() -> np.ndarray:
    """60 x 80, soft at its edges, with a hole."""
    y, x = np.mgrid[:60, :80]
    distance = np.minimum(np.minimum(x, 79 - x), np.minimum(y, 59 - y))
    soft = np.clip(distance * 40 + 20, 0, 255).astype(np.uint8)
    soft[25:30, 30:40] = 0
    return soft


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    backend = Backend(Home(tmp_path_factory.mktemp("slow-home")))
    yield backend
    backend.kill()


@pytest.fixture(scope="session")
def running(
    gimp_install: Install, tmp_path_factory: pytest.TempPathFactory, plugin_zip: Path, backend: Backend
) -> Iterator[GimpHost]:
    """One GIMP for all tests to which the slow backend is enough: a start takes seconds."""
    environment = {"SCUMBLE_HOME": str(backend.home.root)}
    with GimpHost(gimp_install, tmp_path_factory.mktemp("gimp"), [plugin_zip], environment) as gimp:
        yield gimp


@pytest.fixture
def gimp(running: GimpHost, backend: Backend) -> Iterator[GimpHost]:
    with shared(running, backend.home):
        yield running


@contextlib.contextmanager
def shared(host: GimpHost, home: Home) -> Iterator[None]:
    """Nothing is open, nothing of ours runs, and the next panel knows of none before it."""
    started.append(host)
    update_settings(home, gimp_session=None)
    yield
    for pid in runs(host):  # of a test that has failed
        os.kill(pid, signal.SIGKILL)
    host.run(CLOSE_ALL)
    for window in host.display.windows("GIMP Message"):
        host.display.activate(window)
        host.display.keys("Escape")


def in_scripts(host: GimpHost) -> None:
    """Defines `call(name, image, **values)` in the host: what another script does with our procedures."""
    host.run(CALL)


CALL = """
def call(name, image=None, **values):
    procedure = Gimp.get_pdb().lookup_procedure(name)
    config = procedure.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    config.set_property("image", image)
    if image is not None:
        config.set_core_object_array("drawables", image.get_selected_drawables())
    for key, value in values.items():
        config.set_property(key.replace("_", "-"), value)
    answer = procedure.run(config)
    if answer.index(0) != Gimp.PDBStatusType.SUCCESS:
        return {"error": Gimp.get_pdb().get_last_error()}
    layer = answer.index(1)
    _, x, y = layer.get_offsets()
    return {"name": layer.get_name(), "bounds": [x, y, layer.get_width(), layer.get_height()]}
"""


def note_installation(home: Home, install: Install, work: Path) -> None:
    """So that the plug-in starts a backend by itself."""
    home.root.mkdir(exist_ok=True)
    home.installation.write_text(json.dumps({"python": str(install.machine_python(work))}))
