"""The model hub, as far as Scumble needs it: which files a repository has, and where they are.

Not by huggingface_hub: it checks no hash (only sizes), starts an interrupted file anew, and only warns of a full disk.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from ..protocol.errors import BadRequest, ModelMissing
from .download import Published
from .examine import printable
from .web import PUBLIC_HUB, broken_off, open_url

_MOST = 16 << 20  # bytes of an answer
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_ADDRESS = re.compile(r"(?P<repository>[^/?#]+/[^/?#]+)(?:/(?:blob|resolve)/[^/]+/(?P<file>[^?#]+))?")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Hub:
    """A hub at an address, and who asks."""

    address: str
    token: str | None = None

    def __post_init__(self) -> None:
        # Checked here: http.client would tell the token in its complaint.
        if self.token and not re.fullmatch(r"[!-~]+", self.token):
            raise BadRequest("HF_TOKEN holds characters that no token has.", "Copy it anew, or unset it.")

    def named(self, wanted: str) -> str:
        """`wanted` as owner/name[:FILE] where it is the address of a repository's page or of one of its files, which is
        what people copy; else as it is."""
        for hub in (f"{self.address}/", f"{PUBLIC_HUB}/"):
            if wanted.startswith(hub) and (found := _ADDRESS.match(wanted, len(hub))):
                return found["repository"] + (f":{unquote(found['file'])}" if found["file"] else "")
        return wanted

    def page(self, repository: str) -> str:
        return f"{self.address}/{repository}"

    def url(self, repository: str, commit: str, file: str) -> str:
        return f"{self.address}/{repository}/resolve/{quote(commit, safe='')}/{quote(file)}"

    def look_up(self, repository: str, revision: str) -> Repository:
        """Raises BadRequest (no name of a repository), ModelMissing."""
        if not _NAME.fullmatch(repository) or ".." in repository:
            raise BadRequest(f"{repository} is no name of a repository.", "Name it as on its page: owner/name.")
        url = f"{self.address}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"
        with broken_off(repository, self.page(repository)), open_url(url, self.token) as response:
            answer = response.read(_MOST + 1)
        try:
            return _repository(repository, json.loads(answer))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelMissing("The model hub's answer makes no sense.", "Check HF_ENDPOINT, or try later.") from error

    def read_start(self, repository: str, commit: str, file: str, size: int) -> bytes:
        """The first `size` bytes of a file. Raises ModelMissing."""
        url = self.url(repository, commit, file)
        with broken_off(file, self.page(repository)), open_url(url, self.token, end=size) as response:
            return _read(response, size)


@dataclass(frozen=True)
class Repository:
    """`files` are those that can be checked and whose names stay inside a folder. `licence` is "" where none is told."""

    name: str
    commit: str
    licence: str
    files: tuple[Published, ...]


def _repository(name: str, answer: dict[str, Any]) -> Repository:
    card = answer.get("cardData") or {}
    told = card.get("license_name") or card.get("license") or ""
    licence = ", ".join(map(str, told)) if isinstance(told, list) else str(told)
    if not re.fullmatch(r"[0-9a-f]{40}", answer["sha"]):
        raise ValueError("no commit")
    files = (_file(sibling) for sibling in answer["siblings"])
    return Repository(
        name,
        answer["sha"],
        printable(licence),
        tuple(file for file in files if is_safe(file.name) and _DIGEST.fullmatch(file.digest) and file.size > 0),
    )


def _file(sibling: dict[str, Any]) -> Published:
    large = sibling.get("lfs") or {}
    return Published(
        str(sibling["rfilename"]),
        int(large.get("size", sibling.get("size") or 0)),
        str(large.get("sha256") or sibling.get("blobId") or ""),
    )


def is_safe(path: str) -> bool:
    """Whether a file of this name lands inside the folder that it is put into, on every system."""
    parts = path.split("/")
    plain = all(character.isprintable() and character not in '\\:*?"<>|' for character in path)
    return plain and not PurePosixPath(path).is_absolute() and all(part.strip(". ") == part != "" for part in parts)


def _read(response: HTTPResponse, size: int) -> bytes:
    """A server that knows no ranges sends everything: the rest is left unread."""
    data = bytearray()
    while len(data) < size and (chunk := response.read(size - len(data))):
        data += chunk
    return bytes(data)
