"""What a family of models is to the rest of Scumble. Importing a family must not import torch: the model store asks
families what a file is, in the server's process; only `load` may import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ...protocol.messages import Capability

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..conditioning import Conditioning, Residuals
    from ..device import Device
    from ..prompts import Prompt

Prediction = Literal["epsilon", "v_prediction", "flow"]
NO_EMBEDDINGS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Contents:
    """What a model's files say about it without reading its weights.

    tensors   name -> shape of the denoiser's file (folder layout) or of the whole file (single layout)
    configs   folder layout: component name ("unet", "vae", "scheduler", "model_index", ...) -> its JSON; else empty
    metadata  the safetensors header's ``__metadata__``
    name      what its user calls it; "" where nobody asked. Proves nothing, and counts only where nothing else tells
    """

    layout: Literal["diffusers", "single"]
    tensors: Mapping[str, tuple[int, ...]]
    configs: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, str]
    name: str = ""


@dataclass(frozen=True)
class Defaults:
    """`inpaint_above`: the strength (0..1) up to which inpaint weights do better as a plain denoiser: told what surrounds
    the hole they paint it anew, however little they are to change."""

    steps: int
    guidance: float
    sampler: str
    inpaint_above: float = 0.5


@dataclass(frozen=True)
class Identity:
    """What a model is: enough to list it, plan for it and load it.

    native    side in px of the pictures that it was trained on
    trailing  its timesteps are counted from the noisiest, which it must see: models of few steps, and of `zero_snr`
    zero_snr  its noisiest timestep is noise alone (Lin et al. 2024, Common Diffusion Noise Schedules and Sample Steps Are
              Flawed)
    suits     the settings that it was made for, where they are not its family's
    """

    family: str
    layout: Literal["diffusers", "single"]
    inpaint: bool
    prediction: Prediction
    native: int
    trailing: bool = False
    zero_snr: bool = False
    suits: Defaults | None = None


class Model(Protocol):
    """A loaded model: the components of one architecture behind five calls. Tensors live on `device` in `dtype`.

    Latents are scaled as the denoiser expects them; images are (n, 3, h, w) in -1..1.
    """

    identity: Identity
    device: Any
    dtype: Any
    latent_channels: int
    scale: int
    """Pixels of the image for each latent pixel of a side (8 for Stable Diffusion)."""
    parts: Mapping[str, Any]
    """The modules that LoRAs change, by the names of diffusers ("unet", "transformer", "text_encoder", ...). Control
    networks are made to the measure of the one named "unet"."""
    scheduler_config: Mapping[str, Any]
    """The model's own scheduler configuration; prediction type and betas come from here."""
    told_guidance: bool
    """Whether the denoiser is told the guidance and answers with it applied (`Conditioning.guidance`): such a model has
    no use for a negative prompt."""

    residents: Any
    """`residents.Residents`: what of it is on the device, and what rests in the machine's memory until it is needed."""

    def time_shift(self, height: int, width: int, steps: int) -> float | None:
        """By how much a schedule of flow matching leans towards noise for latents of this size (the `mu` of Esser et al.,
        2024, Scaling Rectified Flow Transformers); None for models of noise."""
        ...

    def encode_prompt(
        self, prompt: Prompt, clip_skip: int = 1, embeddings: Mapping[str, Mapping[str, Tensor]] = NO_EMBEDDINGS
    ) -> Conditioning:
        """A prompt in n chunks as (1, n * tokens, width); that of `Prompt()` is the unconditional one.

        clip_skip   which of the text encoder's layers to take, counted from the end; 1 = the last. A denoiser that was
                    trained on an earlier one gets that one at least: as prompts are passed around, "clip skip 2" is
                    the usual layer of SDXL, not one further
        embeddings  the words of the prompt that are textual inversions -> the tensors of their files; those that are made
                    for another kind of model are words like others

        Raises BadRequest, ModelUnreadable.
        """
        ...

    def encode_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (each (n, c, h / scale, w / scale)) of the scaled latents; the deviation is 0
        where the autoencoder is deterministic."""
        ...

    def decode_latents(self, latents: Tensor) -> Tensor: ...

    def predict(
        self, latents: Tensor, timestep: Tensor, conditioning: Conditioning, residuals: Residuals | None = None
    ) -> Tensor:
        """The denoiser's raw output (n, c, h, w).

        latents       (n, c, h, w); 9 channels for an inpaint model: latents, mask, masked image (the order of Stable
                      Diffusion's own inpainting weights)
        timestep      ()
        conditioning  of n prompts. What an architecture asks for beside them it takes from the latents: SDXL is told the
                      size of the picture, h * scale by w * scale
        residuals     what control networks add, in the model's dtype; only ever given to architectures with a UNet
        """
        ...

    def lora_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Those of a LoRA's file under names that `lora_names` knows. Raises whatever a library makes of a file that is not
        made for such a model."""
        ...

    def denoising(self, shape: torch.Size) -> int:
        """Bytes that a denoiser takes beside its weights for latents of this shape, (n, c, h, w)."""
        ...

    def told(self, latents: Tensor, conditioning: Conditioning) -> Mapping[str, Any]:
        """What the denoiser is called with beside latents and timestep, by the names of diffusers' UNets: a control
        network of the same architecture is called with the very same."""
        ...

    def preview(self, latents: Tensor) -> Tensor:
        """A small (n, 3, h, w) picture of an estimate of the finished latents, cheap."""
        ...


class Family(Protocol):
    name: str
    multiple: int
    """A side of the model's picture must be a multiple of this."""
    defaults: Defaults
    samplers: tuple[str, ...]
    """Those of samplers.SAMPLERS that its models can be painted with."""
    capabilities: tuple[Capability, ...]

    def identify(self, contents: Contents) -> Identity | None:
        """The identity when the contents are of this architecture, else None."""
        ...

    def load(self, path: Path, identity: Identity, device: Device, cache: Path) -> Model:
        """Loads it ready to run; keeps a converted copy under `cache` so that the next time is quick.

        Raises ModelUnreadable, OutOfMemory.
        """
        ...
