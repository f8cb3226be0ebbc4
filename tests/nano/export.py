"""Writes what was trained as the folders that Stable Diffusion models come in: float16 safetensors, CLIP's tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from . import parts, sentences
from .train_denoiser import Nano


def save(model: Nano, vae: AutoencoderKL, folder: Path) -> None:
    """A folder of nano-sd, or of nano-sd-inpaint where the UNet has nine channels."""
    shutil.rmtree(folder, ignore_errors=True)
    model.unet.half().save_pretrained(folder / "unet")
    vae.half().save_pretrained(folder / "vae")
    _save_text(model.text, folder / "text_encoder")
    shutil.copytree(parts.CLIP, folder / "tokenizer")
    _write(folder / "scheduler" / "scheduler_config.json", parts.SCHEDULER)
    pipeline = "StableDiffusionInpaintPipeline" if model.unet.config.in_channels == 9 else "StableDiffusionPipeline"
    _write(
        folder / "model_index.json",
        {
            "_class_name": pipeline,
            "feature_extractor": [None, None],
            "safety_checker": [None, None],
            "requires_safety_checker": False,
            "scheduler": ["diffusers", parts.SCHEDULER["_class_name"]],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )


def _save_text(trained: Any, folder: Path) -> None:
    """With the rows of the whole vocabulary: words that are not of the world are all the same nothing."""
    whole = parts.text_encoder()
    state = dict(trained.state_dict())
    (table,) = [key for key in state if key.endswith("token_embedding.weight")]
    rows = torch.zeros(parts.VOCABULARY, parts.WIDTH)
    rows[torch.tensor(sentences.Vocabulary().clip)] = state[table].float()
    whole.load_state_dict(state | {table: rows})
    whole.config.save_pretrained(folder)
    # The names that Stable Diffusion's own folders have; some versions of transformers leave the prefix out.
    named = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in whole.state_dict().items()}
    save_file({key: value.half().contiguous() for key, value in named.items()}, folder / "model.safetensors")


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=2) + "\n")
