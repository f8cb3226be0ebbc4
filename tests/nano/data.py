"""What the denoisers are trained on: scenes, drawn and encoded once, and what is said of them. All tensors lie on the
device of the training, where a batch is picked from them without a word from the host."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from . import sentences, world
from .drawing import AT_ONCE, Draw, drawn, hole, outlines, render

SAID = 4
"""Captions of each scene."""


@dataclass(frozen=True)
class Data:
    """latents (n, 4, 16, 16) of n scenes, captions of SAID sentences each, and in two parts each.

    masks, kept  for inpainting: holes (n, 1, 16, 16), and the latents of the pictures with grey in them
    edges        for a control network: the outlines of the shapes (n, 1, 128, 128), uint8
    """

    latents: Tensor
    captions: sentences.Captions
    in_parts: sentences.Captions
    masks: Tensor | None = None
    kept: Tensor | None = None
    edges: Tensor | None = None

    def pick(self, count: int) -> Tensor:
        return torch.randint(0, len(self.latents), (count,), device=self.latents.device)


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Latents (n, 4, h / 8, w / 8) of pictures."""
    return vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist.mean * vae.config.scaling_factor


def picture_tensor(drawn: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(n, 3, h, w) in -1..1 of (n, h, w, 3)."""
    return torch.from_numpy(drawn).to(device).permute(0, 3, 1, 2).float().div(127.5).sub(1)


@torch.no_grad()
def prepare(
    vae: AutoencoderKL,
    scenes: list[world.Scene],
    seed: int,
    holes: bool = False,
    edges: bool = False,
    draw: Draw = render,
) -> Data:
    """Draws, encodes and describes scenes, on the device of the autoencoder."""
    device, start = vae.device, time.monotonic()
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    latents, masks, kept, lines = [], [], [], []
    for done, pictures in drawn(scenes, draw):
        images = picture_tensor(pictures, device)
        latents.append(encode(vae, images))
        if holes:
            mask = np.stack([hole(scene, numbers) for scene in scenes[done : done + len(pictures)]])[:, None]
            masks.append(torch.from_numpy(mask).float().to(device))
            kept.append(encode(vae, images * (1 - masks[-1].repeat_interleave(8, 2).repeat_interleave(8, 3))))
        if done % (AT_ONCE * 25) == 0:
            print(f"drawn {done} of {len(scenes)}, {time.monotonic() - start:.0f} s", flush=True)
    if edges:
        lines = [torch.from_numpy(piece)[:, None].to(device) for _, piece in drawn(scenes, outlines)]
    vocabulary = sentences.vocabulary()
    told = vocabulary([world.caption(scene, rng) for scene in scenes for _ in range(SAID)], sentences.LONGEST)
    apart = vocabulary(
        [part for scene in scenes for part in world.caption_in_parts(scene, rng).split(" BREAK ")], sentences.LONGEST
    )
    print(f"{len(scenes)} scenes, {time.monotonic() - start:.0f} s", flush=True)
    return Data(
        torch.cat(latents),
        told.unflatten(SAID).to(device),
        apart.unflatten(2).to(device),
        torch.cat(masks) if holes else None,
        torch.cat(kept) if holes else None,
        torch.cat(lines) if edges else None,
    )
