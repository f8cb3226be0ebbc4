"""The backend is killed at each moment around a result; the plug-in goes on by itself, and the artist gets one layer."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest
from scumble.client.client import Client
from scumble.client.connection import Address, Unreachable
from scumble.client.editor import Editor, EditSettings
from scumble.client.events import Connected, Event, Finished, Received
from scumble.client.launcher import find_backend
from scumble.home import Home
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import HistoryEntry, HistoryList

from tests.client.memory_document import MemoryDocument

from .process import process

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are a matter of POSIX")


class Artist:
    """What a plug-in does, without a host: each result is inserted as it comes."""

    def __init__(self, home: Home, session: str | None = None) -> None:
        self.home = home
        self.client = Client("test", self._locate, session)
        self.editor = Editor(self.client)
        self.document = MemoryDocument(Size(64, 48), selected=(Bounds(20, 10, 8, 8), b"\xff" * 64))
        self.finished: list[str] = []

    def _locate(self) -> Address:
        found = find_backend(self.home)
        if found is None:
            raise Unreachable("No backend runs.")
        return found

    def look(self) -> Event | None:
        event = self.client.next_event(0.05)
        if isinstance(event, Finished):
            self.finished.append(event.result.job)
            self.editor.finish(event)
            self.editor.insert(event.result.job, document=self.document)
        return event

    def history(self) -> tuple[HistoryEntry, ...]:
        self.client.history()
        while True:
            event = self.look()
            if isinstance(event, Received) and isinstance(event.message, HistoryList):
                return event.message.entries


@pytest.fixture
def artist(home: Home) -> Iterator[Artist]:
    artist = Artist(home)
    yield artist
    artist.client.close(timeout=5)


slow = partial(pytest.param, marks=pytest.mark.slow)
MOMENTS = ["before _keep", slow("after _keep"), "after complete", slow("before claim"), slow("after claim")]
"""Nothing of the result is written; its file is; its row too, but nobody has been told; the layer is inserted, but that is
not written down; it is, but the history is not trimmed."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_layer_comes_once(artist: Artist, moment: str) -> None:
    artist.client.connect()
    with process(artist.home, SCUMBLE_TEST_KILLED=moment) as backend:
        while not isinstance(artist.look(), Connected):
            pass
        job = artist.editor.start(artist.document, EditSettings(prompt="quick", seed=5, steps=2))
        while backend.process.poll() is None:
            artist.look()
        assert backend.process.returncode == -signal.SIGKILL
    assert len(artist.document.layers) == (1 if "claim" in moment else 0)
    with process(artist.home):
        while [entry.state for entry in artist.history()] != ["delivered"]:
            pass
        artist.history()  # what was still to come has come by now
    assert artist.finished == [job]
    assert [(layer.job, layer.request.seed) for layer in artist.document.layers] == [(job, 5)]
