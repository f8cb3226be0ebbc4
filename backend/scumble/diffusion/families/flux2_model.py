"""A loaded FLUX.2 klein model. Imports torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor

from ..conditioning import Conditioning, Residuals
from .flow_model import FlowModel

_LAYERS = (9, 18, 27)
"""Of the language model, side by side."""
_PATCH = 2


class Flux2Model(FlowModel):
    """Its latents are patches of 2 x 2 of the autoencoder's, scaled to a normal distribution channel by channel."""

    transformer, autoencoder = "Flux2Transformer2DModel", "AutoencoderKLFlux2"
    loras = Flux2KleinPipeline
    patch = _PATCH
    answer = "<think>\n\n</think>\n\n"

    def time_shift(self, height: int, width: int, steps: int) -> float:
        return float(compute_empirical_mu(height * width, steps))

    def _conditioning(self, states: tuple[Tensor, ...], said: Tensor) -> Conditioning:
        return Conditioning(torch.cat([states[layer] for layer in _LAYERS], dim=2).to(self.dtype))

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self._encoded(image)
        mean, deviation = self._distribution(encoded.mean)
        return (F.pixel_unshuffle(encoded.mean, _PATCH) - mean) / deviation, (
            F.pixel_unshuffle(encoded.std, _PATCH) / deviation
        )

    @torch.no_grad()
    def predict(
        self, latents: Tensor, timestep: Tensor, conditioning: Conditioning, residuals: Residuals | None = None
    ) -> Tensor:
        count, channels, height, width = latents.shape
        words = conditioning.tokens.shape[1]
        self.residents.bring(self._transformer, self.denoising(latents.shape))
        output: Tensor = self._transformer(
            hidden_states=latents.flatten(2).transpose(1, 2),
            timestep=timestep.to(latents.dtype).expand(count) / 1000,
            guidance=None,
            encoder_hidden_states=conditioning.tokens,
            txt_ids=_places(1, 1, words, count, self.device),
            img_ids=_places(height, width, 1, count, self.device),
            return_dict=False,
        )[0]
        return output.transpose(1, 2).reshape(count, channels, height, width)

    def _unscaled(self, latents: Tensor) -> Tensor:
        mean, deviation = self._distribution(latents)
        return F.pixel_shuffle(latents * deviation + mean, _PATCH)

    def _distribution(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel of the patches, as the autoencoder's training has counted them."""
        norm = self._vae.bn
        deviation = (norm.running_var + self._vae.config.batch_norm_eps).sqrt()
        return norm.running_mean.reshape(1, -1, 1, 1).to(like), deviation.reshape(1, -1, 1, 1).to(like)


def _places(height: int, width: int, length: int, count: int, device: torch.device) -> Tensor:
    """(count, height * width * length, 4): picture, row, column and place in the text of each token."""
    grid = torch.cartesian_prod(*(torch.arange(side, device=device) for side in (1, height, width, length)))
    return grid[None].expand(count, -1, -1)
