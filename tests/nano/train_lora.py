"""Trains LoRAs for nano-sd whose styles nobody can miss, such as every picture in black and white. No caption says so."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from . import parts
from .data import prepare
from .drawing import Draw, sample_scenes
from .fitting import fit
from .train_denoiser import Nano, Noiser, Reader, use_quick_attention

RANK = 4
BATCH = {"cpu": 24, "cuda": 128}
RATE = 3e-3
SCENES = 2_000
_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")


def train(model: Nano, vae: AutoencoderKL, draw: Draw, file: Path, minutes: float, seed: int = 3) -> None:
    """One that makes pictures as `draw` does. Writes a file in PEFT's layout, as diffusers saves them."""
    torch.manual_seed(seed)
    data = prepare(vae, sample_scenes(SCENES, seed), seed, draw=draw)
    device = data.latents.device
    reader, noiser = Reader(device), Noiser(device)
    model.requires_grad_(False)
    unet = parts.unet().to(device)
    unet.load_state_dict(model.unet.state_dict())
    unet.requires_grad_(False)
    use_quick_attention(device, unet, model.text)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=list(_LAYERS)))

    def loss(unet: torch.nn.Module) -> tuple[Tensor, Tensor]:
        sample = noiser.draw(data, BATCH[device.type])
        states, _ = reader.read(model.text, reader.some(data, sample.picked))
        with torch.autocast(device.type, torch.bfloat16):
            output = unet(sample.noisy, sample.timesteps, states).sample
        error = F.mse_loss(output.float(), sample.velocity)
        return error, error

    trained = get_peft_model_state_dict(fit(unet, loss, minutes, RATE))
    save_file({f"unet.{name}": value.half().cpu().contiguous() for name, value in trained.items()}, file)
