"""How the families that are made of the parts of latent diffusion (Rombach et al., 2022) are told: a UNet, an autoencoder
and CLIP text encoders, as a folder of diffusers or as one file in the original layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ...protocol.errors import ModelUnreadable
from ...protocol.messages import Capability
from .base import Contents, Defaults, Identity, Prediction
from .variants import prediction, resolution, variant

TOKENIZER = Path(__file__).parent / "sd1_files" / "tokenizer"
"""CLIP's, for single files, which bring none; all families that attend to CLIP share its vocabulary."""

FIRST_ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
"""(width, token width) of a denoiser in the original layout, in versions 1 and 2."""
_FIRST_KERNEL = "model.diffusion_model.input_blocks.0.0.weight"
"""(width, input channels, 3, 3) of a denoiser in the original layout."""

CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
"""Everything that there is was made for them."""
_CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
}
_CHANNELS = (4, 9)  # 8 are of InstructPix2Pix, 5 of depth and upscaling


def classes(contents: Contents) -> Mapping[str, str | None]:
    """The components of a folder and the names of their classes; None where the component is left out."""
    index = contents.configs["model_index"]
    return {name: kind[1] for name, kind in index.items() if isinstance(kind, list) and len(kind) == 2}


def file_channels(contents: Contents, attention: str) -> tuple[int, int] | None:
    """Of a denoiser in the original layout: how many channels it takes, and how wide the tokens are that `attention`
    takes; None where these are not there."""
    kernel, takes = contents.tensors.get(_FIRST_KERNEL), contents.tensors.get(attention)
    if kernel is None or takes is None or len(kernel) != 4 or len(takes) != 2:
        return None
    return kernel[1], takes[1]


def identify_folder(
    contents: Contents, family: str, defaults: Defaults, encoders: tuple[str, ...] = ("text_encoder",)
) -> Identity | None:
    """The identity of a folder that has a UNet like the family's; None when other parts are not of the family.

    Raises ModelUnreadable when a part is missing, or predicts something that we do not know.
    """
    configs, kinds = contents.configs, classes(contents)
    for part in ("unet", "vae", *encoders, "scheduler"):
        if part not in configs:
            raise ModelUnreadable(f"This model has no {part.replace('_', ' ')}.")
        if kinds.get(part) not in _CLASSES.get(part, (kinds.get(part),)):
            return None
    unet = configs["unet"]
    widths = [width for encoder in encoders if isinstance(width := configs[encoder].get("hidden_size"), int)]
    native = _native(unet, configs["vae"])
    if unet.get("cross_attention_dim") != sum(widths) or native is None:
        return None
    return _identity(contents, family, defaults, unet.get("in_channels"), prediction(contents), native)


def identify_file(
    contents: Contents,
    family: str,
    defaults: Defaults,
    title: str,
    parts: Mapping[str, str],
    native: int,
    predicts: Prediction = "epsilon",
) -> Identity | None:
    """The identity of a file whose denoiser is the family's; None when that takes in something else than latents.

    parts     the beginnings of tensors' names -> what lacks when there is none
    predicts  what a model of the family predicts that does not say it

    Raises ModelUnreadable when a part is missing.
    """
    for prefix, part in parts.items():
        if not any(name.startswith(prefix) for name in contents.tensors):
            raise ModelUnreadable(f"This file is {title} without its {part}.", "Choose a file that holds all parts.")
    channels = contents.tensors[_FIRST_KERNEL][1]
    said = prediction(contents)
    return _identity(contents, family, defaults, channels, said or predicts, resolution(contents) or native)


def _identity(
    contents: Contents, family: str, defaults: Defaults, channels: Any, predicts: str | None, native: int
) -> Identity | None:
    if channels not in _CHANNELS:
        return None
    predicts = predicts or "epsilon"
    if predicts not in ("epsilon", "v_prediction"):
        raise ModelUnreadable("This model predicts something that Scumble cannot use.", "Choose another model.")
    known: Prediction = "v_prediction" if predicts == "v_prediction" else "epsilon"
    trailing, zero_snr, suits = variant(contents, defaults)
    return Identity(family, contents.layout, channels == 9, known, native, trailing, zero_snr, suits)


def _native(unet: Mapping[str, Any], vae: Mapping[str, Any]) -> int | None:
    """Side in px of the pictures that the UNet was trained on."""
    size, levels = unet.get("sample_size"), vae.get("block_out_channels")
    if not isinstance(size, int) or not isinstance(levels, list) or not levels:
        return None
    if not 1 <= size << len(levels) <= 1 << 16:
        return None
    return size << (len(levels) - 1)
