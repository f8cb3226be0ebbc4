"""Where Scumble keeps its own data. Standard library only: the installer and the plug-ins read this too."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping


@dataclass(frozen=True)
class Home:
    """The folder of all of Scumble's own data, and what lies where in it.

    token         256-bit token in hex, mode 0600; whoever reads it may talk to the backend
    record        JSON of the running backend: pid, host, port, version
    installation  JSON of the installer: which Python starts the backend
    models        models that Scumble fetched, and fill/ with the fill model
    embeddings    textual inversions: words that prompts may use, by the names of the files
    wildcards     NAME.txt, one option a line, for __NAME__ in prompts
    cache         converted copies of models; may be deleted at any time
    jobs          the durable queue and the history
    settings      JSON of what the user chose
    logs          backend.log and its predecessors; no prompts, no tokens
    """

    root: Path

    @property
    def token(self) -> Path:
        return self.root / "token"

    @property
    def record(self) -> Path:
        return self.root / "backend.json"

    @property
    def installation(self) -> Path:
        return self.root / "installation.json"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def embeddings(self) -> Path:
        return self.models / "embeddings"

    @property
    def wildcards(self) -> Path:
        return self.root / "wildcards"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def settings(self) -> Path:
        return self.root / "settings.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"


def find_home(environ: Mapping[str, str] = os.environ) -> Home:
    """`SCUMBLE_HOME` where it is set, else the platform's folder for a user's application data."""
    named = environ.get("SCUMBLE_HOME")
    if named:
        return Home(Path(named).expanduser().absolute())
    user = Path.home()
    if sys.platform == "win32":
        return Home(Path(environ.get("LOCALAPPDATA") or user / "AppData" / "Local") / "Scumble")
    if sys.platform == "darwin":
        return Home(user / "Library" / "Application Support" / "Scumble")
    # A Flatpak has a folder for data of its own; the backend runs outside of it.
    data = environ.get("HOST_XDG_DATA_HOME" if "FLATPAK_ID" in environ else "XDG_DATA_HOME")
    return Home(Path(data or user / ".local" / "share") / "scumble")
