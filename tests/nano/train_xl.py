"""Trains nano-sdxl from nano-sd: SDXL's shape, in small. Two text encoders whose penultimate states lie side by side, a
prompt as a whole (pooled), the picture's size; an empty prompt is all zeros."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from . import parts, sentences, world
from .data import Data
from .fitting import fit
from .train_denoiser import BATCH, RATE, Nano, Noiser, Reader, use_quick_attention

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
            state[name] = F.pad(value, (0, parts.WIDTH_2)) if name.endswith(_KEYS_AND_VALUES) else value
        self.unet.load_state_dict(state)


def train(base: Nano, data: Data, minutes: float, checkpoint: Path | None = None, seed: int = 0) -> NanoXl:
    """The moving average of the weights, which is also written to `checkpoint` every few minutes."""
    torch.manual_seed(seed)
    device = data.latents.device
    count, reader, noiser = BATCH[device.type], Reader(device), Noiser(device)
    size = [world.SIZE, world.SIZE, 0, 0, world.SIZE, world.SIZE]
    sizes = torch.tensor([size], dtype=torch.float32, device=device).expand(count, -1)
    model = NanoXl(base)
    use_quick_attention(device, model.unet, model.text, model.text_2)

    def loss(model: torch.nn.Module) -> tuple[Tensor, Tensor]:
        sample = noiser.draw(data, count)
        states, pooled, silence = read(model, reader, reader.some(data, sample.picked))
        with torch.autocast(device.type, torch.bfloat16):
            output = model.unet(
                sample.noisy.contiguous(memory_format=torch.channels_last),
                sample.timesteps,
                states,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            ).sample
        error = F.mse_loss(output.float(), sample.velocity)
        return error + silence, error

    return fit(model.to(device, memory_format=torch.channels_last), loss, minutes, RATE, checkpoint)


def read(model: torch.nn.Module, reader: Reader, captions: sentences.Captions) -> tuple[Tensor, Tensor, Tensor]:
    """States (n, 77, both widths) and the prompts as a whole (n, width), zeros for empty captions; and what holds the end
    tokens' states to those of the empty caption."""
    ids, weights = captions.ids, captions.weights
    both, silences = [], []
    for text in (model.text, model.text_2):
        output = text(input_ids=ids, output_hidden_states=True)
        empty = text(input_ids=reader.nothing.ids, output_hidden_states=True).hidden_states[-2]
        silences.append(sentences.padding_loss(output.hidden_states[-2], ids, reader.end, empty))
        whole = sentences.unpadded(output.hidden_states[-2], ids, reader.end, empty)
        both.append(sentences.weighted(whole, weights))
    asked = (ids[:, 1:2] != reader.end).float()
    return torch.cat(both, 2) * asked[..., None], output.text_embeds * asked, sum(silences)
