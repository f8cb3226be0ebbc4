"""Trains the autoencoder of the nano models: ours alone, and with latents that are easy to denoise.

Its first three latent channels are held near the picture at an eighth of its size, so that colours and places lie open in
them; the fourth, and what the three may deviate, carry the detail.
"""

from __future__ import annotations

import copy
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from . import parts, world

BATCH = 16
RATE = 2e-3
OPEN = 0.1
"""Weight of the loss that holds the first channels near the small picture."""
KL = 2e-4
SPREAD = (1.15, 1.15, 1.15, 0.8)
"""Standard deviations of the finished latents: colours and places are to be louder than detail."""
CROP = 64
"""px; a convolution learns as much from a quarter of a picture in a quarter of the time."""


def train(target: Path, minutes: float, seed: int = 0) -> None:
    """Writes a folder of diffusers, its scaling factor measured."""
    torch.manual_seed(seed)
    model = parts.autoencoder().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=1e-3)
    rng, start, losses, step = random.Random(seed), time.monotonic(), [], 0
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    with ThreadPoolExecutor(1) as drawing:
        upcoming = drawing.submit(draw, rng)
        while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
            images = upcoming.result()
            upcoming = drawing.submit(draw, rng)
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / 50) * (1.02 - progress)
            loss, error = _loss(model, images)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            losses.append(error)
            step += 1
            if step % 50 == 0:
                seconds = time.monotonic() - start
                print(f"autoencoder {step}: error {sum(losses[-50:]) / 50:.4f}, {seconds:.0f} s", flush=True)
            if step % 250 == 0:
                _save(average.module, target, rng)
    _save(average.module, target, rng)


def draw(rng: random.Random) -> Tensor:
    """A batch of scenes, a third of them textures, some with fine noise: photographs are to survive, too."""
    scenes = [world.sample_scene(rng) for _ in range(BATCH - 5)]
    textures = [world.Scene(world.TEXTURE, (), rng.getrandbits(31)) for _ in range(5)]
    images = parts.pixels([world.render(scene) for scene in (*scenes, *textures)])
    images[-2:] += torch.randn_like(images[-2:]) * rng.uniform(0, 0.3)
    x, y = rng.randrange(0, world.SIZE - CROP + 1), rng.randrange(0, world.SIZE - CROP + 1)
    images = images[:, :, y : y + CROP, x : x + CROP]
    return images.clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def _loss(model: torch.nn.Module, images: Tensor) -> tuple[Tensor, float]:
    with torch.autocast("cpu", torch.bfloat16):
        posterior = model.encode(images).latent_dist
        decoded = model.decode(posterior.sample()).sample
    decoded, mean = decoded.float(), posterior.mean.float()
    error = F.mse_loss(decoded, images)
    edges = sum(F.l1_loss(decoded.diff(dim=side), images.diff(dim=side)) for side in (2, 3))
    small = F.mse_loss(mean[:, :3], F.avg_pool2d(images, 8))
    loss = error + 0.3 * F.l1_loss(decoded, images) + 0.3 * edges + OPEN * small + KL * posterior.kl().mean() / 1024
    return loss, error.item()


@torch.no_grad()
def _save(model: torch.nn.Module, target: Path, rng: random.Random) -> None:
    model = copy.deepcopy(model).eval()
    standardise(model, torch.cat([draw(rng) for _ in range(16)]))
    model.register_to_config(scaling_factor=1.0)
    model.save_pretrained(target)


@torch.no_grad()
def standardise(model: AutoencoderKL, images: Tensor) -> None:
    """Gives the latents of these pictures mean 0 and SPREAD, each channel for itself, by scaling the two convolutions
    around them: no number of a decoded picture changes, but a denoiser now hears every channel."""
    latents = model.encode(images).latent_dist.mean
    middle = latents.mean((0, 2, 3))
    factor = torch.tensor(SPREAD) / latents.std((0, 2, 3))
    channels = len(SPREAD)
    into, out = model.quant_conv, model.post_quant_conv
    out.bias += (out.weight[:, :, 0, 0] * middle).sum(1)
    out.weight /= factor[:, None, None]
    into.bias[:channels] = (into.bias[:channels] - middle) * factor
    into.bias[channels:] += 2 * factor.log()  # of the variance
    into.weight[:channels] *= factor[:, None, None, None]
