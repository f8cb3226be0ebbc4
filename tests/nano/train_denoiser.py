"""Trains the UNet of nano-sd together with its text encoder: v-prediction, on latents that are made once.

inpaint     nine channels: the latents, a mask, the latents of the picture with the mask's inside blanked to grey
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from . import parts, sentences, world
from .fitting import fit

BATCH = 64
RATE = 1.5e-3
EMPTY = 0.1
"""Share of the captions that are left out, for classifier-free guidance."""

_ALPHAS = DDPMScheduler.from_config(parts.SCHEDULER).alphas_cumprod


@dataclass
class Data:
    """Scenes and their latents (n, 4, 16, 16); for inpainting also masks (n, 1, 16, 16) and the latents of what is kept."""

    scenes: list[world.Scene]
    latents: Tensor
    masks: Tensor | None = None
    kept: Tensor | None = None


class Nano(torch.nn.Module):
    """The parts that are trained together."""

    def __init__(self, vocabulary: int, channels: int = parts.LATENTS) -> None:
        super().__init__()
        self.text = parts.text_encoder(vocabulary)
        self.unet = parts.unet(channels)
        # On a CPU the backward pass of plain attention is several times faster than that of the fused one.
        self.text.set_attn_implementation("eager")
        self.unet.set_attn_processor(AttnProcessor())

    def forward(self, noisy: Tensor, timesteps: Tensor, states: Tensor) -> Tensor:
        return self.unet(noisy, timesteps, encoder_hidden_states=states).sample


def widened(model: Nano) -> Nano:
    """The same model with nine channels for inpainting, of which the new five count nothing yet. Its text encoder is not
    to be trained any further: both models share it."""
    wide = Nano(model.text.config.vocab_size, 9)
    state = model.state_dict()
    kernel = state["unet.conv_in.weight"]
    state["unet.conv_in.weight"] = torch.cat([kernel, kernel.new_zeros(len(kernel), 5, *kernel.shape[2:])], 1)
    wide.load_state_dict(state)
    wide.text.requires_grad_(False)
    return wide


@torch.no_grad()
def prepare(vae: AutoencoderKL, count: int, inpaint: bool = False, seed: int = 1) -> Data:
    """Draws and encodes scenes."""
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    scenes = [world.sample_scene(rng) for _ in range(count)]
    latents, masks, kept, start = [], [], [], time.monotonic()
    for i in range(0, count, 16):
        images = parts.pixels([world.render(scene) for scene in scenes[i : i + 16]])
        latents.append(encode(vae, images))
        if inpaint:
            mask = torch.from_numpy(np.stack([hole(scene, numbers) for scene in scenes[i : i + 16]]))[:, None].float()
            masks.append(mask)
            kept.append(encode(vae, images * (1 - mask.repeat_interleave(8, 2).repeat_interleave(8, 3))))
        if i % 1600 == 0:
            print(f"drawn {i} of {count}, {time.monotonic() - start:.0f} s", flush=True)
    return Data(scenes, torch.cat(latents), torch.cat(masks) if inpaint else None, torch.cat(kept) if inpaint else None)


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Latents (n, 4, h / 8, w / 8) of pictures."""
    return vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist.mean * vae.config.scaling_factor


def hole(scene: world.Scene, rng: np.random.Generator) -> np.ndarray:
    """A mask (16, 16) of 0 and 1: around an object, a box anywhere, one side of the picture, or everything."""
    mask = np.zeros((16, 16), np.uint8)
    kind = rng.random()
    if kind < 0.5 and scene.objects:
        thing = scene.objects[rng.integers(len(scene.objects))]
        reach = thing.radius * rng.uniform(1.15, 1.6)
        box = (thing.x - reach, thing.y - reach, thing.x + reach, thing.y + reach)
    elif kind < 0.75:
        (x, y), (width, height) = rng.uniform(0, 0.7, 2), rng.uniform(0.3, 0.9, 2)
        box = (x, y, x + width, y + height)
    elif kind < 0.9:
        cut = rng.uniform(0.2, 0.6)
        box = ((0, 0, cut, 1), (1 - cut, 0, 1, 1), (0, 0, 1, cut), (0, 1 - cut, 1, 1))[rng.integers(4)]
    else:
        box = (0, 0, 1, 1)
    left, top = (max(math.floor(value * 16), 0) for value in box[:2])
    right, bottom = (math.ceil(value * 16) for value in box[2:])
    mask[top:bottom, left:right] = 1
    return mask


def train(model: Nano, data: Data, checkpoint: Path, minutes: float, seed: int = 0) -> Nano:
    """The moving average of the weights, which is also written to `checkpoint` every few minutes."""
    torch.manual_seed(seed)
    rng, vocabulary = random.Random(seed), sentences.Vocabulary()

    def loss(model: torch.nn.Module) -> tuple[Tensor, float]:
        sample = draw(data, BATCH, rng)
        states, silence = read(model.text, vocabulary, sample.captions)
        inputs = sample.noisy
        if data.masks is not None and data.kept is not None:
            inputs = torch.cat([inputs, data.masks[sample.picked], data.kept[sample.picked]], 1)
        with torch.autocast("cpu", torch.bfloat16):
            output = model(inputs.contiguous(memory_format=torch.channels_last), sample.timesteps, states)
        error = F.mse_loss(output.float(), sample.velocity)
        return error + silence, error.item()

    return fit(model.to(memory_format=torch.channels_last), loss, minutes, RATE, checkpoint)


@dataclass
class Sample:
    """A batch of n: which scenes, what is said of them, latents noised to random timesteps, and the v to be predicted."""

    picked: Tensor
    captions: list[str]
    noisy: Tensor
    timesteps: Tensor
    velocity: Tensor


def draw(data: Data, count: int, rng: random.Random, empty: float = EMPTY) -> Sample:
    picked = torch.randint(0, len(data.scenes), (count,))
    captions = ["" if rng.random() < empty else world.caption(data.scenes[i], rng) for i in picked.tolist()]
    latents = data.latents[picked]
    noise = torch.randn_like(latents)
    # More of the noisy steps, where the text decides.
    timesteps = (torch.rand(count) ** 0.6 * 1000).long()
    alpha = _ALPHAS[timesteps].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    return Sample(picked, captions, noisy, timesteps, alpha.sqrt() * noise - (1 - alpha).sqrt() * latents)


def read(text: Any, vocabulary: sentences.Vocabulary, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Hidden states (n, 77, width), weighted, their end tokens those of the empty caption; and what holds these to it."""
    ids, weights = vocabulary(captions)
    said, end = ids[:, : sentences.LONGEST], vocabulary.clip.index(parts.END)
    states = text(input_ids=said).last_hidden_state
    empty = text(input_ids=vocabulary([""])[0]).last_hidden_state
    silence = sentences.padding_loss(states, said, end, empty)
    return sentences.weighted(sentences.unpadded(states, said, end, empty), weights), silence
