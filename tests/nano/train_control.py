"""Trains a small ControlNet beside nano-sd, whose weights stay as they are: the picture follows the edges of shapes."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ControlNetModel, DDPMScheduler
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image, ImageChops, ImageFilter

from . import parts, sentences, world
from .train_denoiser import Data, Nano, read

BATCH = 32
RATE = 1e-3
HINT = (8, 16, 32, 48)
"""Widths of the convolutions that bring a control picture to the size of the latents."""


def edges(scene: world.Scene) -> Image.Image:
    """The outlines of its shapes, white on black, two pixels wide: RGB."""
    lines = Image.new("L", (world.SIZE, world.SIZE))
    for thing in scene.objects:
        solid = Image.fromarray(
            (world.silhouette(thing.shape, thing.x, thing.y, thing.radius) > 0.5).astype(np.uint8) * 255
        )
        wide, narrow = solid.filter(ImageFilter.MaxFilter(3)), solid.filter(ImageFilter.MinFilter(3))
        lines = ImageChops.lighter(lines, ImageChops.subtract(wide, narrow))
    return lines.convert("RGB")


def train(model: Nano, data: Data, target: Path, minutes: float, seed: int = 0) -> None:
    """Writes a folder of diffusers."""
    torch.manual_seed(seed)
    rng, vocabulary = random.Random(seed), sentences.Vocabulary()
    model.requires_grad_(False).eval()
    control = ControlNetModel.from_unet(model.unet, conditioning_channels=3)
    control.controlnet_cond_embedding = type(control.controlnet_cond_embedding)(
        conditioning_embedding_channels=control.config.block_out_channels[0], block_out_channels=HINT
    )
    control.register_to_config(conditioning_embedding_out_channels=HINT)
    control.set_attn_processor(AttnProcessor())
    optimizer = torch.optim.AdamW(control.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    alphas = DDPMScheduler.from_config(parts.SCHEDULER).alphas_cumprod
    start, step, losses = time.monotonic(), 0, []
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 50) * (1.03 - progress)
        picked = torch.randint(0, len(data.scenes), (BATCH,))
        scenes = [data.scenes[i] for i in picked.tolist()]
        # Half of the captions are silent, so that nobody but the edges says what is where.
        captions = ["" if rng.random() < 0.5 else world.caption(scene, rng) for scene in scenes]
        states, _ = read(model.text, vocabulary, captions)
        hints = parts.pixels([edges(scene) for scene in scenes]).add(1).div(2)
        latents = data.latents[picked]
        noise = torch.randn_like(latents)
        timesteps = (torch.rand(BATCH) ** 0.5 * 1000).long()
        alpha = alphas[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16):
            down, middle = control(noisy, timesteps, states, hints, return_dict=False)
            output = model.unet(
                noisy, timesteps, states, down_block_additional_residuals=down, mid_block_additional_residual=middle
            ).sample
        loss = F.mse_loss(output.float(), alpha.sqrt() * noise - (1 - alpha).sqrt() * latents)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(control.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"control {step}: error {sum(losses[-50:]) / 50:.4f}, {time.monotonic() - start:.0f} s", flush=True)
    control.half().save_pretrained(target)
