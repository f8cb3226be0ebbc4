"""Trains the autoencoder of the nano models: ours alone, and with latents that are easy to denoise.

Its first three latent channels are held near the picture at an eighth of its size, so that colours and places lie open in
them; the fourth, and what the three may deviate, carry the detail.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from . import parts, world
from .drawing import drawn
from .fitting import fit

BATCH = {"cpu": 16, "cuda": 192}
RATE = 2e-3
PICTURES = 12_000
TEXTURES = 0.33
"""Share of the pictures that are nothing else: photographs are to survive, too."""
OPEN = 0.1
"""Weight of the loss that holds the first channels near the small picture."""
KL = 2e-4
SPREAD = (1.15, 1.15, 1.15, 0.8)
"""Standard deviations of the finished latents: colours and places are to be louder than detail."""
CROP = 64
"""px; a convolution learns as much from a quarter of a picture in a quarter of the time."""


def train(target: Path, minutes: float, device: torch.device, seed: int = 0) -> None:
    """Writes a folder of diffusers."""
    torch.manual_seed(seed)
    pictures = draw(seed).to(device)

    def loss(model: torch.nn.Module) -> tuple[Tensor, Tensor]:
        return _loss(model, crops(pictures, BATCH[device.type]))

    model = fit(parts.autoencoder().to(device, memory_format=torch.channels_last), loss, minutes, RATE)
    standardise(model, crops(pictures, 256))
    model.register_to_config(scaling_factor=1.0)
    model.save_pretrained(target)


def draw(seed: int) -> Tensor:
    """(n, 128, 128, 3) uint8: scenes and textures."""
    rng = random.Random(seed)
    scenes = [
        world.Scene(world.TEXTURE, (), rng.getrandbits(31)) if rng.random() < TEXTURES else world.sample_scene(rng)
        for _ in range(PICTURES)
    ]
    return torch.cat([torch.from_numpy(piece) for _, piece in drawn(scenes)])


def crops(pictures: Tensor, count: int) -> Tensor:
    """(n, 3, CROP, CROP) in -1..1 of any of the pictures, one in eight with fine noise."""
    device = pictures.device
    picked = torch.randint(0, len(pictures), (count, 1, 1), device=device)
    rows, columns = (
        torch.randint(0, world.SIZE - CROP + 1, (count, 1), device=device) + torch.arange(CROP, device=device)
        for _ in range(2)
    )
    images = pictures[picked, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float().div(127.5).sub(1)
    noise = torch.rand(count, 1, 1, 1, device=device).sub(0.875).clamp(min=0) * 2.4
    return (images + torch.randn_like(images) * noise).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def _loss(model: torch.nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast(images.device.type, torch.bfloat16):
        posterior = model.encode(images).latent_dist
        decoded = model.decode(posterior.sample()).sample
    decoded, mean = decoded.float(), posterior.mean.float()
    error = F.mse_loss(decoded, images)
    edges = sum(F.l1_loss(decoded.diff(dim=side), images.diff(dim=side)) for side in (2, 3))
    small = F.mse_loss(mean[:, :3], F.avg_pool2d(images, 8))
    loss = error + 0.3 * F.l1_loss(decoded, images) + 0.3 * edges + OPEN * small + KL * posterior.kl().mean() / 1024
    return loss, error


@torch.no_grad()
def standardise(model: AutoencoderKL, images: Tensor) -> None:
    """Gives the latents of these pictures mean 0 and SPREAD, each channel for itself, by scaling the two convolutions
    around them: no number of a decoded picture changes, but a denoiser now hears every channel."""
    latents = model.encode(images).latent_dist.mean
    middle = latents.mean((0, 2, 3))
    factor = torch.tensor(SPREAD, device=latents.device) / latents.std((0, 2, 3))
    channels = len(SPREAD)
    into, out = model.quant_conv, model.post_quant_conv
    out.bias += (out.weight[:, :, 0, 0] * middle).sum(1)
    out.weight /= factor[:, None, None]
    into.bias[:channels] = (into.bias[:channels] - middle) * factor
    into.bias[channels:] += 2 * factor.log()  # of the variance
    into.weight[:channels] *= factor[:, None, None, None]
