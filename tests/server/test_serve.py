"""The backend as a process: start, stop, kill, and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from scumble import __version__
from scumble.client.client import Client
from scumble.client.connection import Address
from scumble.client.events import Connected
from scumble.home import Home
from scumble.lock import Locked, locked
from scumble.protocol.errors import DiskFull
from scumble.protocol.messages import PROTOCOL_VERSION, Accepted, Acknowledge, Failed, Hello, Progress, Result
from scumble.server.instance import is_scumble, listen
from scumble.server.jobs import JobStore
from scumble.server.serve import only_one, serve

from .harness import Peer, edit, new_job, wait_until
from .process import REPOSITORY, Process, process

posix = pytest.mark.skipif(os.name != "posix", reason="signals and modes are a matter of POSIX")


def test_importing_the_server_does_not_import_torch() -> None:
    code = (
        "import sys, scumble.server.serve, scumble.server.app, scumble.server.executor;"
        "print(sorted({'torch', 'diffusers', 'transformers', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One that runs through the tests which do not end it."""
    if os.name != "posix":
        pytest.skip("signals and modes are a matter of POSIX")
    home = Home(tmp_path_factory.mktemp("home") / "not made yet")
    with process(home) as backend:
        yield backend


def test_what_a_started_backend_shows(backend: Process) -> None:
    assert backend.record == {
        "pid": backend.process.pid,
        "host": "127.0.0.1",
        "port": backend.port,
        "version": __version__,
    }
    assert is_scumble("127.0.0.1", backend.port)
    assert "listens" in backend.lines[-1]
    assert backend.token not in "".join(backend.lines)
    home = backend.home
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (home.root, home.token, home.jobs, home.logs)}
    assert modes == {home.root: 0o700, home.token: 0o600, home.jobs: 0o700, home.logs: 0o700}
    listeners = [one for one in psutil.Process(backend.process.pid).net_connections() if one.status == "LISTEN"]
    assert {one.laddr.ip for one in listeners} == {"127.0.0.1"}


def test_one_backend_for_a_home(backend: Process) -> None:
    with process(backend.home) as second:
        assert second.end(None) == (0, "")
        assert "already" in second.lines[-1]
    assert backend.record["pid"] == backend.process.pid
    assert is_scumble("127.0.0.1", backend.port)


def test_a_port_taken_by_another_scumble(backend: Process, home: Home) -> None:
    with process(home, backend.port) as other:
        assert any("another Scumble" in line for line in other.lines)
        assert other.port != backend.port
        with Peer(other.port) as peer:
            peer.say(Hello(PROTOCOL_VERSION, "test", backend.token))
            assert isinstance(peer.hear_any(), Failed)
        assert other.end(signal.SIGINT) == (0, "")
        assert not home.record.exists()


def test_the_log_tells_no_secrets(backend: Process) -> None:
    with Peer(backend.port) as peer:
        peer.hello(backend.token)
        job = peer.accepted(edit("error /home/ann/private.png"))
        failed = peer.hear(Failed, 30)
        assert (failed.code, failed.job) == ("internal", job)
    log = (backend.home.logs / "backend.log").read_text()
    assert job in log
    assert "private" not in log
    assert backend.token not in log
    assert peer.session not in log


@posix
@pytest.mark.slow
def test_hello_is_answered_within_two_seconds_of_the_start(home: Home) -> None:
    """Seconds of processor time: there are no others to wait for in a start, unless they use this machine, too."""
    import resource

    def spent() -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime

    before = spent()
    with process(home) as backend, Peer(backend.port) as peer:
        peer.hello(backend.token)
    assert 0 < spent() - before < 2


@posix
@pytest.mark.slow
def test_an_orderly_stop_keeps_running_jobs(home: Home) -> None:
    """Also those of clients who want them cancelled when they are gone: they are not gone, the backend is."""
    with process(home) as backend, Peer(backend.port) as peer:
        peer.hello(backend.token, on_disconnect="cancel")
        session, job = peer.session, peer.accepted(edit("slow", steps=5, seed=5))
        peer.hear(Progress)
        assert backend.end() == (0, "")
        assert not home.record.exists()
    with process(home) as backend, Peer(backend.port) as peer:
        peer.hello(backend.token, session=session)
        assert peer.hear(Result, 30).job == job


@posix
def test_kill_in_mid_job_and_the_result_still_comes(home: Home) -> None:
    with process(home) as backend, Peer(backend.port) as peer:
        peer.hello(backend.token)
        session = peer.session
        running, waiting = peer.accepted(edit("slow", steps=5, seed=5)), peer.accepted(edit("quick", seed=6))
        while peer.hear(Progress).step < 2:
            pass
        workers = psutil.Process(backend.process.pid).children(recursive=True)
        backend.end(signal.SIGKILL)
        wait_until(lambda: not [worker for worker in workers if alive(worker)], 30)
        assert home.record.exists()  # nobody was left to remove it; the next start replaces it
    with process(home) as backend, Peer(backend.port) as peer:
        peer.hello(backend.token, session=session)
        assert peer.session == session
        results = [peer.hear(Result, 30), peer.hear(Result, 30)]
        assert [result.job for result in results] == [running, waiting]
        assert [result.request.seed for result in results] == [5, 6]
        for job in (running, waiting):
            peer.say(Acknowledge(job))
        peer.quiet()


def alive(child: psutil.Process) -> bool:
    try:
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@posix
@pytest.mark.slow
def test_what_was_accepted_is_never_lost(home: Home) -> None:
    """Killed at any moment while submits come in: each accepted job is there afterwards, each other one is not."""
    accepted: list[str] = []
    jobs = [new_job() for _ in range(40)]
    with process(home) as backend, Peer(backend.port) as peer:
        peer.hello(backend.token)
        session = peer.session
        peer.accepted(edit("slow", steps=100))

        def submit() -> None:
            try:
                for job in jobs:
                    peer.submit(edit("quick"), job)
                    accepted.append(peer.hear(Accepted).job)
            except Exception:
                pass

        thread = threading.Thread(target=submit)
        thread.start()
        wait_until(lambda: len(accepted) >= 5)
        backend.end(signal.SIGKILL)
        thread.join(20)
    with process(home) as backend, Peer(backend.port) as peer:
        peer.hello(backend.token, session=session)
        for job in jobs:
            peer.submit(edit("quick"), job)  # what the client does not know of, it sends again
        known = {peer.hear(Accepted).job for _ in range(1 + len(accepted) + len(jobs))}
        assert set(accepted) <= known


def test_other_addresses_only_when_meant(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "studio.example", ""):
        assert serve(home, host=host, port=0) == 2
    assert "--allow-remote" in capsys.readouterr().err
    assert not home.token.exists()


def test_programs_here_reach_a_backend_that_listens_everywhere(home: Home) -> None:
    with process(home, SCUMBLE_TEST_HOST="0.0.0.0") as backend:
        client = Client("test", lambda: Address(backend.record["host"], backend.port, backend.token))
        client.connect()
        assert isinstance(client.next_event(10), Connected)
        client.close(5)


def test_a_taken_port_is_left_to_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = owner.getsockname()[1]
        listener, taker = listen("127.0.0.1", port)
        with listener:
            assert taker == "another program"
            assert listener.getsockname()[1] != port


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"), pytest.raises(Locked), locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock"):
        pass


def test_jobs_that_cannot_be_taken_up_are_told(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def recover(_: JobStore) -> None:
        raise DiskFull("There is no space left on the disk.")

    monkeypatch.setattr(JobStore, "recover", recover)
    with ThreadPoolExecutor(1) as thread:  # signals are left as they are
        assert thread.submit(serve, home, port=0).result(20) == 1
    assert capsys.readouterr().err.startswith("There is no space left on the disk. Free some")


def test_a_backend_that_is_ending_is_waited_for(home: Home) -> None:
    with contextlib.ExitStack() as ending:
        ending.enter_context(locked(home.root / "backend.lock"))
        threading.Timer(0.1, ending.close).start()
        with only_one(home):
            home.record.write_text("{}")
            with pytest.raises(Locked), only_one(home):
                pass


def test_unreadable_jobs_are_named_in_one_sentence(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.jobs.mkdir()
    (home.jobs / "jobs.sqlite").write_bytes(b"no database at all" * 1000)
    assert serve(home, port=0) == 1
    assert "Move the folder" in capsys.readouterr().err
