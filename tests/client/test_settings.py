from __future__ import annotations

import os
import stat
import sys
import threading
import time
from typing import Any

import pytest
from scumble.client import settings
from scumble.client.settings import read_settings, update_settings, write_settings
from scumble.home import Home


def test_what_was_written_is_read(home: Home) -> None:
    assert read_settings(home) == {}
    write_settings(home, {"prompt": "caf\u00e9", "count": 2})
    assert update_settings(home, count=3, seed=None) == {"prompt": "caf\u00e9", "count": 3, "seed": None}
    assert read_settings(home) == {"prompt": "caf\u00e9", "count": 3, "seed": None}
    assert sorted(os.listdir(home.root)) == ["settings.json", "settings.lock"]


def test_a_power_cut_leaves_the_old_values_or_the_new_ones(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    events, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (events.append("on the disk"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("in place"), replace(*names)))
    write_settings(home, {"a": 1})
    assert events == ["on the disk", "in place"]


def test_two_programs_that_store_at_once_both_have_stored(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(home: Home) -> dict[str, Any]:
        values = read_settings(home)
        time.sleep(0.05)
        return values

    monkeypatch.setattr(settings, "read_settings", slowly)
    programs = [threading.Thread(target=update_settings, args=(home,), kwargs={name: 1}) for name in "abc"]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    assert read_settings(home) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b""])
def test_a_damaged_file_is_kept_aside(home: Home, content: bytes) -> None:
    home.settings.write_bytes(content)
    assert read_settings(home) == {}
    assert (home.root / "settings.json.damaged").read_bytes() == content
    write_settings(home, {"a": 1})
    assert read_settings(home) == {"a": 1}


def test_what_cannot_be_stored_leaves_the_old_values(home: Home) -> None:
    write_settings(home, {"a": 1})
    with pytest.raises(TypeError):
        write_settings(home, {"a": object()})
    with pytest.raises(UnicodeEncodeError):
        write_settings(home, {"a": "\ud800"})
    assert read_settings(home) == {"a": 1}
    assert os.listdir(home.root) == ["settings.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows protects the user's folder instead")
def test_only_the_owner_may_read(home: Home) -> None:
    write_settings(home, {})
    assert stat.S_IMODE(home.settings.stat().st_mode) == 0o600
