"""Weights of Stable Diffusion as files hold them -> state dicts under the names that today's modules have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import load_file
from torch import Tensor

from .cache import States
from .contents import weight_files

_TEXT = "cond_stage_model.transformer."
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_folder(path: Path, components: Iterable[str]) -> States:
    """The components of a folder in the layout of diffusers, whichever version of it wrote them."""
    states = {name: _read(weight_files(path / name)) for name in components}
    return {name: _renew_vae(state) if name == "vae" else _renew_text(state) for name, state in states.items()}


def read_original(path: Path, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> States:
    """The components of a single file in the original layout of latent diffusion; `unet` and `vae` are their
    configurations as in diffusers."""
    state = _read([path])
    return {
        "unet": convert_ldm_unet_checkpoint(state, unet),
        "vae": convert_ldm_vae_checkpoint(state, vae),
        "text_encoder": _renew_text(_part(state, _TEXT)),
    }


def _read(files: Iterable[Path]) -> dict[str, Tensor]:
    return {key: tensor for file in files for key, tensor in load_file(file).items()}


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def _renew_text(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers 5 has dropped the prefix of the text model, and counts positions instead of storing them."""
    names = {key: key.removeprefix("text_model.") for key in state if not key.endswith(".position_ids")}
    return {name: state[key] for key, name in names.items()}


def _renew_vae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers before 0.18 had other names for the autoencoder's attention; most published folders are that old."""
    return {_renew_attention(key) if ".attentions." in key else key: tensor for key, tensor in state.items()}


def _renew_attention(key: str) -> str:
    head, name, kind = key.rsplit(".", 2)
    return f"{head}.{_OLD_ATTENTION.get(name, name)}.{kind}"
