"""Stable Diffusion 2.x: the UNet of version 1 with linear projections, which attends to OpenCLIP ViT-H. It predicts v at
768 px; the base model and the inpainting one predict noise at 512 px."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...protocol.messages import Capability
from ..samplers import SAMPLERS
from .base import Contents, Defaults, Identity
from .latent import CAPABILITIES, FIRST_ATTENTION, TOKENIZER, classes, file_channels, identify_file, identify_folder
from .variants import resolution

if TYPE_CHECKING:
    from ..device import Device
    from .base import Model

FILES = Path(__file__).parent / "sd2_files"
"""Configurations of Stable Diffusion 2.1, for single files, which bring none."""

_TOKEN_WIDTH = 1024  # of OpenCLIP ViT-H/14
_BASE, _LARGE = 512, 768  # px
_SINGLE_PARTS = {
    "model.diffusion_model.": "denoiser",
    "first_stage_model.": "autoencoder",
    "cond_stage_model.model.": "text encoder",
}


class Sd2:
    name = "sd2"
    multiple = 8
    defaults = Defaults(steps=20, guidance=7.0, sampler="dpmpp_2m_karras")
    samplers = SAMPLERS
    capabilities: tuple[Capability, ...] = tuple(each for each in CAPABILITIES if each != "references")
    """No IP-Adapter is made for it."""

    def identify(self, contents: Contents) -> Identity | None:
        """Raises ModelUnreadable when it is of this family and a part is missing, or is none that we can run."""
        if contents.layout == "diffusers":
            parts, unet = classes(contents), contents.configs.get("unet", {})
            if parts.get("unet") != "UNet2DConditionModel" or parts.get("text_encoder_2"):
                return None
            if not unet.get("use_linear_projection") or unet.get("addition_embed_type"):
                return None
            return identify_folder(contents, self.name, self.defaults)
        channels, width = file_channels(contents, FIRST_ATTENTION) or (0, 0)
        if width != _TOKEN_WIDTH:
            return None
        base = channels == 9 or _is_base(contents)
        return identify_file(
            contents,
            self.name,
            self.defaults,
            "a Stable Diffusion 2.x model",
            _SINGLE_PARTS,
            _BASE if base else _LARGE,
            "epsilon" if base else "v_prediction",
        )

    def load(self, path: Path, identity: Identity, device: Device, cache: Path) -> Model:
        from .unet_model import Sd2Model, load

        return load(Sd2Model, path, identity, device, cache, FILES, TOKENIZER)


SD2 = Sd2()


def _is_base(contents: Contents) -> bool:
    """Whether a file is of the base model at 512 px. The two differ in no name and no shape, so the resolution in its
    metadata counts, then what it is called, as with the published files (`v2-1_512-ema-pruned`, `512-base-ema`). What a
    file predicts that does not say it, is found out for certain when it is loaded."""
    side = resolution(contents)
    return side < _LARGE if side else "512" in contents.name or "turbo" in contents.name.lower()
