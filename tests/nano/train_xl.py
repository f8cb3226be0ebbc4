"""Trains nano-sdxl from nano-sd: SDXL's shape, in small. Two text encoders whose penultimate states lie side by side, a
prompt as a whole (pooled), the picture's size; an empty prompt is all zeros."""

from __future__ import annotations

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from . import parts, sentences, world
from .fitting import fit
from .train_denoiser import BATCH, RATE, Data, Nano, draw

_KEYS_AND_VALUES = ("attn2.to_k.weight", "attn2.to_v.weight")


class NanoXl(torch.nn.Module):
    def __init__(self, base: Nano) -> None:
        """From what nano-sd knows: its text encoder is the first one here, its UNet does not hear the second yet."""
        super().__init__()
        vocabulary = base.text.config.vocab_size
        self.text, self.text_2 = parts.text_encoder(vocabulary), parts.second_encoder(vocabulary)
        self.unet = parts.wide_unet()
        self.text.load_state_dict(base.text.state_dict())
        state = self.unet.state_dict()
        for name, value in base.unet.state_dict().items():
            if name.endswith(_KEYS_AND_VALUES):
                value = F.pad(value, (0, parts.WIDTH_2))
            state[name] = value
        self.unet.load_state_dict(state)
        for text in (self.text, self.text_2):
            text.set_attn_implementation("eager")
        self.unet.set_attn_processor(AttnProcessor())


def train(base: Nano, data: Data, checkpoint: Path, minutes: float, seed: int = 0) -> NanoXl:
    """The moving average of the weights, which is also written to `checkpoint` every few minutes."""
    torch.manual_seed(seed)
    rng, vocabulary = random.Random(seed), sentences.Vocabulary()
    sizes = torch.tensor([[world.SIZE, world.SIZE, 0, 0, world.SIZE, world.SIZE]], dtype=torch.float32).expand(
        BATCH, -1
    )

    def loss(model: torch.nn.Module) -> tuple[Tensor, float]:
        sample = draw(data, BATCH, rng)
        states, pooled, silence = read(model, vocabulary, sample.captions)
        with torch.autocast("cpu", torch.bfloat16):
            output = model.unet(
                sample.noisy.contiguous(memory_format=torch.channels_last),
                sample.timesteps,
                states,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            ).sample
        error = F.mse_loss(output.float(), sample.velocity)
        return error + silence, error.item()

    return fit(NanoXl(base).to(memory_format=torch.channels_last), loss, minutes, RATE, checkpoint)


def read(
    model: torch.nn.Module, vocabulary: sentences.Vocabulary, captions: list[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """States (n, 77, 2 * width) and the prompts as a whole (n, width), zeros for empty captions; and what holds the end
    tokens' states to those of the empty caption."""
    ids, weights = vocabulary(captions)
    said, end = ids[:, : sentences.LONGEST], vocabulary.clip.index(parts.END)
    nothing, (both, silence) = vocabulary([""])[0], ([], torch.zeros(()))
    for text in (model.text, model.text_2):
        output = text(input_ids=said, output_hidden_states=True)
        empty = text(input_ids=nothing, output_hidden_states=True).hidden_states[-2]
        silence = silence + sentences.padding_loss(output.hidden_states[-2], said, end, empty)
        whole = sentences.unpadded(output.hidden_states[-2], said, end, empty)
        both.append(sentences.weighted(whole, weights))
    asked = torch.tensor([bool(caption) for caption in captions]).float()[:, None]
    return torch.cat(both, 2) * asked[..., None], output.text_embeds * asked, silence
