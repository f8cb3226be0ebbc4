"""Z-Image Turbo (Apache-2.0): a transformer of 6 billion parameters that reads prompts with Qwen 3, in nine steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .base import Contents, Defaults, Identity
from .flow import CAPABILITIES, SAMPLERS, identify_transformer

if TYPE_CHECKING:
    from ..device import Device
    from .base import Model

_PARTS = {
    "transformer": ("ZImageTransformer2DModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("Qwen3Model", "Qwen3ForCausalLM"),
}


class ZImage:
    name = "z_image"
    multiple = 16
    defaults = Defaults(steps=9, guidance=1.0, sampler="euler")
    samplers = SAMPLERS
    capabilities = CAPABILITIES

    def identify(self, contents: Contents) -> Identity | None:
        """Raises ModelUnreadable when it is of this family and a part is missing."""
        return identify_transformer(contents, self.name, _PARTS, None)

    def load(self, path: Path, identity: Identity, device: Device, cache: Path) -> Model:
        from .flow_model import load
        from .z_image_model import ZImageModel

        return load(ZImageModel, path, identity, device)


Z_IMAGE = ZImage()
