"""Z-Image (Apache-2.0): a transformer of 6 billion parameters that reads prompts with Qwen 3. Turbo paints in nine steps;
the model that it was distilled from takes more."""

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
_TURBO_SHIFT = 3.0
"""Of the schedule. It is all that a folder says of the two: the other one has 6."""
_BASE = Defaults(steps=28, guidance=5.0, sampler="euler")
"""It is published with 28 to 50 steps, and with a guidance of 3 to 5 as diffusers counts for it: none is 0, not 1."""


class ZImage:
    name = "z_image"
    multiple = 16
    defaults = Defaults(steps=9, guidance=1.0, sampler="euler")
    samplers = SAMPLERS
    capabilities = CAPABILITIES

    def identify(self, contents: Contents) -> Identity | None:
        """Raises ModelUnreadable when it is of this family and a part is missing."""
        shift = contents.configs.get("scheduler", {}).get("shift", _TURBO_SHIFT)
        return identify_transformer(contents, self.name, _PARTS, None if shift == _TURBO_SHIFT else _BASE)

    def load(self, path: Path, identity: Identity, device: Device, cache: Path) -> Model:
        from .flow_model import load
        from .z_image_model import ZImageModel

        return load(ZImageModel, path, identity, device)


Z_IMAGE = ZImage()
