"""Previews by a tiny autoencoder (TAESD) where the artist has one: they show more than the linear map of the latents."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from .families.base import Model
from .families.modules import silence_libraries
from .kinds import TINY

_log = logging.getLogger(__name__)


class TinyPreview:
    """Latents of one family to small pictures."""

    def __init__(self, autoencoder: AutoencoderTiny) -> None:
        self._autoencoder = autoencoder

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        """(n, 3, h, w) in -1..1 of (n, 4, h / 8, w / 8) scaled latents."""
        image: Tensor = self._autoencoder.decode(latents).sample
        return image


def find_tiny(models: Path, family: str, model: Model) -> TinyPreview | None:
    """That of the model's family in the folder of models, on the model's device. A damaged one is none: no picture is to
    fail for its preview."""
    wanted = TINY.get(family)
    folders = models.iterdir() if wanted and models.is_dir() else ()
    folder = next((folder for folder in sorted(folders) if folder.name.casefold() == wanted), None)
    if folder is None:
        return None
    silence_libraries()
    try:
        tiny = AutoencoderTiny.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    except Exception as error:  # whatever a library makes of damaged files
        _log.warning("The tiny autoencoder %s cannot be read (%s)", wanted, type(error).__name__)
        return None
    if tiny.config.latent_channels != model.latent_channels:
        return None
    # As with every half-precision convolution (`device.py`); float32 loses nothing by it.
    return TinyPreview(tiny.to(model.device, model.dtype, memory_format=torch.channels_last).eval())
