"""What happened to programs of this kind without it, one by one (C9)."""

from __future__ import annotations

import asyncio
import hmac
import http.client
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scumble.protocol import messages
from scumble.protocol.frames import encode
from scumble.protocol.messages import PROTOCOL_VERSION, Cancel, Failed, Hello
from scumble.server.security import Gate, known_hosts, load_token, loopback_hosts, same_token
from scumble.server.session import Policy
from websockets.exceptions import ConnectionClosed

from .harness import TOKEN, Backend, Peer, running

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with running(tmp_path_factory.mktemp("home"), Policy(hello_seconds=0.4)) as backend:
        yield backend


# ---- the token file --------------------------------------------------------------------------------------------------


def test_token_is_256_bits_and_stays(tmp_path: Path) -> None:
    token = load_token(tmp_path / "token")
    assert len(bytes.fromhex(token)) == 32
    assert load_token(tmp_path / "token") == token
    assert load_token(tmp_path / "other") != token
    assert set(os.listdir(tmp_path)) == {"token", "other"}


@posix
def test_token_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_token(tmp_path / "token")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o622, 0o660])
def test_token_that_others_could_read_or_change_is_replaced(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    old = load_token(path)
    path.chmod(mode)
    new = load_token(path)
    assert new != old
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_token(path) == new


@posix
def test_token_file_of_another_user_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = load_token(tmp_path / "token")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert load_token(tmp_path / "token") != old


@posix
def test_token_file_that_is_a_link_is_replaced_and_its_target_left(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("cd" * 32)
    target.chmod(0o600)
    path = tmp_path / "token"
    path.symlink_to(target)
    assert load_token(path) != "cd" * 32
    assert not path.is_symlink()
    assert target.read_text() == "cd" * 32


@pytest.mark.parametrize("content", [b"", b"ab" * 31, b"ab" * 33, b"zz" * 32, b"AB" * 32, b"\xff" * 64])
def test_damaged_token_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    token = load_token(path)
    assert len(bytes.fromhex(token)) == 32
    assert path.read_text() == token != content.decode("latin-1")


def test_comparison_of_tokens() -> None:
    assert same_token(TOKEN, TOKEN)
    for wrong in ("", TOKEN[:-1], TOKEN + "a", "ac" + TOKEN[2:], "é" * 64):
        assert not same_token(wrong, TOKEN)


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: compared.append(pair))
    same_token("given", TOKEN)
    assert compared == [(b"given", TOKEN.encode())]


# ---- Host and Origin, before accept ----------------------------------------------------------------------------------


def health(backend: Backend, headers: list[tuple[str, str]], path: str = "/v1/health", method: str = "GET") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=5)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in headers:
            connection.putheader(name, value.format(port=backend.port))
        connection.endheaders()
        response = connection.getresponse()
        response.read()
        assert "access-control-allow-origin" not in {name.lower() for name, _ in response.getheaders()}
        return response.status
    finally:
        connection.close()


def handshake(backend: Backend, headers: list[tuple[str, str]], path: str = "/v1/ws") -> int:
    upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    return health(backend, headers + upgrade, path)


GOOD_HOSTS = ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}", "studio.example:1"]
BAD_HOSTS = [
    "rebound.example:{port}",  # DNS rebinding: a name of the attacker that resolves to 127.0.0.1
    "127.0.0.1.rebound.example:{port}",
    "localhost.rebound.example:{port}",
    "127.0.0.1",
    "127.0.0.1:1",
    "localhost",
    "0.0.0.0:{port}",
    "user@127.0.0.1:{port}",
    "studio.example",
    "",
]
BAD_ORIGINS = ["null", "http://127.0.0.1:{port}", "http://localhost:{port}", "https://rebound.example", "", "file://"]


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_known_hosts_are_let_in(backend: Backend, host: str) -> None:
    assert health(backend, [("Host", host)]) == 200
    assert handshake(backend, [("Host", host)]) == 101


def test_a_backend_goes_by_the_address_on_which_it_listens() -> None:
    assert known_hosts("192.0.2.7", 8737) - loopback_hosts(8737) == {"192.0.2.7:8737"}
    assert known_hosts("fd00::7", 8737) - loopback_hosts(8737) == {"[fd00::7]:8737"}


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_other_hosts_are_refused_before_accept(backend: Backend, host: str) -> None:
    assert health(backend, [("Host", host)]) == 403
    assert handshake(backend, [("Host", host)]) == 403


def test_requests_with_two_hosts_are_refused(backend: Backend) -> None:
    both = [("Host", "127.0.0.1:{port}"), ("Host", "rebound.example")]
    assert health(backend, both) in (400, 403)
    assert handshake(backend, both) in (400, 403)


@pytest.mark.parametrize("hosts", [[b"127.0.0.1:8737", b"rebound.example"], [b"127.0.0.1:8737"] * 2, []])
def test_the_gate_wants_one_host_whatever_the_server_before_it_lets_through(hosts: list[bytes]) -> None:
    async def app(*_: Any) -> None:
        raise AssertionError("let in")

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    scope = {"type": "websocket", "headers": [(b"host", host) for host in hosts], "query_string": b""}
    asyncio.run(Gate(app, loopback_hosts(8737))(scope, app, send))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_forwarded_headers_do_not_stand_for_the_host(backend: Backend) -> None:
    headers = [("Host", "rebound.example"), ("X-Forwarded-Host", "127.0.0.1:{port}"), ("Forwarded", "host=127.0.0.1")]
    assert health(backend, headers) == 403


@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_web_pages_are_refused_before_accept(backend: Backend, origin: str) -> None:
    headers = [("Host", "127.0.0.1:{port}"), ("Origin", origin)]
    assert health(backend, headers) == 403
    assert handshake(backend, headers) == 403


def test_an_allowed_origin_is_let_in_but_not_beside_another(backend: Backend) -> None:
    allowed = [("Host", "127.0.0.1:{port}"), ("Origin", "https://studio.example")]
    assert handshake(backend, allowed) == 101
    assert health(backend, allowed) == 200
    assert health(backend, [*allowed, ("Origin", "null")]) == 403
    assert handshake(backend, [*allowed, ("Origin", "null")]) in (400, 403)


def test_no_preflight_is_granted(backend: Backend) -> None:
    headers = [
        ("Host", "127.0.0.1:{port}"),
        ("Origin", "https://rebound.example"),
        ("Access-Control-Request-Method", "GET"),
    ]
    assert health(backend, headers, method="OPTIONS") == 403


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/", "/v1", "/v1/jobs", "/v1/../docs"])
def test_there_are_no_other_pages(backend: Backend, path: str) -> None:
    assert health(backend, [("Host", "127.0.0.1:{port}")], path) == 404


def test_a_token_in_the_url_is_refused_and_not_logged(backend: Backend) -> None:
    host = [("Host", "127.0.0.1:{port}")]
    assert health(backend, host, f"/v1/health?token={TOKEN}") == 403
    assert handshake(backend, host, f"/v1/ws?token={TOKEN}") == 403
    assert not [line for line in backend.log if TOKEN in line]


# ---- hello -----------------------------------------------------------------------------------------------------------


def refusal(peer: Peer) -> tuple[Failed, int]:
    failed = peer.hear_any()
    assert isinstance(failed, Failed)
    with pytest.raises(ConnectionClosed) as closed:
        peer.socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    return failed, closed.value.rcvd.code


@pytest.mark.parametrize("token", ["", "cd" * 32, TOKEN.upper(), TOKEN + "0", "é" * 64])
def test_wrong_token(backend: Backend, token: str) -> None:
    with backend.stranger() as peer:
        peer.say(Hello(PROTOCOL_VERSION, "test", token))
        failed, code = refusal(peer)
        assert (failed.code, code) == ("not_authorised", 1008)
        assert failed.hint
        assert not token or token not in failed.message + failed.hint


def test_token_in_a_header_is_not_enough(backend: Backend) -> None:
    with Peer(backend.port, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as peer:
        peer.say(messages.Models())
        assert refusal(peer)[0].code == "not_authorised"


def test_no_hello_in_time(backend: Backend) -> None:
    with backend.stranger() as peer:
        start = time.monotonic()
        failed, code = refusal(peer)
        assert (failed.code, code) == ("not_authorised", 1008)
        assert 0.3 < time.monotonic() - start < 3


@pytest.mark.parametrize(
    "first",
    [
        encode(Cancel("0" * 32)),
        encode(messages.Models()),
        encode(messages.Cancelled("0" * 32)),
        b"SCM1\0\0\0\0",
        b"\xff",
    ],
)
def test_nothing_is_answered_before_hello(backend: Backend, first: str | bytes) -> None:
    with backend.stranger() as peer:
        peer.socket.send(first)
        failed, code = refusal(peer)
        assert (failed.code, code) == ("not_authorised", 1008)


@pytest.mark.parametrize("first", ["", "{", "[]", '{"type":"hello","version":1}', '{"type":"hello","version":1,"x":1}'])
def test_damaged_hello(backend: Backend, first: str) -> None:
    with backend.stranger() as peer:
        peer.socket.send(first)
        failed, code = refusal(peer)
        assert (failed.code, code) == ("bad_request", 1008)


def test_hello_of_another_version(backend: Backend) -> None:
    with backend.stranger() as peer:
        peer.socket.send('{"type":"hello","version":99,"news":true}')
        failed, code = refusal(peer)
        assert (failed.code, code) == ("unsupported_version", 1008)


def test_strangers_cannot_fill_the_memory(backend: Backend) -> None:
    """Before hello a message may have 64 KiB; the length in its head is enough to end the connection."""
    with backend.stranger() as peer:
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - either may be the one that notices
            peer.socket.send(bytes(1 << 20))
            peer.socket.recv(timeout=5)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


def test_second_hello_is_an_error_and_changes_nothing(backend: Backend) -> None:
    with backend.peer() as peer:
        peer.say(Hello(PROTOCOL_VERSION, "test", TOKEN))
        failed = peer.hear_any()
        assert isinstance(failed, Failed)
        assert failed.code == "bad_request"
        peer.works()


def test_an_unknown_session_gets_a_new_one(backend: Backend) -> None:
    with backend.peer(session="guessed") as peer, backend.peer() as other:
        assert peer.session not in ("guessed", other.session)
        assert len(bytes.fromhex(peer.session)) == 32
