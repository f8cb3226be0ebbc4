"""Windows of a large picture meet without a seam, also where the model sees something else in each."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scumble.diffusion import picture as module
from scumble.diffusion.engine import DiffusionEngine
from torch import Tensor

from tests.editing.pictures import photo, plan_of

from .test_engine import Log, count_calls
from .test_two_pass import make


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    made = make(tmp_path_factory.mktemp("model"), inpaint=False)
    made.model.identity = replace(made.model.identity, native=256)  # windows of many latent pixels
    return made


def steps_at_borders_and_elsewhere(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Mean difference of neighbouring columns of the finished latents: where windows end, and everywhere else. The model
    would have every other window brighter."""
    plan = plan_of(
        photo(600, 100), None, traits=engine.traits, mode="upscale", factor=2, strength=0.4, steps=10, seed=3,
        sampler="euler", guidance=1.0,
    )  # fmt: skip
    assert len(plan.tiles) > 3
    turn = itertools.cycle([0.6 if index % 2 else -0.6 for index in range(len(plan.tiles))])

    def disagrees(latents: Tensor, *arguments: Any) -> Tensor:
        return latents * 0.2 + next(turn)

    monkeypatch.setattr(engine.model, "predict", disagrees)
    decoded = count_calls(engine, "decode_latents", monkeypatch)
    engine.generate(plan, Log())
    latents = decoded[-1][0][0]
    # What the picture itself does there is not of interest.
    profile = (latents - engine.encode(plan.work_image)[0]).mean((0, 1)).numpy()
    differences = np.abs(np.diff(profile))
    borders = {edge // 8 for tile in plan.tiles for edge in (tile.left, tile.right)} - {0, plan.size.width // 8}
    at_borders = np.array([column + 1 in borders for column in range(len(differences))])
    return float(differences[at_borders].mean()), float(differences[~at_borders].mean())


def test_no_step_where_two_windows_meet(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    there, elsewhere = steps_at_borders_and_elsewhere(engine, monkeypatch)
    assert there < 1.3 * elsewhere


def test_without_fading_there_would_be_one(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    right = module.faded
    monkeypatch.setattr(module, "faded", lambda window, size, fade: torch.ones_like(right(window, size, fade)))
    there, elsewhere = steps_at_borders_and_elsewhere(engine, monkeypatch)
    assert there > 3 * elsewhere
