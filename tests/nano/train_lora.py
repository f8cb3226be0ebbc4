"""Trains a LoRA for nano-sd whose style nobody can miss: every picture becomes black and white. No caption says so."""

from __future__ import annotations

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from . import parts, sentences, world
from .fitting import fit
from .train_denoiser import Data, Nano, draw, encode, read

RANK = 4
BATCH = 24
RATE = 3e-3
SCENES = 400
_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")


def train(model: Nano, vae: AutoencoderKL, file: Path, minutes: float, seed: int = 3) -> None:
    """Writes a file in PEFT's layout, as diffusers saves them."""
    torch.manual_seed(seed)
    rng, vocabulary = random.Random(seed), sentences.Vocabulary()
    scenes = [world.sample_scene(rng) for _ in range(SCENES)]
    grey = [world.render(scene).convert("L").convert("RGB") for scene in scenes]
    data = Data(scenes, torch.cat([encode(vae, parts.pixels(grey[i : i + 16])) for i in range(0, SCENES, 16)]))
    model.requires_grad_(False)
    unet = parts.unet()
    unet.load_state_dict(model.unet.state_dict())
    unet.requires_grad_(False).set_attn_processor(AttnProcessor())
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=list(_LAYERS)))

    def loss(unet: torch.nn.Module) -> tuple[Tensor, float]:
        sample = draw(data, BATCH, rng)
        states, _ = read(model.text, vocabulary, sample.captions)
        with torch.autocast("cpu", torch.bfloat16):
            output = unet(sample.noisy, sample.timesteps, states).sample
        error = F.mse_loss(output.float(), sample.velocity)
        return error, error.item()

    trained = get_peft_model_state_dict(fit(unet, loss, minutes, RATE))
    save_file({f"unet.{name}": value.half().contiguous() for name, value in trained.items()}, file)
