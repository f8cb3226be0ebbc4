"""The one masked denoising loop, for every mode and sampler.

Soft masks follow *Differential Diffusion: Giving Each Pixel Its Strength* (Levin and Fried, 2023): the mask of a latent
pixel is the share of the steps in which it is free; before that it is held to the original at the step's noise level. With
a binary mask this is exactly the inpainting of diffusers with a plain denoiser.

Everything is float32: only the denoiser itself runs in the model's dtype.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .conditioning import Conditioning, batch
from .samplers import Schedule

if TYPE_CHECKING:
    from .controls import Controlled
    from .families.base import Model

Predict = Callable[[Tensor, Tensor], Tensor]
"""(latents (n, c, h, w), timestep ()) -> the denoiser's raw output (n, c, h, w), guidance applied."""

OnStep = Callable[[int, int, Callable[[], Tensor]], None]
"""(steps done, steps, the estimate of the finished latents (n, c, h, w)); may raise to stop."""


@dataclass(frozen=True)
class Held:
    """What holds the latents that are not (yet) free.

    original  (1, c, h, w) latents of the picture
    noise     (n, c, h, w) standard normal: the noise that the start was made with
    mask      (1, 1, h, w) 0..1: 0 = stays the original, 1 = free from the first step on
    """

    original: Tensor
    noise: Tensor
    mask: Tensor


def denoise(
    predict: Predict,
    schedule: Schedule,
    start: Tensor,
    held: Held | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    on_step: OnStep = lambda step, steps, estimate: None,
) -> Tensor:
    """Runs the schedule from `start` (n, c, h, w), noisy as its first timestep asks. Returns the finished latents.

    `generator` gives the noise that ancestral samplers and LCM add on their way; where there are several pictures, one for
    each, so that each gets what it would get alone.
    """
    scheduler, timesteps = schedule
    steps = len(timesteps)
    # Not every scheduler takes one: UniPC draws no noise.
    randomness = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    latents = start
    for i, timestep in enumerate(timesteps):
        prediction = predict(scheduler.scale_model_input(latents, timestep), timestep)
        output = scheduler.step(prediction, timestep, latents, **randomness)
        latents = output.prev_sample
        if held is not None:
            free = held.mask > 1 - (i + 1) / steps
            latents = torch.where(free, latents, _at_level(schedule, i + 1, held))
        on_step(i + 1, steps, lambda output=output: _estimate(scheduler, output))  # type: ignore[misc]
    return latents


def scalar(value: Tensor, device: torch.device) -> Tensor:
    """A () tensor of the CPU on another device: written there, as a GPU stops for what is sent to it."""
    return torch.full((), value.item(), dtype=value.dtype, device=device)


def pure_noise(schedule: Schedule, noise: Tensor) -> Tensor:
    """The start that knows nothing of a picture, from standard normal `noise`."""
    start: Tensor = noise * schedule.scheduler.init_noise_sigma
    return start


def noised(schedule: Schedule, original: Tensor, noise: Tensor) -> Tensor:
    """The start from a picture's latents: noised to the level of the schedule's first timestep."""
    return _mixed(schedule, 0, original, noise)


def guided(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    guidance: float,
    condition: Tensor | None = None,
    control: Controlled | None = None,
    apart: bool = False,
) -> Predict:
    """The model with classifier-free guidance (Ho and Salimans, 2022) as one batch with and without the prompt; with
    guidance <= 1 a batch that never sees the negative prompt.

    positive, negative  of one prompt each, equally many tokens; the same for all pictures of the latents
    condition           (1, 5, h, w) mask and masked image for an inpaint denoiser, else None
    control             what control networks add; they see the latents alone
    apart               with and without the prompt one after the other: slower, with half of the memory
    """

    def answer(latents: Tensor, timestep: Tensor, sides: Sequence[Conditioning]) -> tuple[Tensor, ...]:
        conditioning = batch([side for side in sides for _ in latents])
        inputs = latents.to(model.dtype).repeat(len(sides), 1, 1, 1)
        prompted = [side is positive for side in sides for _ in latents]
        residuals = control(inputs, timestep, conditioning, prompted) if control else None
        if condition is not None:
            inputs = torch.cat([inputs, condition.to(model.dtype).expand(len(inputs), -1, -1, -1)], dim=1)
        output = model.predict(inputs, scalar(timestep, model.device), conditioning, residuals).float()
        return output.chunk(len(sides))

    def predict(latents: Tensor, timestep: Tensor) -> Tensor:
        if guidance <= 1:
            return answer(latents, timestep, [positive])[0]
        if apart:
            (without,), (with_prompt,) = (answer(latents, timestep, [side]) for side in (negative, positive))
        else:
            without, with_prompt = answer(latents, timestep, [negative, positive])
        return without + guidance * (with_prompt - without)

    return predict


def _at_level(schedule: Schedule, i: int, held: Held) -> Tensor:
    """The original as noisy as the latents are before step i; clean after the last."""
    if i == len(schedule.timesteps):
        return held.original
    return _mixed(schedule, i, held.original, held.noise)


def _mixed(schedule: Schedule, i: int, original: Tensor, noise: Tensor) -> Tensor:
    """The original at the noise level of step i: a sum of the two. The scheduler is asked for its factors, on the CPU:
    given tensors of a GPU it sends its tables there, which the GPU stops for, and may leave them there."""
    one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    # Schedulers with sigmas go by their own count of steps here, those with alphas by the timestep: both mean step i.
    timestep = schedule.timesteps[i : i + 1]
    kept = schedule.scheduler.add_noise(one, zero, timestep)
    added = schedule.scheduler.add_noise(zero, one, timestep)
    mixed: Tensor = kept.item() * original + added.item() * noise
    return mixed


def _estimate(scheduler: Any, output: Any) -> Tensor:
    """The finished latents as this step's prediction sees them."""
    # Only the multistep solvers do not return it; they keep it for their next step.
    estimate: Tensor = output.get("pred_original_sample", output.get("denoised"))
    return scheduler.model_outputs[-1] if estimate is None else estimate
