"""Weights of Stable Diffusion as files hold them -> state dicts under the names that today's modules have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import load_file
from torch import Tensor

from .cache import States
from .contents import weight_files

_TEXTS = (
    ("text_encoder", "cond_stage_model.transformer."),
    ("text_encoder", "conditioner.embedders.0.transformer."),
)
_OPEN_TEXTS = (("text_encoder", "cond_stage_model.model."), ("text_encoder_2", "conditioner.embedders.1.model."))
"""Where the text encoders are in files of Stable Diffusion 1 and SDXL (with the names of transformers), and of Stable
Diffusion 2 and SDXL (with those of OpenCLIP)."""
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_folder(path: Path, components: Iterable[str]) -> States:
    """The components of a folder in the layout of diffusers, whichever version of it wrote them."""
    return {name: _renewed(name, _read(weight_files(path / name))) for name in components}


def read_original(path: Path, configs: Mapping[str, Mapping[str, Any]]) -> States:
    """The components of a single file in the original layout of latent diffusion; `configs` are those of its components
    as in diffusers."""
    return from_original(_read([path]), configs)


def from_original(state: dict[str, Tensor], configs: Mapping[str, Mapping[str, Any]]) -> States:
    """As read_original, of what the file holds."""
    texts = {name: part for name, prefix in _TEXTS if (part := _part(state, prefix))}
    texts |= {name: _from_open_clip(state, prefix) for name, prefix in _OPEN_TEXTS if _part(state, prefix)}
    return {
        "unet": convert_ldm_unet_checkpoint(state, configs["unet"]),
        "vae": convert_ldm_vae_checkpoint(state, configs["vae"]),
        **{name: _renewed(name, text) for name, text in texts.items()},
    }


def _from_open_clip(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    part = {key: tensor for key, tensor in state.items() if key.startswith(prefix)}
    # The converter asks for the width where the file has no projection that tells it.
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=state[f"{prefix}ln_final.weight"].shape[0]))
    converted: dict[str, Tensor] = convert_open_clip_checkpoint(model, part, prefix)
    return converted


def _read(files: Iterable[Path]) -> dict[str, Tensor]:
    return {key: tensor for file in files for key, tensor in load_file(file).items()}


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def _renewed(component: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers before 0.18 had other names for the autoencoder's attention; most published folders are that old.
    transformers 5 has dropped the prefix of a text model that has no projection, and counts positions instead of storing
    them."""
    if component == "vae":
        return {_renew_attention(key) if ".attentions." in key else key: tensor for key, tensor in state.items()}
    prefix = "text_model." if component == "text_encoder" else ""
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if not key.endswith(".position_ids")}


def _renew_attention(key: str) -> str:
    head, name, kind = key.rsplit(".", 2)
    return f"{head}.{_OLD_ATTENTION.get(name, name)}.{kind}"
