"""Trains the UNet of nano-sd together with its text encoder: v-prediction, on latents that are made once.

For inpainting it has nine channels: the latents, a mask, the latents of the picture with the mask's inside blanked to grey.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor

from . import parts, sentences
from .data import Data
from .fitting import fit

BATCH = {"cpu": 64, "cuda": 384}
RATE = 1.5e-3
EMPTY = 0.1
"""Share of the captions that are left out, for classifier-free guidance."""
IN_PARTS = 8
"""One row in so many has its caption in two parts."""


def use_quick_attention(device: torch.device, unet: Any, *texts: Any) -> None:
    """On a CPU the backward pass of plain attention is several times faster than that of the fused one; on a GPU the mask
    that plain attention makes for a text encoder cannot be recorded."""
    on_cpu = device.type == "cpu"
    unet.set_attn_processor(AttnProcessor() if on_cpu else AttnProcessor2_0())
    for text in texts:
        text.set_attn_implementation("eager" if on_cpu else "sdpa")


class Nano(torch.nn.Module):
    """The parts that are trained together."""

    def __init__(self, vocabulary: int, channels: int = parts.LATENTS) -> None:
        super().__init__()
        self.text = parts.text_encoder(vocabulary)
        self.unet = parts.unet(channels)


def widened(model: Nano) -> Nano:
    """The same model with nine channels for inpainting, of which the new five count nothing yet. Its text encoder is not
    to be trained any further: both models share it."""
    wide = Nano(model.text.config.vocab_size, 9)
    state = model.state_dict()
    kernel = state["unet.conv_in.weight"]
    state["unet.conv_in.weight"] = torch.cat([kernel, kernel.new_zeros(len(kernel), 5, *kernel.shape[2:])], 1)
    wide.load_state_dict(state)
    wide.text.requires_grad_(False)
    return wide.to(kernel.device)


def train(model: Nano, data: Data, minutes: float, checkpoint: Path | None = None, seed: int = 0) -> Nano:
    """The moving average of the weights, which is also written to `checkpoint` every few minutes."""
    torch.manual_seed(seed)
    device = data.latents.device
    reader, noiser = Reader(device), Noiser(device)
    use_quick_attention(device, model.unet, model.text)

    def loss(model: torch.nn.Module) -> tuple[Tensor, Tensor]:
        sample = noiser.draw(data, BATCH[device.type])
        inputs = sample.noisy
        if data.masks is not None and data.kept is not None:
            inputs = torch.cat([inputs, data.masks[sample.picked], data.kept[sample.picked]], 1)
        cut = len(inputs) // IN_PARTS
        whole, silence = reader.read(model.text, reader.some(data, sample.picked[cut:]))
        halves, _ = reader.read(model.text, data.in_parts[sample.picked[:cut]].flatten())
        # Two chunks lie one after the other, as those of a long prompt do.
        states = (halves.unflatten(0, (cut, 2)).flatten(1, 2), whole)
        with torch.autocast(device.type, torch.bfloat16):
            outputs = [
                model.unet(part.contiguous(memory_format=torch.channels_last), times, encoder_hidden_states=told).sample
                for part, times, told in zip(
                    inputs.split([cut, len(inputs) - cut]),
                    sample.timesteps.split([cut, len(inputs) - cut]),
                    states,
                    strict=True,
                )
            ]
        error = F.mse_loss(torch.cat(outputs).float(), sample.velocity)
        return error + silence, error

    return fit(model.to(device, memory_format=torch.channels_last), loss, minutes, RATE, checkpoint)


@dataclass
class Sample:
    """A batch of n: which scenes, their latents noised to random timesteps, and the v to be predicted."""

    picked: Tensor
    noisy: Tensor
    timesteps: Tensor
    velocity: Tensor


class Noiser:
    def __init__(self, device: torch.device) -> None:
        self._alphas = DDPMScheduler.from_config(parts.SCHEDULER).alphas_cumprod.to(device)

    def draw(self, data: Data, count: int) -> Sample:
        picked = data.pick(count)
        latents = data.latents[picked]
        noise = torch.randn_like(latents)
        # More of the noisy steps, where the text decides.
        timesteps = (torch.rand(count, device=latents.device) ** 0.6 * 1000).long()
        alpha = self._alphas[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        return Sample(picked, noisy, timesteps, alpha.sqrt() * noise - (1 - alpha).sqrt() * latents)


class Reader:
    """Captions, as a denoiser is told them."""

    def __init__(self, device: torch.device) -> None:
        vocabulary = sentences.vocabulary()
        self.end = vocabulary.end
        self.nothing = vocabulary([""]).to(device)

    def some(self, data: Data, picked: Tensor, empty: float = EMPTY) -> sentences.Captions:
        """One of the captions of each scene, a share `empty` of them left out."""
        which = torch.randint(0, data.captions.ids.shape[1], picked.shape, device=picked.device)
        silent = torch.rand(picked.shape, device=picked.device) < empty
        said = data.captions[picked, which]
        return said.or_nothing(silent, self.nothing[:, : sentences.LONGEST])

    def read(self, text: Any, captions: sentences.Captions) -> tuple[Tensor, Tensor]:
        """Hidden states (n, 77, width), weighted, their end tokens those of the empty caption; and what holds these to
        it."""
        states = text(input_ids=captions.ids).last_hidden_state
        empty = text(input_ids=self.nothing.ids).last_hidden_state
        silence = sentences.padding_loss(states, captions.ids, self.end, empty)
        return sentences.weighted(sentences.unpadded(states, captions.ids, self.end, empty), captions.weights), silence
