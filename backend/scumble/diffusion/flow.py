"""Flow matching (Lipman et al., 2023): a straight way from noise to picture, walked by Euler's method, in the terms of the
denoising loop. At level s (1 = noise, 0 = picture) latents are (1 - s) picture + s noise, and s * 1000 is the timestep.
Imports torch."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteSchedulerOutput
from torch import Tensor


class FlowEuler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """That of diffusers, with what its schedulers of noise have and the loop asks for."""

    init_noise_sigma = 1.0

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        return sample

    def add_noise(self, original: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The original at the level of each of the (n,) timesteps."""
        level = (timesteps.to(original) / self.config.num_train_timesteps).reshape(-1, 1, 1, 1)
        noisy: Tensor = (1 - level) * original + level * noise
        return noisy

    def step(self, model_output: Tensor, timestep: Tensor, sample: Tensor, **options: Any) -> Any:
        before = super().step(model_output, timestep, sample, return_dict=False, **options)[0]
        estimate = sample - timestep / self.config.num_train_timesteps * model_output
        return EulerDiscreteSchedulerOutput(prev_sample=before, pred_original_sample=estimate)
