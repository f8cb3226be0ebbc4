"""The real network on synthetic pictures."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from scumble.editing.compositor import composite
from scumble.editing.plan import Cancelled
from scumble.fill.migan import FillEngine
from scumble.protocol.errors import ModelUnreadable

from tests.editing.pictures import disc, merged, opaque, photo, plan_of


@pytest.fixture(scope="module")
def engine(fill_model):
    return FillEngine(fill_model, threads=1)


def sky(width, height):
    """(h, w, 3) a dusk over a dark field, with grain: what a network that saw photographs can go on with."""
    y = np.linspace(0, 1, height)[:, None, None]
    colours = np.where(y < 0.7, [90, 120, 180] + y * [90, 40, -60], [60, 62, 40] + 0 * y)
    grain = np.random.default_rng(0).normal(0, 2, (height, width, 3))
    return np.clip(colours + grain, 0, 255).astype(np.uint8)


def silent(stage, step=0, steps=0, preview=None):
    """A report that nobody reads."""


def fill(engine, picture, mask, at, **fields):
    plan = plan_of(picture, mask, at, engine.traits, **fields)
    (layer,) = composite(plan, engine.generate(plan, silent))
    return layer


def test_a_hole_is_filled_as_its_surroundings_go_on(engine):
    truth = sky(640, 600)
    picture = truth.copy()
    mask, at = disc(120), (260, 240)
    inside = np.zeros(truth.shape[:2], bool)
    inside[240:360, 260:380] = mask > 0
    picture[inside] = (255, 0, 255)
    layer = fill(engine, picture, mask, at)
    result = merged(picture, layer.bounds, layer.rgba)
    np.testing.assert_array_equal(result[~inside], truth[~inside])
    assert np.abs(result.astype(int) - truth)[inside].mean() < 12


@pytest.mark.slow
def test_a_wide_outpaint_in_several_tiles_goes_on_without_a_seam(engine):
    truth = sky(740, 320)
    picture = opaque(truth)[:, :380]
    plan = plan_of(picture, np.full((320, 360), 255, np.uint8), (380, 0), engine.traits, mode="outpaint")
    assert len(plan.tiles) > 1
    steps = []
    (image,) = engine.generate(plan, lambda *now, **_: steps.append(now))
    assert steps == [("denoising", step, len(plan.tiles)) for step in range(len(plan.tiles) + 1)]
    (layer,) = composite(plan, [image])
    assert (layer.rgba[..., 3] == 255).all()
    page = np.concatenate([picture[..., :3], layer.rgba[..., :3]], axis=1).astype(int)
    columns = np.abs(np.diff(page, axis=1)).mean(axis=(0, 2))
    join = columns[375:385].max()
    assert join < 3 * np.median(columns[:370]) + 2


@pytest.mark.slow
def test_the_same_plan_gives_the_same_bytes_and_as_many_as_asked_for(engine):
    plan = plan_of(photo(300, 200), disc(60), (100, 60), engine.traits, count=2)
    first, second = engine.generate(plan, silent)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, engine.generate(plan, silent)[0])
    assert first.shape == (plan.size.height, plan.size.width, 3)


@pytest.mark.parametrize(
    ("width", "height"),
    [(2, 90), pytest.param(1, 1, marks=pytest.mark.slow), pytest.param(300, 3, marks=pytest.mark.slow)],
)
def test_the_smallest_pictures_and_full_selections(engine, width, height):
    layer = fill(engine, photo(width, height), np.full((height, width), 255, np.uint8), (0, 0))
    assert layer.rgba.shape == (height, width, 4)


def test_a_cancel_stops_before_the_next_tile(engine):
    plan = plan_of(
        opaque(photo(300, 700)), np.full((700, 300), 255, np.uint8), (300, 0), engine.traits, mode="outpaint"
    )
    assert len(plan.tiles) > 2
    calls = itertools.count(1)

    def cancel_second(stage, step=0, steps=0, preview=None):
        if next(calls) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        engine.generate(plan, cancel_second)
    assert next(calls) == 3


def test_a_damaged_or_missing_file_is_named(fill_model, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(fill_model.read_bytes()[:100_000])
    for path in (damaged, tmp_path / "missing.onnx"):
        with pytest.raises(ModelUnreadable) as caught:
            FillEngine(path, threads=1)
        assert str(tmp_path) not in caught.value.message


def test_the_network_reports_to_nobody(fill_model, tmp_path):
    """onnxruntime would number this machine, in the user's home, and send what it was used for to its makers."""
    code = (
        "import sys, psutil; from pathlib import Path; from scumble.fill.migan import FillEngine;"
        "FillEngine(Path(sys.argv[1]), threads=1); print(psutil.Process().net_connections())"
    )
    # It keeps quiet by itself where these say that it is being tested.
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code, fill_model],
        env={**kept, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.rglob("*")) == []
