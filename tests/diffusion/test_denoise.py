"""The loop alone, with a denoiser whose every answer is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scumble.diffusion.conditioning import Conditioning
from scumble.diffusion.denoise import Held, denoise, guided, noised, pure_noise
from scumble.diffusion.samplers import SAMPLERS, make_schedule
from torch import Tensor

from .tiny import SCHEDULER

STEPS = 8
SHAPE = (1, 4, 8, 8)


def randn(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def predict(latents: Tensor, timestep: Tensor) -> Tensor:
    """A smooth function of latents and time; no model, but no constant either."""
    return torch.tanh(latents + latents.roll(1, -1) / 2) * (timestep / 1000 + 0.5)


def run(sampler: str, mask: Tensor | None, seed: int = 1, strength: float = 1.0, **arguments: Any) -> Tensor:
    schedule = make_schedule(sampler, SCHEDULER, STEPS, strength)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(SHAPE, generator=generator)
    held = None if mask is None else Held(randn(0), noise, mask)
    return denoise(predict, schedule, noised(schedule, randn(0), noise), held, generator, **arguments)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_same_numbers(sampler: str):
    mask = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)
    first = run(sampler, mask)
    torch.rand(3)  # whatever else draws from torch's own generator
    assert torch.equal(first, run(sampler, mask))
    assert not torch.equal(first, run(sampler, mask, seed=2))


@pytest.mark.parametrize("strength", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_where_the_mask_is_0_the_original_stays_and_elsewhere_it_changes(sampler: str, strength: float):
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 3:7] = 1
    mask[..., 7, 7] = 1 / 255
    result = run(sampler, mask, strength=strength)
    changed = (result != randn(0)).all(1, keepdim=True)
    assert torch.equal(changed, mask > 0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_mask_of_ones_is_no_mask(sampler: str):
    assert torch.equal(run(sampler, torch.ones(1, 1, 8, 8)), run(sampler, None))


def test_a_late_start_in_a_fine_schedule_runs_to_its_end():
    # Karras' last steps lie so close that some share a timestep: a schedule that looked its place up by it would be lost.
    schedule = make_schedule("dpmpp_2m_karras", SCHEDULER, 50, 0.06)
    assert schedule.timesteps[0] == schedule.timesteps[1]
    places: list[int] = []
    denoise(
        predict,
        schedule,
        noised(schedule, randn(0), randn(1)),
        on_step=lambda step, steps, estimate: places.append(schedule.scheduler.step_index),
    )
    assert places == [48, 49, 50]


def test_the_mask_is_the_share_of_steps_in_which_a_pixel_is_free():
    mask = torch.arange(STEPS + 1).float().div(STEPS).reshape(1, 1, 1, -1)
    original = torch.full((1, 1, 1, STEPS + 1), 7.0)
    noise = torch.zeros_like(original)
    schedule = make_schedule("ddim", SCHEDULER, STEPS)
    seen: list[Tensor] = []

    def never_the_original(latents: Tensor, timestep: Tensor) -> Tensor:
        seen.append(latents)
        return torch.ones_like(latents)

    final = denoise(never_the_original, schedule, torch.zeros_like(original), Held(original, noise, mask))
    levels = [schedule.scheduler.add_noise(original, noise, timestep) for timestep in schedule.timesteps[1:, None]]
    held = [
        (latents == level)[0, 0, 0].tolist()
        for latents, level in zip([*seen[1:], final], [*levels, original], strict=True)
    ]
    # After step i of n the pixels with a mask of more than 1 - (i + 1) / n are free.
    assert held == [[k <= STEPS - 1 - i for k in range(STEPS + 1)] for i in range(STEPS)]


@pytest.mark.parametrize("sampler", ["dpmpp_2m_karras", "euler", "ddim"])
def test_a_stronger_mask_goes_further_from_the_original(sampler: str):
    distances = [
        (run(sampler, torch.full((1, 1, 8, 8), value)) - randn(0)).norm().item() for value in (0.0, 0.2, 0.5, 0.8, 1.0)
    ]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert len(set(distances)) == 5


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_reports_each_step_with_an_estimate_that_ends_at_the_result(sampler: str):
    steps, estimates = [], []

    def on_step(step: int, total: int, estimate: Any) -> None:
        steps.append((step, total))
        estimates.append(estimate())

    result = run(sampler, None, on_step=on_step)
    assert steps == [(i + 1, STEPS) for i in range(STEPS)]
    assert all(estimate.shape == SHAPE for estimate in estimates)
    assert (estimates[-1] - result).abs().max() < 0.2 * result.std()
    assert (estimates[-1] - result).norm() < (estimates[0] - result).norm()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_shown_of_each_step_is_the_picture_without_its_noise(sampler: str):
    schedule, picture, shown = make_schedule(sampler, SCHEDULER, STEPS), randn(0), []

    def knows(latents: Tensor, timestep: Tensor) -> Tensor:
        kept = schedule.scheduler.alphas_cumprod[timestep.round().int()]
        return (latents - kept.sqrt() * picture) / (1 - kept).sqrt()

    denoise(knows, schedule, pure_noise(schedule, randn(1)), on_step=lambda *said: shown.append(said[2]()))
    assert max((each - picture).abs().max() for each in shown) < 0.2


@pytest.mark.parametrize("stop", [1, 3])
def test_a_stop_ends_within_the_step(stop: int):
    calls = []

    def counted(latents: Tensor, timestep: Tensor) -> Tensor:
        calls.append(1)
        return predict(latents, timestep)

    def on_step(step: int, total: int, estimate: Any) -> None:
        if step == stop:
            raise KeyboardInterrupt

    schedule = make_schedule("euler", SCHEDULER, STEPS)
    with pytest.raises(KeyboardInterrupt):
        denoise(counted, schedule, pure_noise(schedule, randn(1)), on_step=on_step)
    assert len(calls) == stop


def words(value: float) -> Conditioning:
    return Conditioning(torch.full((1, 7, 2), value))


class Recorder:
    """A model that answers the mean of its conditioning, and remembers what it was given."""

    device = torch.device("cpu")
    dtype = torch.bfloat16

    def __init__(self) -> None:
        self.calls: list[SimpleNamespace] = []

    def predict(self, latents: Tensor, timestep: Tensor, conditioning: Conditioning, residuals: None) -> Tensor:
        self.calls.append(SimpleNamespace(latents=latents, conditioning=conditioning))
        return conditioning.tokens.mean((1, 2)).reshape(-1, 1, 1, 1).expand(-1, 4, 8, 8).to(self.dtype)


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_without_guidance_one_call_that_never_sees_the_negative_prompt(guidance: float):
    model: Any = Recorder()
    answer = guided(model, words(2.0), words(5.0), guidance)(randn(1), torch.tensor(9))
    assert torch.equal(answer, torch.full(SHAPE, 2.0))
    (call,) = model.calls
    assert call.latents.shape == SHAPE
    assert call.latents.dtype == torch.bfloat16


def test_guidance_leads_away_from_the_negative_prompt_in_one_batch():
    model: Any = Recorder()
    condition = torch.full((1, 5, 8, 8), 3.0)
    predict = guided(model, words(2.0), words(5.0), 4.0, condition)
    answer = predict(randn(1), torch.tensor(9))
    assert torch.equal(answer, torch.full(SHAPE, 5.0 + 4.0 * (2.0 - 5.0)))
    assert answer.dtype == torch.float32
    (call,) = model.calls
    assert call.latents.shape == (2, 9, 8, 8)
    assert torch.equal(call.latents[:, 4:].float(), condition.expand(2, -1, -1, -1))
