"""SDXL (Podell et al., 2023), and what is trained from it: Illustrious, NoobAI, Pony and thousands of others. Its UNet
attends to two text encoders side by side, and is told the prompt as a whole and the size of the picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...protocol.errors import ModelUnreadable
from ..samplers import SAMPLERS
from .base import Contents, Defaults, Identity
from .latent import CAPABILITIES, TOKENIZER, classes, file_channels, identify_file, identify_folder

if TYPE_CHECKING:
    from ..device import Device
    from .base import Model

FILES = Path(__file__).parent / "sdxl_files"
"""Configurations of SDXL 1.0, for single files, which bring none."""

_TOKEN_WIDTH = 2048  # of CLIP ViT-L and OpenCLIP ViT-bigG together
_REFINER_WIDTH = 1280  # of OpenCLIP ViT-bigG alone
_NATIVE = 1024  # px
_TURBO, _TURBO_NATIVE = (
    "sd_xl_turbo",
    512,
)  # px; the published file says it nowhere else. What others made of it has 1024.
_SINGLE_PARTS = {
    "model.diffusion_model.": "denoiser",
    "first_stage_model.": "autoencoder",
    "conditioner.embedders.0.": "first text encoder",
    "conditioner.embedders.1.": "second text encoder",
}
_ATTENTION = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
_DEEPEST = "model.diffusion_model.middle_block.1.transformer_blocks.9.attn2.to_k.weight"
"""Smaller relatives (SSD-1B, Vega) have it not."""


class Sdxl:
    name = "sdxl"
    multiple = 8
    defaults = Defaults(steps=20, guidance=7.0, sampler="dpmpp_2m_karras", inpaint_above=0.8)
    samplers = SAMPLERS
    capabilities = CAPABILITIES

    def identify(self, contents: Contents) -> Identity | None:
        """Raises ModelUnreadable when it is of this family and a part is missing, or is none that we can run."""
        if contents.layout == "diffusers":
            parts, unet = classes(contents), contents.configs.get("unet", {})
            if parts.get("unet") != "UNet2DConditionModel" or unet.get("addition_embed_type") != "text_time":
                return None
            if not parts.get("text_encoder") and parts.get("text_encoder_2"):
                raise _refiner()
            return identify_folder(contents, self.name, self.defaults, ("text_encoder", "text_encoder_2"))
        _, width = file_channels(contents, _ATTENTION) or (0, 0)
        if width == _REFINER_WIDTH:
            raise _refiner()
        if width != _TOKEN_WIDTH or _DEEPEST not in contents.tensors:
            return None
        native = _TURBO_NATIVE if contents.name.startswith(_TURBO) else _NATIVE
        return identify_file(contents, self.name, self.defaults, "an SDXL model", _SINGLE_PARTS, native)

    def load(self, path: Path, identity: Identity, device: Device, cache: Path) -> Model:
        from .sdxl_model import SdxlModel
        from .unet_model import load

        return load(SdxlModel, path, identity, device, cache, FILES, TOKENIZER)


SDXL = Sdxl()


def _refiner() -> ModelUnreadable:
    return ModelUnreadable(
        "This is SDXL's refiner, which only finishes pictures that another model began.", "Choose an SDXL base model."
    )
