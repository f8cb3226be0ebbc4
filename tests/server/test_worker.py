"""What holds between server and worker when one of them is killed; and the worker's own small parts."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from scumble.protocol.frames import encode, pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Control, EditRequest, Submit
from scumble.server import shared
from scumble.server.shared import Parcel, discard, new_name, offer, take
from scumble.server.worker import unpack

from .edits import segments
from .harness import LORA, wait_until

pytestmark = pytest.mark.timeout(60)

SERVER = """
import asyncio, multiprocessing, sys
from scumble.protocol.frames import decode
from scumble.server.executor import LocalExecutor
from tests.server.edits import work

async def main():
    executor = LocalExecutor("tests.fakes.engines")
    def tell(payload):
        message = decode(payload)[0]
        if message.stage == "denoising" and message.step == 1:
            print(multiprocessing.active_children()[0].pid, flush=True)
    await executor.run(work("slow", steps=int(sys.argv[1])), tell)

if __name__ == "__main__":
    asyncio.run(main())
"""


@contextmanager
def server(steps: int = 1000) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process with a worker in the middle of a job, and that worker."""
    repository = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(steps)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=repository,
    ) as running:
        try:
            assert running.stdout is not None
            yield running, psutil.Process(int(running.stdout.readline()))
        finally:
            running.kill()


def gone_within(process: psutil.Process, seconds: float) -> bool:
    """A process whose parent is gone may stay a zombie where no init collects it: it does nothing any more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_killed_server_takes_its_worker_along_and_leaves_no_shared_memory() -> None:
    with server() as (running, worker):
        running.kill()
        assert gone_within(worker, 2)
        assert running.stderr is not None
        assert running.stderr.read() == ""  # the resource tracker has nothing to complain about
        assert segments(running.pid) == set()


def test_server_and_worker_killed_at_once_leave_no_shared_memory() -> None:
    with server() as (running, worker):
        running.kill()
        worker.kill()
        assert gone_within(worker, 2)
        assert segments(running.pid) == set()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory does not show here")
@pytest.mark.parametrize("both", [False, True])
def test_a_result_that_a_killed_server_has_not_taken_leaves_no_shared_memory(both: bool) -> None:
    with server(steps=3) as (running, worker):
        running.send_signal(signal.SIGSTOP)
        wait_until(lambda: segments(running.pid))
        if both:
            worker.kill()
        running.kill()
        assert gone_within(worker, 2)
        wait_until(lambda: not segments(running.pid))


def test_a_parcel_carries_bytes_through_shared_memory() -> None:
    before = segments()
    name = new_name()
    with offer(name, b"pixels" * 1000) as parcel:
        assert parcel == Parcel(name, 6000)
        assert take(parcel) == b"pixels" * 1000
    discard(name)
    discard(name)  # nothing there any more: no error
    with pytest.raises(FileNotFoundError):
        take(parcel)
    assert segments() == before


def test_a_parcel_travels_in_the_pipe_where_shared_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shared.os, "posix_fallocate", no_room)
    before = segments()
    name = new_name()
    with offer(name, b"pixels") as parcel:
        assert parcel == Parcel(name, 6, b"pixels")
        assert segments() == before
        assert take(parcel) == b"pixels"
    discard(name)


@pytest.mark.parametrize("masked", [False, True])
def test_a_submits_buffers_find_their_places(masked: bool) -> None:
    canvas = Size(8, 6)
    control = Control("control-1", Bounds(0, 0, 2, 1))
    mask = Bounds(1, 1, 2, 2) if masked else None
    request = EditRequest("img2img", canvas, Bounds(0, 0, 8, 6), mask, controls=(control, control))
    buffers = [
        pack("image", 8, 6, "rgba8", bytes(192)),
        *([pack("mask", 2, 2, "gray8", b"\1\2\3\4")] if masked else []),
        pack("control", 2, 1, "rgba8", b"\5" * 8),
        pack("control", 2, 1, "rgba8", b"\6" * 8),
    ]
    frame = encode(Submit("0" * 32, request), buffers)
    assert isinstance(frame, bytes)
    found, source = unpack(frame, (LORA,))
    assert (found, source.adapters) == (request, (LORA,))
    assert source.image.shape == (6, 8, 4)
    assert (source.mask is None) is not masked
    assert [int(pixels[0, 0, 0]) for pixels in source.controls] == [5, 6]
