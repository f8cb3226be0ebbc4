"""Trains a small ControlNet beside nano-sd, whose weights stay as they are: the picture follows the edges of shapes."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import ControlNetModel
from torch import Tensor

from .data import Data
from .fitting import fit
from .train_denoiser import Nano, Noiser, Reader, use_quick_attention

BATCH = {"cpu": 32, "cuda": 256}
RATE = 1e-3
HINT = (8, 16, 32, 48)
"""Widths of the convolutions that bring a control picture to the size of the latents."""
SILENT = 0.5
"""Share of the captions that are left out, so that nobody but the edges says what is where."""


def train(model: Nano, data: Data, target: Path, minutes: float, seed: int = 0) -> None:
    """Writes a folder of diffusers. `data` has edges."""
    torch.manual_seed(seed)
    device = data.latents.device
    reader, noiser = Reader(device), Noiser(device)
    model.requires_grad_(False).eval()
    control = ControlNetModel.from_unet(model.unet, conditioning_channels=3)
    control.controlnet_cond_embedding = type(control.controlnet_cond_embedding)(
        conditioning_embedding_channels=control.config.block_out_channels[0], block_out_channels=HINT
    )
    control.register_to_config(conditioning_embedding_out_channels=HINT)
    control.to(device).requires_grad_(True)
    use_quick_attention(device, control, model.text)

    def loss(control: torch.nn.Module) -> tuple[Tensor, Tensor]:
        sample = noiser.draw(data, BATCH[device.type])
        states, _ = reader.read(model.text, reader.some(data, sample.picked, empty=SILENT))
        hints = data.edges[sample.picked].float().div(255).expand(-1, 3, -1, -1)
        with torch.autocast(device.type, torch.bfloat16):
            down, middle = control(sample.noisy, sample.timesteps, states, hints, return_dict=False)
            output = model.unet(
                sample.noisy,
                sample.timesteps,
                states,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        error = F.mse_loss(output.float(), sample.velocity)
        return error, error

    fit(control, loss, minutes, RATE).half().cpu().save_pretrained(target)
