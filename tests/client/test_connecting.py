"""From the first attempt to the welcome: a backend that is not there, keeps silent, refuses, or takes its time."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from scumble.client.client import Client
from scumble.client.connection import Address, Unreachable
from scumble.client.events import Connected, Event, Lost, Received
from scumble.protocol.errors import NotAuthorised, UnsupportedVersion
from scumble.protocol.frames import MAX_HEADER, encode
from scumble.protocol.messages import PROTOCOL_VERSION, AdapterInfo, Limits, Looking, ModelList, Welcome

from .fake_backend import FILL, IMAGE, MASK, REQUEST, Peer, connected, idle, wait_for


def test_a_backend_that_never_answers_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scumble.client.connection.HANDSHAKE_SECONDS", 0.2)
    with connected(lambda peer: peer.wait_for_end()) as client:
        assert isinstance(wait_for(client, Lost).error, Unreachable)


def test_a_backend_that_looks_through_its_models_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scumble.client.connection.HANDSHAKE_SECONDS", 0.3)

    def script(peer: Peer) -> None:
        peer.hear()
        for done in range(8):
            peer.say(Looking(done, 8))
            time.sleep(0.1)
        peer.say(Welcome(PROTOCOL_VERSION, "0", "s1", Limits(), (FILL,), (), ()))
        peer.wait_for_end()

    events: list[Event] = []
    with connected(script) as client:
        welcome = client.wait_for(
            lambda event: events.append(event) or (event.welcome if isinstance(event, Connected) else None), 0.4
        )
        assert welcome.models == (FILL,)
    told = [event.message for event in events if isinstance(event, Received)]
    assert [type(event) for event in events] == [Received] * len(told) + [Connected]
    assert told[-1] == Looking(7, 8)
    assert len(told) > 4


def test_a_client_that_is_closed_waits_for_no_look() -> None:
    def script(peer: Peer) -> None:
        peer.hear()
        for done in range(100):
            peer.say(Looking(done, 100))
            time.sleep(0.05)

    with connected(script) as client:
        wait_for(client, Looking)
        client.close(timeout=2)
        assert not [thread for thread in threading.enumerate() if thread.name == "scumble-client"]


def test_lists_of_many_thousands_are_taken() -> None:
    """Before and after the welcome; a client says no more than a message usually may have."""
    many = tuple(AdapterInfo(f"{number:016x}", f"Style {number}", "lora", "sd1", 151 << 20) for number in range(12_000))
    assert len(encode(ModelList((), many))) > MAX_HEADER

    def script(peer: Peer) -> None:
        peer.hear()
        peer.say(Welcome(PROTOCOL_VERSION, "0", "s1", Limits(), (FILL,), (), (), many))
        peer.say(ModelList((), many[:-1]))
        peer.wait_for_end()

    with connected(script) as client:
        assert wait_for(client, Connected).welcome.adapters == many
        assert wait_for(client, ModelList).adapters == many[:-1]


def test_of_what_nobody_has_read_only_the_last_count_is_kept() -> None:
    counted = threading.Event()

    def script(peer: Peer) -> None:
        peer.hear()
        for done in range(50):
            peer.say(Looking(done, 50))
        counted.set()
        peer.wait_for_end()

    with connected(script) as client:
        counted.wait(5)
        time.sleep(0.2)
        assert client.events() == [Received(Looking(49, 50))]


def test_a_program_that_is_no_websocket_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scumble.client.connection.HANDSHAKE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts (the kernel does) and keeps silent
        client = Client("test", lambda: Address("127.0.0.1", listener.getsockname()[1], ""))
        client.connect()
        assert isinstance(wait_for(client, Lost).error, Unreachable)
        client.close(timeout=5)


def test_no_backend_at_all_is_tried_again_and_again_until_patience_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = Client("test", lambda: Address("127.0.0.1", port, ""))
    client.connect()
    job = client.submit(REQUEST, IMAGE, MASK)
    with pytest.raises(Unreachable) as caught:
        client.wait(job, patience=0.3)
    assert caught.value.hint
    client.close(timeout=5)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ('{"type":"welcome","version":2,"entirely":"different"}', UnsupportedVersion),
        ('{"type":"failed","code":"unsupported_version","message":"No.","hint":"Update."}', UnsupportedVersion),
        ('{"type":"failed","code":"not_authorised","message":"No.","hint":""}', NotAuthorised),
    ],
)
def test_what_trying_again_cannot_mend_is_not_tried_again(answer: str, kind: type[Exception]) -> None:
    def refuse(peer: Peer) -> None:
        peer.hear()
        peer.say_raw(answer)

    with connected(refuse, idle) as client:
        lost = wait_for(client, Lost)
        assert isinstance(lost.error, kind)
        assert lost.retry is None
        assert client.next_event(0.2) is None
        client.connect()  # the artist's button
        assert wait_for(client, Connected)


def test_each_attempt_waits_longer_until_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scumble.client.client.FIRST_RETRY", 0.01)
    monkeypatch.setattr("scumble.client.client.LAST_RETRY", 0.03)

    def locate() -> Address:
        raise Unreachable("No backend runs.")

    client = Client("test", locate)
    client.connect()
    waits = [wait_for(client, Lost).retry for _ in range(4)]
    assert waits == [0.01, 0.02, 0.03, 0.03]
    monkeypatch.setattr("scumble.client.client.LAST_RETRY", 60)
    while wait_for(client, Lost).retry < 0.5:
        pass
    client.connect()
    assert [wait_for(client, Lost).retry for _ in range(2)] == [0.01, 0.02]
    client.close(timeout=5)


@pytest.mark.timeout(10)
def test_patience_ends_however_often_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scumble.client.client.LAST_RETRY", 0.01)

    def locate() -> Address:
        raise Unreachable("No backend runs.")

    client = Client("test", locate)
    client.connect()
    with pytest.raises(Unreachable, match="No backend runs"):
        client.wait("0" * 32, patience=0.5)
    client.close(timeout=5)


def test_after_a_connection_that_lasted_the_next_attempt_comes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scumble.client.client.FIRST_RETRY", 0.01)
    monkeypatch.setattr("scumble.client.client.STABLE_SECONDS", 0.3)

    def short(peer: Peer) -> None:
        peer.welcome()
        peer.drop()

    def long(peer: Peer) -> None:
        peer.welcome()
        time.sleep(0.5)
        peer.drop()

    with connected(short, short, long, idle) as client:
        assert [wait_for(client, Lost).retry for _ in range(3)] == [0.01, 0.02, 0.01]
