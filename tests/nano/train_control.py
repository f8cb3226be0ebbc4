"""Trains a small ControlNet beside nano-sd, whose weights stay as they are: the picture follows the edges of shapes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ControlNetModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image, ImageChops, ImageFilter
from torch import Tensor

from . import parts, sentences, world
from .fitting import fit
from .train_denoiser import Data, Nano, draw, read

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

    def loss(control: torch.nn.Module) -> tuple[Tensor, float]:
        # Half of the captions are silent, so that nobody but the edges says what is where.
        sample = draw(data, BATCH, rng, empty=0.5)
        states, _ = read(model.text, vocabulary, sample.captions)
        hints = parts.pixels([edges(data.scenes[i]) for i in sample.picked.tolist()]).add(1).div(2)
        with torch.autocast("cpu", torch.bfloat16):
            down, middle = control(sample.noisy, sample.timesteps, states, hints, return_dict=False)
            output = model.unet(
                sample.noisy,
                sample.timesteps,
                states,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        error = F.mse_loss(output.float(), sample.velocity)
        return error, error.item()

    fit(control, loss, minutes, RATE).half().save_pretrained(target)
