"""Stable Diffusion 1.x: a UNet of four latent channels (nine in the inpainting variant) that attends to one CLIP text
encoder. Smaller models of the same parts, in folders that bring their own configuration, are of the family too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...protocol.errors import ModelUnreadable
from .base import Contents, Defaults, Identity, Prediction

if TYPE_CHECKING:
    from ..device import Device
    from .base import Model

FILES = Path(__file__).parent / "sd1_files"
"""Configurations and tokenizer of Stable Diffusion 1.5, for single files, which bring none."""

_TOKEN_WIDTH = 768  # of CLIP ViT-L/14, which tells version 1 from its successors
_NATIVE = 512  # px
_PARTS = ("unet", "vae", "text_encoder", "scheduler")
_CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "text_encoder": ("CLIPTextModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
}
_SINGLE_PARTS = {
    "model.diffusion_model.": "denoiser",
    "first_stage_model.": "autoencoder",
    "cond_stage_model.transformer.": "text encoder",
}
_FIRST_KERNEL = "model.diffusion_model.input_blocks.0.0.weight"
_FIRST_ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


class Sd1:
    name = "sd1"
    multiple = 8
    defaults = Defaults(steps=20, guidance=7.0, sampler="dpmpp_2m_karras")

    def identify(self, contents: Contents) -> Identity | None:
        """Raises ModelUnreadable when it is of this family and a part is missing, or is none that we can run."""
        return _identify_folder(contents) if contents.layout == "diffusers" else _identify_file(contents)

    def load(self, path: Path, identity: Identity, device: Device, cache: Path) -> Model:
        from .sd1_model import load

        return load(path, identity, device, cache, FILES)


SD1 = Sd1()


def _identify_folder(contents: Contents) -> Identity | None:
    index, configs = contents.configs["model_index"], contents.configs
    classes = {name: kind[1] for name, kind in index.items() if isinstance(kind, list) and len(kind) == 2}
    unet = configs.get("unet", {})
    # Two text encoders are SDXL's. Version 2 differs from 1 in its linear projections and its wider tokens.
    if (
        classes.get("unet") not in _CLASSES["unet"]
        or classes.get("text_encoder_2")
        or unet.get("use_linear_projection")
    ):
        return None
    for part in _PARTS:
        if part not in configs:
            raise ModelUnreadable(f"This model has no {part.replace('_', ' ')}.")
        if classes.get(part) not in _CLASSES.get(part, (classes.get(part),)):
            return None
    width = configs["text_encoder"].get("hidden_size")
    channels = unet.get("in_channels")
    native = _native(unet, configs["vae"])
    if unet.get("cross_attention_dim") != width or native is None:
        return None
    return _identity(contents, channels, configs["scheduler"].get("prediction_type", "epsilon"), native)


def _identify_file(contents: Contents) -> Identity | None:
    kernel, attention = contents.tensors.get(_FIRST_KERNEL), contents.tensors.get(_FIRST_ATTENTION)
    if kernel is None or attention is None or len(kernel) != 4 or attention[1:] != (_TOKEN_WIDTH,):
        return None
    for prefix, part in _SINGLE_PARTS.items():
        if not any(name.startswith(prefix) for name in contents.tensors):
            raise ModelUnreadable(
                f"This file is a Stable Diffusion 1.x model without its {part}.", "Choose a file that holds all parts."
            )
    # ModelSpec 1.0 writes it into the metadata; older trainers leave an empty tensor of that name.
    is_v = contents.metadata.get("modelspec.prediction_type") in ("v", "v_prediction") or "v_pred" in contents.tensors
    return _identity(contents, kernel[1], "v_prediction" if is_v else "epsilon", _NATIVE)


def _identity(contents: Contents, channels: Any, prediction: Any, native: int) -> Identity | None:
    if channels not in (4, 9):  # 8 are of InstructPix2Pix, 5 of depth and upscaling
        return None
    if prediction not in ("epsilon", "v_prediction"):
        raise ModelUnreadable("This model predicts something that Scumble cannot use.", "Choose another model.")
    known: Prediction = prediction
    return Identity(SD1.name, contents.layout, channels == 9, known, native)


def _native(unet: Mapping[str, Any], vae: Mapping[str, Any]) -> int | None:
    """Side in px of the pictures that the UNet was trained on."""
    size, levels = unet.get("sample_size"), vae.get("block_out_channels")
    if not isinstance(size, int) or not isinstance(levels, list) or not 1 <= size << len(levels) <= 1 << 16:
        return None
    return size << (len(levels) - 1)
