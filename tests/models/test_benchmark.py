"""`scumble bench models` measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scumble.cli import main
from scumble.diffusion.contents import read_header
from scumble.home import Home
from scumble.models import benchmark
from scumble.models.store import ModelStore


def test_the_files_are_loras_each_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "FILES", 5)
    assert all(seconds > 0 for seconds in benchmark.measure(tmp_path))
    for name in ("first", "cold"):
        store = ModelStore(Home(tmp_path / name))
        kohya, flux = store.adapters(), store.others()
        assert len({adapter.info.id for adapter in kohya}) == 3
        assert {(adapter.info.kind, adapter.info.family) for adapter in kohya} == {("lora", "sd1")}
        assert all(len(read_header(adapter.path).tensors) == 3 * benchmark.LAYERS for adapter in kohya)
        assert [str(other.kind) for other in flux] == ["LoRA for FLUX.1"] * 2
        assert all(len(read_header(other.path).tensors) == 2 * benchmark.FLUX_LAYERS for other in flux)


def test_the_suite_tells_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "FILES", 3)
    assert main(["bench", "models", "--json", "--scratch", str(tmp_path)]) == 0
    first, cold, again = json.loads(capsys.readouterr().out)
    assert "3 LoRAs" in first["name"]
    assert first["goal"] == cold["goal"] == "<= 2"
    assert again["ratio"] > 0
    assert list(tmp_path.iterdir()) == []
