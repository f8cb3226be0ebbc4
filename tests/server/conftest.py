"""A server for tests that steer its executor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scumble.protocol.messages import Limits
from scumble.server.session import Policy

from .harness import Backend, rows, running, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    limits = Limits(max_queued=5, max_frame_bytes=1 << 20, max_prompt=100)
    with running(tmp_path_factory.mktemp("home"), Policy(limits, watch_seconds=600)) as backend:
        yield backend


@pytest.fixture
def backend(server: Backend) -> Iterator[Backend]:
    """The server, idle again after each test."""
    server.executor.release.clear()
    yield server
    server.executor.release.set()
    wait_until(lambda: not [job for job in rows(server) if job in ("queued", "running")])
