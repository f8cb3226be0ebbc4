"""What bad input gets: a named error, and a server that goes on for everyone else."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scumble.protocol import messages
from scumble.protocol.frames import MAX_HEADER, encode, pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Accepted, Failed, Limits, Progress, Result, Submit
from scumble.server import durable
from scumble.server.session import Policy
from websockets.exceptions import ConnectionClosed

from .harness import Backend, Peer, buffers_of, edit, new_job, running, wait_until

LIMITS = Limits(
    max_frame_bytes=1 << 20, max_pixels=200_000, max_side=4096, max_count=4, max_steps=50, max_prompt=100, max_queued=20
)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with running(tmp_path_factory.mktemp("home"), Policy(LIMITS, stall_seconds=0.5)) as backend:
        yield backend


@pytest.fixture(scope="module")
def peer(backend: Backend) -> Iterator[Peer]:
    """One connection that outlives everything that is sent through it, and still gets its edits done at the end."""
    with backend.peer() as peer:
        yield peer
        peer.accepted()
        peer.hear(Result)


def refused(peer: Peer, payload: str | bytes) -> Failed:
    peer.quiet()
    peer.socket.send(payload)
    failed = peer.hear_any()
    assert isinstance(failed, Failed), failed
    assert failed.message.endswith(".")
    assert failed.hint
    peer.quiet()
    return failed


def frame(header: Any, *data: bytes) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return b"SCM1" + struct.pack("<I", len(head)) + head + b"".join(data)


def submit_header(**changes: Any) -> dict[str, Any]:
    """The header of a good submit with some fields of the request changed."""
    payload = encode(Submit(new_job(), edit()), buffers_of(edit()))
    assert isinstance(payload, bytes)
    (length,) = struct.unpack_from("<I", payload, 4)
    header: dict[str, Any] = json.loads(payload[8 : 8 + length])
    header["request"].update(changes)
    return header


PIXELS = bytes(4 * 12) + b"\xff\xff"


# ---- damaged frames --------------------------------------------------------------------------------------------------


def test_the_frame_that_the_others_damage_is_good(peer: Peer) -> None:
    peer.socket.send(frame(submit_header(), PIXELS))
    peer.hear(Accepted)
    peer.hear(Result)
    peer.quiet()


def test_truncated_frames(peer: Peer) -> None:
    good = frame(submit_header(), PIXELS)
    for length in [0, 1, 4, 7, 8, 9, 40, len(good) - len(PIXELS), len(good) - 1]:
        assert refused(peer, good[:length]).code == "bad_request"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("", "bad_request"),
        ("{", "bad_request"),
        ("null", "bad_request"),
        ("[" * 100_000, "bad_request"),
        ('{"type":"nonsense"}', "bad_request"),
        ('{"type":["hello"]}', "bad_request"),
        ('{"type":"cancel","job":1}', "bad_request"),
        ('{"type":"cancel","job":"\\ud800"}', "bad_request"),
        ('{"type":"cancel","job":"a","also":1}', "bad_request"),
        ('{"type":"history","limit":0}', "bad_request"),
        ('{"type":"history","before":NaN}', "bad_request"),
        ('{"type":"history","before":1e999}', "bad_request"),
        ('{"type":"accepted"}', "bad_request"),
        (encode(messages.Cancelled("a")), "bad_request"),
        ("x" * (MAX_HEADER // 2), "bad_request"),
        (b"SCM2" + bytes(20), "bad_request"),
        (b"SCM1\xff\xff\xff\xff", "too_large"),
        (frame(b"\xff\xfe"), "bad_request"),
        (frame({"type": "submit"}), "bad_request"),
        (frame({"type": "models", "buffers": []}), "bad_request"),
    ],
)
def test_damaged_messages(peer: Peer, payload: str | bytes, code: str) -> None:
    assert refused(peer, payload).code == code


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_damage(peer: Peer, data: st.DataObject) -> None:
    good = bytearray(frame(submit_header(mode="img2img", model="unknown"), PIXELS))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - len(PIXELS) - 1))] = data.draw(st.integers(0, 255))
    refused(peer, bytes(good))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_random_messages(peer: Peer, payload: str | bytes) -> None:
    refused(peer, payload)


def test_a_frame_above_the_cap_ends_only_its_own_connection(backend: Backend, peer: Peer) -> None:
    with backend.peer() as other:
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - either may be the one that notices
            other.socket.send(bytes(LIMITS.max_frame_bytes + 1))
            other.socket.recv(timeout=5)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    peer.quiet()


def test_invalid_utf8_ends_only_its_own_connection(backend: Backend, peer: Peer) -> None:
    with backend.peer() as other:
        other.socket.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosed):
            other.socket.recv(timeout=5)
    peer.quiet()


# ---- requests that cannot be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"canvas": [0, 48]}, "bad_request"),
        ({"canvas": [200_000, 48]}, "bad_request"),
        ({"canvas": [5000, 48]}, "too_large"),
        ({"image": [0, 0, 0, 3]}, "bad_request"),
        ({"image": [0, 0, 200_000, 3]}, "bad_request"),
        ({"image": [0, 0, 4]}, "bad_request"),
        ({"image": [0, 0, 3, 4]}, "bad_request"),
        ({"image": [-40_000, 0, 4, 3]}, "bad_request"),
        ({"mask": [1, 1, 1, 1]}, "bad_request"),
        ({"mask": [1, 1, 0, 1]}, "bad_request"),
        ({"mask": None}, "bad_request"),
        ({"mask": [4000, 4000, 2, 1]}, "too_large"),  # far away: the edit would cover all that lies between
        ({"strength": 1.01}, "bad_request"),
        ({"strength": -0.01}, "bad_request"),
        ({"strength": float("nan")}, "bad_request"),
        ({"strength": True}, "bad_request"),
        ({"strength": "1"}, "bad_request"),
        ({"guidance": float("inf")}, "bad_request"),
        ({"guidance": 101}, "bad_request"),
        ({"steps": 0}, "bad_request"),
        ({"steps": 51}, "too_large"),
        ({"steps": 1e3}, "bad_request"),
        ({"steps": 10**30}, "bad_request"),
        ({"count": 0}, "bad_request"),
        ({"count": 5}, "too_large"),
        ({"seed": -1}, "bad_request"),
        ({"seed": 2**32}, "bad_request"),
        ({"grow": -1}, "bad_request"),
        ({"feather": 5000}, "bad_request"),
        ({"context": 40_000}, "bad_request"),
        ({"mode": "explode"}, "bad_request"),
        ({"prefill": "water"}, "bad_request"),
        ({"sampler": "plms"}, "bad_request"),
        ({"model": "../../etc/passwd"}, "model_missing"),
        ({"model": "sd-1\x00"}, "model_missing"),
        ({"prompt": "x" * 101}, "too_large"),
        ({"negative": "x" * 101}, "too_large"),
        ({"prompt": None}, "bad_request"),
        ({"prompt": "\ud800"}, "bad_request"),
        ({"lora": "x"}, "bad_request"),
        ({"loras": [{"id": "x", "weight": 11}]}, "bad_request"),
        ({"loras": [{"id": "x", "path": "/etc"}]}, "bad_request"),
        ({"loras": [{"id": "../ink", "weight": 1.0}], "model": "sd-1"}, "model_missing"),
        ({"loras": [{"id": "lora-1"}] * 17, "model": "sd-1"}, "too_large"),
        ({"controls": [{"id": "control-1", "image": [0, 0, 4, 3]}]}, "bad_request"),  # and no buffer
    ],
)
def test_impossible_requests(peer: Peer, backend: Backend, changes: dict[str, Any], code: str) -> None:
    header = submit_header(**changes)
    failed = refused(peer, frame(header, PIXELS))
    assert failed.code == code
    assert failed.job in (None, header["job"])
    assert backend.store.find(header["job"]) is None
    assert "passwd" not in failed.message + failed.hint


@pytest.mark.parametrize("job", ["", "../../../etc/passwd", "A" * 32, "0" * 31, "0" * 32 + "\n", "é" * 32])
def test_impossible_job_ids(peer: Peer, job: str) -> None:
    assert refused(peer, frame(submit_header() | {"job": job}, PIXELS)).code == "bad_request"


@pytest.mark.parametrize(
    ("buffers", "code"),
    [
        ([pack("image", 4, 3, "rgba8", bytes(48))], "bad_request"),
        ([pack("mask", 2, 1, "gray8", b"ab"), pack("image", 4, 3, "rgba8", bytes(48))], "bad_request"),
        ([pack("image", 3, 4, "rgba8", bytes(48)), pack("mask", 2, 1, "gray8", b"ab")], "bad_request"),
        ([pack("image", 4, 3, "rgba8", bytes(48)), pack("mask", 1, 2, "gray8", b"ab")], "bad_request"),
        ([pack("image", 4, 3, "gray8", bytes(12)), pack("mask", 2, 1, "gray8", b"ab")], "bad_request"),
        ([pack("image", 4, 3, "rgba8", bytes(48)), pack("mask", 2, 1, "rgba8", bytes(8))], "bad_request"),
        ([pack("image", 200_000, 1, "rgba8", bytes(800_000)), pack("mask", 2, 1, "gray8", b"ab")], "too_large"),
    ],
)
def test_buffers_that_do_not_fit_the_request(peer: Peer, buffers: list[messages.Buffer], code: str) -> None:
    assert refused(peer, encode(Submit(new_job(), edit()), buffers)).code == code


def test_more_pixels_than_allowed(peer: Peer) -> None:
    """Few bytes, if coded: the size in the header is what counts."""
    request = messages.EditRequest("img2img", Size(2000, 2000), Bounds(0, 0, 500, 500))
    image = messages.Buffer("image", 500, 500, "rgba8", "zlib", b"tiny")
    assert refused(peer, encode(Submit(new_job(), request), [image])).code == "too_large"


# ---- a full disk -----------------------------------------------------------------------------------------------------


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_at_submit(backend: Backend, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fsync", no_space)
        job = peer.submit()
        failed = peer.hear_any()
        assert isinstance(failed, Failed)
        assert (failed.code, failed.job) == ("disk_full", job)
        assert "disk" in failed.hint
    assert backend.store.find(job) is None
    assert peer.accepted(job=job) == job
    assert peer.hear(Result).job == job


def test_full_disk_when_the_result_comes(backend: Backend, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        job = peer.accepted(edit("hold"))
        patch.setattr(durable.os, "fsync", no_space)
        backend.executor.release.set()
        failed = peer.hear(Failed)
        backend.executor.release.clear()
        assert (failed.code, failed.job) == ("disk_full", job)
    found = backend.store.find(job)
    assert found is not None
    assert found.state == "failed"


def test_a_result_file_that_is_gone(backend: Backend, peer: Peer) -> None:
    job = peer.accepted()
    peer.hear(Result)
    (backend.folder / "jobs" / f"{job}.result").unlink()
    peer.say(messages.Resume(job))
    failed = peer.hear(Failed)
    assert (failed.code, failed.job) == ("internal", job)
    peer.works()


# ---- clients that do not behave --------------------------------------------------------------------------------------


def test_a_client_that_sends_and_vanishes(backend: Backend, peer: Peer) -> None:
    """The job was sent whole, so it is done; it waits for its owner."""
    jobs = []
    for _ in range(5):
        with backend.peer() as other:
            jobs.append(other.submit())
            other.vanish()
    wait_until(lambda: all((job := backend.store.find(name)) and job.state == "done" for name in jobs))
    peer.quiet()


def test_a_client_that_vanishes_in_the_middle_of_a_frame(backend: Backend, peer: Peer) -> None:
    with backend.peer() as other:
        other.socket.socket.sendall(b"\x82\xfe\xff\xff" + bytes(1000))
        other.vanish()
    with socket.create_connection(("127.0.0.1", backend.port)) as raw:
        raw.sendall(b"GET /v1/ws HTTP/1.1\r\nHost: ")
    with socket.create_connection(("127.0.0.1", backend.port)) as raw:
        raw.sendall(os.urandom(1000))
    peer.quiet()


def raw_client(backend: Backend, room: int = 4096) -> socket.socket:
    """A connection under full control, welcomed. `room`: bytes that the system receives before they are read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    raw.settimeout(5)
    raw.connect(("127.0.0.1", backend.port))
    raw.sendall(
        f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{backend.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in raw.recv(4096)
    send_raw(raw, encode(messages.Hello(1, "test", "ab" * 32)))
    raw.recv(100)
    return raw


def send_raw(raw: socket.socket, payload: str | bytes) -> None:
    data, opcode = (payload.encode(), 0x81) if isinstance(payload, str) else (payload, 0x82)
    raw.sendall(struct.pack("!BBQ", opcode, 0xFF, len(data)) + bytes(4) + data)  # masked with zeros


def test_a_client_that_reads_nothing(backend: Backend, peer: Peer) -> None:
    """It is disconnected, its job is kept, and meanwhile others are served."""
    job = new_job()
    request = edit("big chatty")
    with raw_client(backend) as raw:
        send_raw(raw, encode(Submit(job, request), buffers_of(request)))
        wait_until(lambda: (found := backend.store.find(job)) and found.state == "done", 30)
        start = time.monotonic()
        peer.works()
        assert time.monotonic() - start < 1
        wait_until(lambda: any("has read nothing" in line for line in backend.log))
    found = backend.store.find(job)
    assert found is not None
    assert found.state == "done"


def test_a_client_that_asks_and_never_reads_is_not_listened_to(backend: Backend, peer: Peer) -> None:
    """Its questions do not pile up answers in the server's memory."""
    before = len([line for line in backend.log if "has read nothing" in line])
    sent = 0
    with raw_client(backend) as raw, pytest.raises(OSError):  # noqa: PT011, PT012 - reset or timed out, by the system
        raw.settimeout(20)
        while sent < 5_000_000:
            send_raw(raw, '{"type":"models"}')
            sent += 1
    assert sent < 1_000_000
    wait_until(lambda: len([line for line in backend.log if "has read nothing" in line]) > before)
    peer.quiet()


def test_who_reads_slowly_is_not_taken_for_one_who_reads_nothing(tmp_path: Path) -> None:
    request = edit("big")
    with running(tmp_path, Policy(LIMITS, stall_seconds=1)) as backend, raw_client(backend, 1 << 16) as raw:
        send_raw(raw, encode(Submit(new_job(), request), buffers_of(request)))
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert raw.recv(1 << 16)
            time.sleep(0.02)
        assert not [line for line in backend.log if "has read nothing" in line]


def test_a_slow_reader_gets_the_latest_progress_and_the_result(tmp_path: Path) -> None:
    # It is no stalled one, however long the job takes on a busy machine.
    with running(tmp_path, Policy(LIMITS, stall_seconds=60)) as backend, Peer(backend.port, max_queue=1) as slow:
        slow.hello()
        job = slow.accepted(edit("chatty"))
        wait_until(lambda: (found := backend.store.find(job)) and found.state == "done", 30)
        seen = []
        while not isinstance(message := slow.hear_any(), Result):
            if isinstance(message, Progress):
                seen.append(message.step)
        assert message.job == job
        assert seen == sorted(seen)
        assert len(seen) < 1000


def test_big_results_do_not_hold_up_others(backend: Backend, peer: Peer) -> None:
    with backend.peer() as other:
        other.accepted(edit("big"))
        slowest = 0.0
        end = time.monotonic() + 20
        while time.monotonic() < end:
            start = time.monotonic()
            peer.works()
            slowest = max(slowest, time.monotonic() - start)
            try:
                message = other.hear_any(0.001)
            except TimeoutError:
                continue
            if isinstance(message, Result):
                break
        assert slowest < 1


def test_nothing_of_all_this_was_a_defect(backend: Backend) -> None:
    """Bad input is foreseen, it is no error of ours; only the file that a test above deleted is one."""
    errors = [line for line in backend.log if line.startswith("scumble") and " ERROR " in line]
    assert len(errors) == 1
    assert "could not be read" in errors[0]
