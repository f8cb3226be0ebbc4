"""The plug-in's logic without Krita: a fake `krita` module and, for Qt, as little as document and workshop touch.

Only tests.krita.fakes stands where Krita would; everything else is the plug-in itself and the shared client.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from tests.conftest import REPOSITORY

from . import fakes


@pytest.fixture(scope="session", autouse=True)
def plugin() -> Iterator[types.ModuleType]:
    """The package scumble_krita as Krita would import it, save that nothing is registered; its lib is the backend's
    folder, as the zip has it."""
    before = set(sys.modules)
    package = types.ModuleType("scumble_krita")
    package.__path__ = [str(REPOSITORY / "krita_plugin" / "scumble_krita")]
    library = types.ModuleType("scumble_krita.lib")
    library.__path__ = [str(REPOSITORY / "backend")]
    qt = types.ModuleType("scumble_krita.qt")
    qt.QtCore, qt.QtGui = fakes.QtCore, None  # type: ignore[attr-defined] # no picture is scaled without Krita
    slots = types.ModuleType("scumble_krita.slots")
    slots.guarded = lambda function: function  # type: ignore[attr-defined] # what is raised shall reach the test
    krita = types.ModuleType("krita")
    krita.Krita = fakes.Krita  # type: ignore[attr-defined]
    sys.modules.update({module.__name__: module for module in (package, library, qt, slots, krita)})
    yield package
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def krita() -> Iterator[fakes.Krita]:
    application = fakes.Krita()
    fakes.Krita.running = application
    yield application
    fakes.Krita.running = None


@pytest.fixture
def flow() -> Any:
    """Takes only a negative prompt and regions, and has one sampler."""
    from scumble_krita.lib.scumble.protocol.messages import ModelInfo

    return ModelInfo(
        "f", "Klein", "diffusion", "flux2", False, 1024, 8 * 10**9, 4, 1.0, "euler", "Apache-2.0",
        samplers=("euler",), capabilities=("negative", "regions"),
    )  # fmt: skip


@pytest.fixture
def able() -> Any:
    """Takes everything."""
    from scumble_krita.lib.scumble.protocol.messages import Capability, ModelInfo

    return ModelInfo(
        "s", "Plain", "diffusion", "sd1", False, 512, 1, 20, 7.0, "dpmpp_2m_karras",
        samplers=("dpmpp_2m_karras", "euler", "euler_a"), capabilities=get_args(Capability),
    )  # fmt: skip
