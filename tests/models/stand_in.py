"""A stand-in for the model hub on the loopback address: repositories from folders, answers as the hub's."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = (".safetensors", ".bin", ".ckpt", ".onnx")


class HubStandIn:
    """Serves `repositories` (owner/name -> its files by their names). Set an attribute to make it misbehave.

    breaks_after   path -> how many bytes of its answers arrive before the connection ends, one entry for each answer
    refuses        path -> status, instead of the file
    forges         path -> other bytes of the same length than those whose hash it tells
    moves_to       another address, to which it sends those who ask for files
    answers        instead of the list of a repository's files
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.card: dict[str, Any] = {"license": "openrail"}
        self.commit = COMMIT
        self.breaks_after: dict[str, list[int]] = {}
        self.refuses: dict[str, int] = {}
        self.forges: dict[str, bytes] = {}
        self.moves_to = ""
        self.answers: bytes | None = None
        self.asked: list[tuple[str, str | None, str | None]] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in._answer(self)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def add(self, repository: str, folder: Path) -> None:
        files = (path for path in folder.rglob("*") if path.is_file())
        self.repositories[repository] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def fetched(self) -> list[str]:
        """The files that were asked for, by name, in that order."""
        return [path.partition(f"/{self.commit}/")[2] for path, _, _ in self.asked if "/resolve/" in path]

    def _answer(self, to: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(to.path).path)
        self.asked.append((path, to.headers.get("Range"), to.headers.get("Authorization")))
        to.close_connection = True
        if path.startswith("/api/models/"):
            owner, name = path.split("/")[3:5]
            self._tell(to, f"{owner}/{name}")
            return
        owner, name, _, commit, file = path[1:].split("/", 4)
        if self.moves_to:
            to.send_response(302)
            to.send_header("Location", self.moves_to + to.path)
            to.end_headers()
            return
        data = self.repositories.get(f"{owner}/{name}", {}).get(file)
        if file in self.refuses or data is None or commit != self.commit:
            to.send_error(self.refuses.get(file, 404))
            return
        data = self.forges.get(file, data)
        self._send(to, data, self.breaks_after.get(file))

    def _tell(self, to: BaseHTTPRequestHandler, repository: str) -> None:
        if "api" in self.refuses or repository not in self.repositories:
            to.send_error(self.refuses.get("api", 401))  # so the hub answers strangers, also where there is nothing
            return
        if self.answers is not None:
            self._send(to, self.answers, None)
            return
        siblings = [_sibling(name, data) for name, data in self.repositories[repository].items()]
        self._send(to, json.dumps({"sha": self.commit, "cardData": self.card, "siblings": siblings}).encode(), None)

    def _send(self, to: BaseHTTPRequestHandler, data: bytes, breaks: list[int] | None) -> None:
        start, end = 0, len(data)
        if wanted := to.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) + 1 if last else end
        to.send_response(206 if wanted else 200)
        to.send_header("Content-Length", str(len(data[start:end])))
        to.end_headers()
        to.wfile.write(data[start:end][: breaks.pop(0) if breaks else None])


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    git = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    sibling: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git}
    if name.endswith(_LARGE):
        sibling |= {"blobId": "0" * 40, "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}}
    return sibling
