"""The unmodified plug-in from its built zip in the real Krita, with a real backend."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scumble.home import Home

from tests.conftest import REPOSITORY
from tests.server.process import Process, process

from ..installs import Install
from ..krita_host import KritaHost
from .docker import Docker

WHEELS = REPOSITORY / ".test-env" / "wheels"


@pytest.fixture(scope="session")
def plugin_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_zip(tmp_path_factory.mktemp("plugin"))


def build_zip(folder: Path) -> Path:
    """What packaging/build_plugins.py gives away."""
    sys.path.insert(0, str(REPOSITORY / "packaging"))
    try:
        from build_plugins import PLUGINS, fetch_websockets, make_bundle, write_zip
    finally:
        sys.path.remove(str(REPOSITORY / "packaging"))
    WHEELS.mkdir(parents=True, exist_ok=True)
    kept = sorted(WHEELS.glob("websockets-15*.whl"))
    wheel = kept[0] if kept else fetch_websockets(Path(sys.executable), WHEELS)
    target = folder / "scumble-krita.zip"
    write_zip(make_bundle("Krita", PLUGINS["Krita"], wheel, folder / "bundle"), target)
    return target


@pytest.fixture(scope="session")
def diffusion_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Stable Diffusion model."""
    from tests.diffusion.tiny import make_sd1_folder  # imports torch

    return make_sd1_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one of ESRGAN's kind, of a factor of four."""
    from tests.diffusion.test_upscaler import network, save  # imports torch

    return save(tmp_path_factory.mktemp("upscaler") / "4x-small.safetensors", network())


@pytest.fixture(scope="session")
def nano_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nano-sd, on which prompts work (tests/nano), and a random IP-Adapter for it with its image encoder."""
    from tests.diffusion.tiny_adapters import make_vision, reference_tensors, write_adapter  # imports torch
    from tests.nano.painting import MODELS
    from tests.nano.parts import unet

    folder = tmp_path_factory.mktemp("nano-models")
    shutil.copytree(MODELS / "nano-sd", folder / "nano-sd")
    make_vision(folder / "image_encoder")
    write_adapter(folder / "Look.safetensors", reference_tensors(unet()), "reference")
    return folder


@pytest.fixture(scope="module")
def real(
    krita_install: Install,
    plugin_zip: Path,
    fill_model: Path,
    diffusion_model: Path,
    upscaler: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Docker]:
    """Krita with the plug-in, which starts the real backend: MI-GAN, a small random diffusion model, an upscaler."""
    work = tmp_path_factory.mktemp("real")
    models = Home(work / "scumble").models
    shutil.copytree(diffusion_model, models / "tiny")
    shutil.copy(upscaler, models)
    with open_real(krita_install, plugin_zip, fill_model, work) as krita:
        docker = Docker(krita)
        docker.ready()
        yield docker


@pytest.fixture(scope="module")
def nano(
    krita_install: Install,
    plugin_zip: Path,
    fill_model: Path,
    nano_models: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Docker]:
    """As `real`, with models that do what a prompt says."""
    work = tmp_path_factory.mktemp("nano")
    shutil.copytree(nano_models, Home(work / "scumble").models)
    with open_real(krita_install, plugin_zip, fill_model, work) as krita:
        docker = Docker(krita)
        docker.ready()
        yield docker


def open_real(install: Install, plugin: Path, fill_model: Path, work: Path) -> KritaHost:
    """Krita with the plug-in, which starts the real backend on the models in `work`, and on MI-GAN."""
    home = Home(work / "scumble")
    fill = home.models / "fill" / "migan_pipeline_v2.onnx"
    fill.parent.mkdir(parents=True)
    shutil.copy(fill_model, fill)
    home.installation.write_text(json.dumps({"python": str(install.machine_python(work))}))
    return KritaHost(
        install,
        work / "krita",
        plugins=[plugin],
        environment={"SCUMBLE_HOME": str(home.root)},
        visible=[work],
    )


@pytest.fixture
def slow_backend(home: Home) -> Iterator[Process]:
    """A real backend process with an engine whose steps take as long as the prompt says (tests/fakes)."""
    with process(home) as backend:
        yield backend


@pytest.fixture(scope="module")
def slow(krita_install: Install, plugin_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Krita with the plug-in, connected to such a backend of its own; the same one for all tests of a file."""
    work = tmp_path_factory.mktemp("slow")
    home = Home(work / "scumble")
    home.root.mkdir()
    with process(home), open_krita(krita_install, plugin_zip, home, work / "krita") as krita:
        docker = Docker(krita)
        docker.ready()
        yield docker


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest) -> None:
    """No notice is left from the test before."""
    for name in {"real", "nano", "slow"} & set(request.fixturenames):
        docker = request.getfixturevalue(name)
        docker.krita.run("part('scumble_notice_dismiss').click() if shows('scumble_notice') else None")


def open_krita(install: Install, plugin: Path, home: Home, work: Path, settings: str = "") -> KritaHost:
    return KritaHost(
        install,
        work,
        plugins=[plugin],
        environment={"SCUMBLE_HOME": str(home.root)},
        settings=settings,
        visible=[home.root],
    )
