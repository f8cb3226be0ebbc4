"""Finding and starting the backend, with a small program in its place."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scumble.client import launcher
from scumble.client.connection import Address, Unreachable
from scumble.client.launcher import (
    backend_environment,
    find_backend,
    installed_command,
    is_alive,
    read_record,
    start_backend,
)
from scumble.home import Home, find_home
from scumble.protocol.errors import NotAuthorised

BACKEND = """
import http.server, json, os, sys, threading, time
home = os.environ["SCUMBLE_HOME"]
with open(home + "/starts", "a") as file:
    file.write("started\\n")
time.sleep(float(sys.argv[1]))
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"server": "0", "pid": os.getpid()}).encode())
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Health)
open(home + "/token", "w").write("ab")
record = {"pid": os.getpid(), "host": "127.0.0.1", "port": server.server_port, "version": "0"}
open(home + "/record.new", "w").write(json.dumps(record))
os.replace(home + "/record.new", home + "/backend.json")
threading.Timer(60, os._exit, [0]).start()
server.serve_forever()
"""


@pytest.fixture
def command(tmp_path: Path, home: Home) -> Iterator[list[str]]:
    program = tmp_path / "backend.py"
    program.write_text(BACKEND)
    yield [sys.executable, str(program), "0.2"]
    record = read_record(home)
    if record is not None and record.pid != os.getpid() and is_alive(record.pid):
        os.kill(record.pid, 15)


def write_record(home: Home, **changes: Any) -> None:
    record = {"pid": os.getpid(), "host": "127.0.0.1", "port": 1, "version": "0", **changes}
    home.record.write_text(json.dumps(record))


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_backend_is_started_and_then_found(home: Home, command: list[str]) -> None:
    assert find_backend(home) is None
    address = start_backend(home, command)
    assert address.token == "ab"
    assert find_backend(home) == address
    assert start_backend(home, ["nothing like this"]) == address


def test_two_programs_that_start_it_at_once_end_with_one(home: Home, command: list[str]) -> None:
    addresses: list[Address] = []
    threads = [threading.Thread(target=lambda: addresses.append(start_backend(home, command))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(addresses)) == 1
    assert len(addresses) == 3
    assert (home.root / "starts").read_text() == "started\n"


def test_it_outlives_its_starter_and_the_starters_signals(home: Home, command: list[str]) -> None:
    source = Path(launcher.__file__).parents[2]
    starter = (
        f"import sys; sys.path.insert(0, {str(source)!r})\n"
        "from pathlib import Path; from scumble.home import Home; from scumble.client.launcher import start_backend\n"
        f"start_backend(Home(Path({str(home.root)!r})), {command!r})"
    )
    subprocess.run([sys.executable, "-c", starter], check=True, timeout=30)
    record = read_record(home)
    assert record is not None
    assert find_backend(home) is not None
    if sys.platform != "win32":
        assert os.getsid(record.pid) == record.pid


def test_a_backend_that_dies_at_once_says_why(home: Home) -> None:
    with pytest.raises(Unreachable, match="the disk has melted") as caught:
        start_backend(home, [sys.executable, "-c", "raise SystemExit('the disk has melted')"])
    assert caught.value.hint


def test_a_full_disk_is_told_though_nobody_could_write_it_down(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(Unreachable, match="no space left"):
        start_backend(home, [sys.executable, "-c", "raise SystemExit(1)"])


def test_a_backend_that_takes_too_long_is_an_error(home: Home) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="too long"):
        start_backend(home, [sys.executable, "-c", "import time; time.sleep(3)"], timeout=0.3)
    assert time.monotonic() - began < 2


def test_a_command_that_is_not_there_is_an_error(home: Home) -> None:
    with pytest.raises(Unreachable):
        start_backend(home, [str(home.root / "no-such-python")])


def test_a_folder_that_is_not_the_users_is_told(tmp_path: Path, command: list[str]) -> None:
    """As after a first run with sudo; a file in its place takes no more from anybody, also not from root."""
    (tmp_path / "folder").touch()
    with pytest.raises(Unreachable, match="folder cannot be written to") as told:
        start_backend(Home(tmp_path / "folder"), command)
    assert "doctor" in told.value.hint


def test_in_a_flatpak_the_artist_is_told_what_to_run(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(launcher, "FLATPAK", tmp_path)
    with pytest.raises(Unreachable) as caught:
        start_backend(home, [sys.executable])
    assert "scumble serve" in caught.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="Flatpaks are for Linux")
@pytest.mark.parametrize(
    ("host", "data"), [({}, ".local/share"), ({"HOST_XDG_DATA_HOME": "/data"}, "/data")], ids=["usual", "moved"]
)
def test_a_plugin_in_a_flatpak_looks_where_the_backend_is(host: dict[str, str], data: str) -> None:
    """Flatpak gives programs an XDG_DATA_HOME of their own, and tells that of the user only where one is set."""
    inside = {"FLATPAK_ID": "org.kde.krita", "XDG_DATA_HOME": str(Path.home() / ".var/app/org.kde.krita/data")}
    assert find_home({**inside, **host}).root == Path.home() / data / "scumble"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"pid": 1}',
        '{"pid": "1", "host": "h", "port": 1, "version": "0"}',
        '{"pid": 1, "host": "h", "port": 99999, "version": "0"}',
    ],
)
def test_a_damaged_record_is_none(home: Home, content: str) -> None:
    home.record.write_text(content)
    assert read_record(home) is None
    assert find_backend(home) is None


def test_a_record_left_behind_is_none(home: Home) -> None:
    write_record(home)  # we live, but nobody listens
    assert find_backend(home) is None
    pid = ended_process()
    assert not is_alive(pid)
    write_record(home, pid=pid)
    assert find_backend(home) is None


def test_another_backend_at_the_recorded_place_is_not_told_the_token(home: Home, command: list[str]) -> None:
    """As after a power cut, where the process id has come to something else meanwhile."""
    address, record = start_backend(home, command), home.record.read_text()
    write_record(home, port=address.port)
    assert find_backend(home) is None
    home.record.write_text(record)
    assert find_backend(home) == address


def test_a_backend_that_is_stopped_is_there(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        write_record(home, port=silent.getsockname()[1])
        home.token.write_text("ab")
        assert find_backend(home) is not None


def test_an_unreadable_token_is_told(home: Home, command: list[str]) -> None:
    start_backend(home, command)
    home.token.unlink()
    with pytest.raises(NotAuthorised):
        find_backend(home)


def test_the_installers_python_starts_it(home: Home) -> None:
    with pytest.raises(Unreachable, match="not installed"):
        installed_command(home)
    home.installation.write_text(json.dumps({"python": str(home.root / "gone")}))
    with pytest.raises(Unreachable, match="not installed"):
        installed_command(home)
    home.installation.write_text(json.dumps({"python": sys.executable}))
    assert installed_command(home) == [sys.executable, "-m", "scumble", "serve"]


def test_the_hosts_own_python_does_not_leak_into_the_backend(home: Home) -> None:
    environ = {"PATH": "/bin", "PYTHONHOME": "/krita", "PYTHONPATH": "/krita", "LD_LIBRARY_PATH": "/cuda"}
    assert backend_environment(environ, home) == {
        "PATH": "/bin",
        "LD_LIBRARY_PATH": "/cuda",
        "SCUMBLE_HOME": str(home.root),
    }
    assert "LD_LIBRARY_PATH" not in backend_environment({**environ, "APPIMAGE": "krita.appimage"}, home)
