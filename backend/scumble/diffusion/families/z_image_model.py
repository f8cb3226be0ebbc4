"""A loaded Z-Image model. Imports torch."""

from __future__ import annotations

import torch
from diffusers import ZImagePipeline
from diffusers.pipelines.z_image.pipeline_z_image import calculate_shift
from torch import Tensor

from ..conditioning import Conditioning, Residuals
from .flow_model import FlowModel


class ZImageModel(FlowModel):
    """It counts time from noise to picture and predicts the way back, both the other way round than the loop."""

    transformer, autoencoder = "ZImageTransformer2DModel", "AutoencoderKL"
    loras = ZImagePipeline

    def time_shift(self, height: int, width: int, steps: int) -> float:
        defaults = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
        bounds = {**defaults, **self.scheduler_config}
        return float(calculate_shift((height // 2) * (width // 2), *(bounds[name] for name in defaults)))

    def _conditioning(self, states: tuple[Tensor, ...], said: Tensor) -> Conditioning:
        return Conditioning(states[-2].to(self.dtype), said=said)

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        config = self._vae.config
        encoded = self._encoded(image)
        return (encoded.mean - config.shift_factor) * config.scaling_factor, encoded.std * config.scaling_factor

    @torch.no_grad()
    def predict(
        self, latents: Tensor, timestep: Tensor, conditioning: Conditioning, residuals: Residuals | None = None
    ) -> Tensor:
        said = conditioning.said
        words = (
            list(conditioning.tokens)
            if said is None
            else [tokens[there] for tokens, there in zip(conditioning.tokens, said, strict=True)]
        )
        time = ((1000 - timestep) / 1000).expand(len(latents))
        self.residents.bring(self._transformer, self.denoising(latents.shape))
        outputs = self._transformer(list(latents[:, :, None]), time, words, return_dict=False)[0]
        output: Tensor = -torch.stack(outputs).squeeze(2)
        return output

    def _unscaled(self, latents: Tensor) -> Tensor:
        unscaled: Tensor = latents / self._vae.config.scaling_factor + self._vae.config.shift_factor
        return unscaled
