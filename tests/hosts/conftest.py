"""Fixtures of the real hosts, and what they said where a test fails."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from .gimp_host import GimpHost, warm_up_gimp
from .host import started
from .installs import Install, find_install
from .krita_host import KritaHost, warm_up_krita
from .setup_hosts import RECIPES, USUAL

INSTALLS = {"krita": "krita_install", "gimp": "gimp_install"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every test in here that uses a host is slow and of the hosts. Those marked `only` run in one version."""
    elsewhere = []
    for item in items:
        if set(INSTALLS.values()) & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.host)
            item.add_marker(pytest.mark.slow)
        if mark := item.get_closest_marker("only"):
            wanted = {names(program)[{"oldest": 0, "newest": -1}[mark.args[0]]] for program in INSTALLS}
            if not wanted & set(getattr(item, "callspec").params.values()):  # noqa: B009 - pytest does not type it
                elsewhere.append(item)
    items[:] = [item for item in items if item not in elsewhere]
    config.hook.pytest_deselected(items=elsewhere)


def names(program: str) -> list[str]:
    """The versions to test: the usual ones, and others where someone has prepared them."""
    return [name for name in RECIPES if name.startswith(program) and (name in USUAL or find_install(name))]


@pytest.fixture(scope="session", params=names("krita"))
def krita_install(request: pytest.FixtureRequest) -> Install:
    """Each Krita that is prepared here, with a warm HOME."""
    install = prepared(request.param)
    warm_up_krita(install)
    return install


@pytest.fixture
def krita(krita_install: Install, tmp_path: Path) -> Iterator[KritaHost]:
    """A fresh Krita without any plug-in under test."""
    with KritaHost(krita_install, tmp_path / "krita") as host:
        yield host


@pytest.fixture(scope="session", params=names("gimp"))
def gimp_install(request: pytest.FixtureRequest) -> Install:
    """Each GIMP that is prepared here, with a warm HOME."""
    install = prepared(request.param)
    warm_up_gimp(install)
    return install


@pytest.fixture
def gimp(gimp_install: Install, tmp_path: Path) -> Iterator[GimpHost]:
    """A fresh GIMP without any plug-in under test."""
    with GimpHost(gimp_install, tmp_path / "gimp") as host:
        yield host


def prepared(name: str) -> Install:
    install = find_install(name)
    if install is None:
        why = f"{name} is not prepared: python tests/hosts/setup_hosts.py --host {name}"
        # Where the hosts have been set up, a missing one is a failure and no skip.
        if os.environ.get("SCUMBLE_TEST_REQUIRE_HOSTS"):
            pytest.fail(why)
        pytest.skip(why)
    return install


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for host in started:
            host.keep_evidence()
            report.sections.extend(host.report())
    if call.when == "teardown":
        started.clear()
    return report
