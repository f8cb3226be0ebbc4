"""Writes what was trained as the folders that Stable Diffusion models come in: float16 safetensors, CLIP's tokenizer."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from . import parts, sentences
from .train_denoiser import Nano
from .train_xl import NanoXl


def save(model: Nano, vae: AutoencoderKL, folder: Path) -> None:
    """A folder of nano-sd, or of nano-sd-inpaint where the UNet has nine channels."""
    inpaint = model.unet.config.in_channels == 9
    _save_parts(model.unet, vae, folder, "StableDiffusionInpaintPipeline" if inpaint else "StableDiffusionPipeline")
    _save_text(model.text, parts.text_encoder(), folder / "text_encoder")


def save_xl(model: NanoXl, vae: AutoencoderKL, folder: Path) -> None:
    second = {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "tokenizer_2": _TOKENIZER}
    _save_parts(model.unet, vae, folder, "StableDiffusionXLPipeline", second | {"force_zeros_for_empty_prompt": True})
    _save_text(model.text, parts.text_encoder(), folder / "text_encoder")
    # SDXL fills the second encoder's places with the vocabulary's first token.
    _save_text(model.text_2, parts.second_encoder(), folder / "text_encoder_2", filler=0)
    shutil.copytree(parts.CLIP, folder / "tokenizer_2")


_TOKENIZER = ["transformers", "CLIPTokenizer"]


def _save_parts(unet: Any, vae: AutoencoderKL, folder: Path, pipeline: str, more: dict[str, Any] | None = None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    copy.deepcopy(unet).half().cpu().save_pretrained(folder / "unet")
    copy.deepcopy(vae).half().cpu().save_pretrained(folder / "vae")
    description = folder / "vae" / "config.json"
    said = json.loads(description.read_text())
    said.pop("_name_or_path", None)  # where it lay while it was trained is nobody's business
    _write(description, said)
    shutil.copytree(parts.CLIP, folder / "tokenizer")
    _write(folder / "scheduler" / "scheduler_config.json", parts.SCHEDULER)
    _write(
        folder / "model_index.json",
        {
            "_class_name": pipeline,
            "feature_extractor": [None, None],
            "safety_checker": [None, None],
            "requires_safety_checker": False,
            "scheduler": ["diffusers", parts.SCHEDULER["_class_name"]],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": _TOKENIZER,
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            **(more or {}),
        },
    )


def _save_text(trained: Any, whole: Any, folder: Path, filler: int = parts.END) -> None:
    """With the rows of the whole vocabulary: words that are not of the world are all the same nothing. `filler` is a token
    that means what the end token means."""
    state, clip = {key: value.cpu() for key, value in trained.state_dict().items()}, sentences.vocabulary().clip
    (table,) = [key for key in state if key.endswith("token_embedding.weight")]
    rows = torch.zeros(parts.VOCABULARY, state[table].shape[1])
    rows[torch.tensor(clip)] = state[table].float()
    rows[filler] = rows[parts.END]
    whole.load_state_dict(state | {table: rows})
    whole.config.save_pretrained(folder)
    # The names that Stable Diffusion's own folders have; some versions of transformers leave the prefix out.
    named = {
        key if "text_projection" in key else f"text_model.{key.removeprefix('text_model.')}": value
        for key, value in whole.state_dict().items()
    }
    save_file({key: value.half().contiguous() for key, value in named.items()}, folder / "model.safetensors")


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=2) + "\n")
