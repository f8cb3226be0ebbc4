from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch
from scumble.diffusion.samplers import SAMPLERS, divided, make_schedule, make_scheduler
from scumble.protocol.errors import BadRequest

from .tiny import SCHEDULER


def test_names_are_known_without_torch():
    code = "import sys; from scumble.diffusion.samplers import SAMPLERS; print('torch' in sys.modules, *SAMPLERS)"
    words = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert words == ["False", "dpmpp_2m_karras", "euler", "euler_a", "ddim", "unipc", "lcm"]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_betas_and_prediction_type_come_from_the_model(name: str, prediction: str):
    scheduler = make_scheduler(name, {**SCHEDULER, "prediction_type": prediction, "beta_end": 0.02})
    assert scheduler.config.prediction_type == prediction
    assert float(scheduler.betas[-1]) == pytest.approx(0.02)


@pytest.mark.parametrize("name", SAMPLERS)
def test_estimates_are_not_clipped(name: str):
    # Latents are not confined to -1..1; a configuration that is silent must not bring DDIM's clipping in.
    silent = {key: value for key, value in SCHEDULER.items() if key != "clip_sample"}
    assert not make_scheduler(name, silent).config.get("clip_sample", False)


def test_an_unknown_sampler_is_a_bad_request():
    with pytest.raises(BadRequest) as error:
        make_scheduler("plms", SCHEDULER)
    assert "euler_a" in error.value.hint


@pytest.mark.parametrize(
    ("steps", "strength", "last"),
    [
        *[(20, 1.0, (20, 20)), (20, 0.5, (10, 20)), (20, 0.99, (19, 20)), (10, 0.05, (1, 10)), (10, 0.0, (1, 100))],
        *[(1, 1.0, (1, 1)), (1, 0.3, (1, 3)), (4, 0.5, (2, 4)), (4, 0.6, (3, 5)), (4, 0.1, (1, 10)), (4, 0.9, (5, 6))],
    ],
)
def test_strength_selects_the_last_steps(steps: int, strength: float, last: tuple[int, int]):
    assert divided(steps, strength) == last


@pytest.mark.parametrize("steps", range(1, 21))
def test_few_steps_follow_the_strength_too(steps: int):
    """Distilled models paint in one to eight: their strength must not come in as many grades."""
    strengths = [percent / 100 for percent in range(1, 101)]
    shares = [run / whole for run, whole in (divided(steps, strength) for strength in strengths)]
    missed = max(abs(share - strength) for share, strength in zip(shares, strengths, strict=True))
    assert missed <= (0.06 if steps > 6 else 0.121)
    assert all(later >= share - 0.09 for share, later in itertools.pairwise(shares))
    assert max(run for run, _ in (divided(steps, strength) for strength in strengths)) <= steps + 2


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_few_step_schedule_begins_where_the_strength_says(name: str):
    config = {**SCHEDULER, "timestep_spacing": "trailing"}
    begins = [float(make_schedule(name, config, 4, strength).timesteps[0]) for strength in (0.1, 0.25, 0.6, 0.75, 1.0)]
    assert begins == sorted(begins)
    assert len(set(begins)) >= 4  # Karras' last step is the same in all schedules


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 20, 50, 51, 60, 200])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_is_run_once_from_noisy_to_clean(name: str, steps: int):
    timesteps = make_schedule(name, SCHEDULER, steps).timesteps
    assert len(timesteps) == steps
    assert bool((timesteps.diff() <= 0).all())
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    executed, whole = divided(steps, 0.4)
    finer = timesteps if whole == steps else make_schedule(name, SCHEDULER, whole).timesteps
    assert torch.equal(make_schedule(name, SCHEDULER, steps, 0.4).timesteps, finer[-executed:])
