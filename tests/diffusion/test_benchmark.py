"""The benchmark measures what it says: both sides do the same edit, and what is not run is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from scumble.diffusion import benchmark
from scumble.protocol.geometry import Size

from .tiny import make_sd1_folder


@pytest.mark.slow
def test_both_sides_are_measured(tmp_path: Path) -> None:
    model, home, size = make_sd1_folder(tmp_path / "model"), tmp_path / "home", Size(256, 256)
    plain = benchmark.plain(model, size, steps=4)
    assert plain["seconds"] > benchmark.STEPS * plain["step"] * 0.8
    assert plain["peak"] > 50e6
    ours = benchmark.scumble(model, home, size)
    assert 0 < ours["components"] < ours["seconds"]
    assert min(ours["crop"][:2]) >= 256, "the selection is in the crop"
    load = benchmark.load(model, home)
    assert load["from_pretrained"] > 0
    assert load["seconds"] > 0
