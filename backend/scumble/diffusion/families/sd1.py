"""Stable Diffusion 1.x: a UNet of four latent channels (nine in the inpainting variant) that attends to one CLIP text
encoder. Smaller models of the same parts, in folders that bring their own configuration, are of the family too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..samplers import SAMPLERS
from .base import Contents, Defaults, Identity
from .latent import CAPABILITIES, FIRST_ATTENTION, TOKENIZER, classes, file_channels, identify_file, identify_folder

if TYPE_CHECKING:
    from ..device import Device
    from .base import Model

FILES = Path(__file__).parent / "sd1_files"
"""Configurations of Stable Diffusion 1.5, for single files, which bring none."""

_TOKEN_WIDTH = 768  # of CLIP ViT-L/14, which tells version 1 from its successors
_NATIVE = 512  # px
_SINGLE_PARTS = {
    "model.diffusion_model.": "denoiser",
    "first_stage_model.": "autoencoder",
    "cond_stage_model.transformer.": "text encoder",
}


class Sd1:
    name = "sd1"
    multiple = 8
    defaults = Defaults(steps=20, guidance=7.0, sampler="dpmpp_2m_karras")
    samplers = SAMPLERS
    capabilities = CAPABILITIES

    def identify(self, contents: Contents) -> Identity | None:
        """Raises ModelUnreadable when it is of this family and a part is missing, or is none that we can run."""
        if contents.layout == "diffusers":
            parts, unet = classes(contents), contents.configs.get("unet", {})
            # Two text encoders are SDXL's. Version 2 differs from 1 in its linear projections and its wider tokens.
            other = parts.get("text_encoder_2") or unet.get("use_linear_projection")
            if parts.get("unet") != "UNet2DConditionModel" or other:
                return None
            return identify_folder(contents, self.name, self.defaults)
        _, width = file_channels(contents, FIRST_ATTENTION) or (0, 0)
        if width != _TOKEN_WIDTH:
            return None
        return identify_file(contents, self.name, self.defaults, "a Stable Diffusion 1.x model", _SINGLE_PARTS, _NATIVE)

    def load(self, path: Path, identity: Identity, device: Device, cache: Path) -> Model:
        from .unet_model import UNetModel, load

        return load(UNetModel, path, identity, device, cache, FILES, TOKENIZER)


SD1 = Sd1()
