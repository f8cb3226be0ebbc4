"""FLUX.2 klein: the small models of FLUX.2, which read prompts with Qwen 3. Those with 4 billion parameters are under
Apache-2.0; the large model (dev) has another language model and is not of the family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .base import Contents, Defaults, Identity
from .flow import CAPABILITIES, SAMPLERS, identify_transformer

if TYPE_CHECKING:
    from ..device import Device
    from .base import Model

_PARTS = {
    "transformer": ("Flux2Transformer2DModel",),
    "vae": ("AutoencoderKLFlux2",),
    "text_encoder": ("Qwen3ForCausalLM", "Qwen3Model"),
}
_BASE = Defaults(steps=50, guidance=4.0, sampler="euler")
"""Of the models that are not distilled to few steps."""


class Flux2:
    name = "flux2"
    multiple = 16
    defaults = Defaults(steps=4, guidance=1.0, sampler="euler")
    samplers = SAMPLERS
    capabilities = CAPABILITIES

    def identify(self, contents: Contents) -> Identity | None:
        """Raises ModelUnreadable when it is of this family and a part is missing."""
        distilled = contents.configs.get("model_index", {}).get("is_distilled", False)
        return identify_transformer(contents, self.name, _PARTS, None if distilled else _BASE)

    def load(self, path: Path, identity: Identity, device: Device, cache: Path) -> Model:
        from .flow_model import load
        from .flux2_model import Flux2Model

        return load(Flux2Model, path, identity, device)


FLUX2 = Flux2()
