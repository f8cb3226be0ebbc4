"""A loaded Stable Diffusion 1.x model. Imports torch: only sd1.load comes here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ...protocol.errors import ModelUnreadable
from ..cache import States, converted
from ..conditioning import Conditioning, Residuals
from ..contents import read_contents, read_header, read_json, weight_files
from ..convert import read_folder, read_original
from ..device import Device
from ..memory import memory_errors
from ..prompts import Prompt
from .base import NO_EMBEDDINGS, Identity
from .clip import ClipText, other_kind

_COMPONENTS = ("unet", "vae", "text_encoder")
_AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}

_LATENT_TO_RGB = (
    (0.326, 0.232, 0.258),
    (0.175, 0.324, 0.091),
    (-0.199, 0.208, 0.241),
    (-0.150, -0.270, -0.605),
)
_LATENT_TO_RGB_OFFSET = (0.006, -0.095, -0.159)
"""The linear map from scaled latents to colours in -1..1 with the least squared error on photographs encoded with the tiny
autoencoder of Stable Diffusion 1.x (error 0.18, spread of the colours 0.54)."""


class Sd1Model:
    """See base.Model, whose words these are."""

    latent_channels = 4

    def __init__(
        self,
        identity: Identity,
        device: Device,
        unet: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler_config: Mapping[str, Any],
    ) -> None:
        self.identity = identity
        self.device = torch.device(device.torch_device)
        self.dtype = device.dtype
        self.scale = 2 ** (len(vae.config.block_out_channels) - 1)
        self.scheduler_config = scheduler_config
        self._unet, self._vae, self._text_encoder, self._tokenizer = unet, vae, text_encoder, tokenizer
        self._text = ClipText(text_encoder, tokenizer)

    def encode_prompt(
        self, prompt: Prompt, clip_skip: int = 1, embeddings: Mapping[str, Mapping[str, Tensor]] = NO_EMBEDDINGS
    ) -> Conditioning:
        vectors = {word: _vectors(word, tensors) for word, tensors in embeddings.items()}
        return Conditioning(self._text.encode(prompt, clip_skip, vectors))

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        image, factor = self._here(image), self._vae.config.scaling_factor
        encoded = self._vae.encode(image)
        if isinstance(self._vae, AutoencoderTiny):
            mean = encoded.latents * factor
            return mean, torch.zeros_like(mean)
        return encoded.latent_dist.mean * factor, encoded.latent_dist.std * factor

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        image = self._decode(latents)
        if self._vae.dtype == torch.float16 and not image.isfinite().all():
            self._vae.float()  # some autoencoders leave the range of float16; this one does, so it stays in float32
            image = self._decode(latents)
        return image

    def _decode(self, latents: Tensor) -> Tensor:
        image: Tensor = self._vae.decode(self._here(latents) / self._vae.config.scaling_factor).sample
        return image

    @torch.no_grad()
    def predict(
        self, latents: Tensor, timestep: Tensor, conditioning: Conditioning, residuals: Residuals | None = None
    ) -> Tensor:
        output: Tensor = self._unet(
            latents,
            timestep,
            **self.told(latents, conditioning),
            down_block_additional_residuals=None if residuals is None else residuals.down,
            mid_block_additional_residual=None if residuals is None else residuals.mid,
        ).sample
        return output

    def told(self, latents: Tensor, conditioning: Conditioning) -> Mapping[str, Any]:
        return {"encoder_hidden_states": conditioning.tokens}

    @torch.no_grad()
    def preview(self, latents: Tensor) -> Tensor:
        if isinstance(self._vae, AutoencoderTiny):
            return self.decode_latents(latents)
        colours = torch.einsum("nchw,cr->nrhw", latents.float(), latents.new_tensor(_LATENT_TO_RGB).float())
        return colours + latents.new_tensor(_LATENT_TO_RGB_OFFSET).float().reshape(3, 1, 1)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self._vae.dtype)


def load(path: Path, identity: Identity, device: Device, cache: Path, files: Path) -> Sd1Model:
    """Loads the model at `path`; `files` holds what a single file does not bring. Raises ModelUnreadable, OutOfMemory."""
    for library in (diffusers.utils, transformers.utils):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
    configs = _configs(path, identity, files)
    modules = _build(configs)
    tokenizer = _tokenizer(path / "tokenizer" if identity.layout == "diffusers" else files / "tokenizer")
    with memory_errors():
        states = converted(path, cache, device, lambda: _read(path, identity, configs))
    for name, module in modules.items():
        _fill(module, states[name])
    return Sd1Model(identity, device, **modules, tokenizer=tokenizer, scheduler_config=configs["scheduler"])


def _vectors(word: str, tensors: Mapping[str, Tensor]) -> Tensor:
    if len(tensors) != 1:  # those of SDXL have one for each of its text encoders
        raise other_kind(word)
    return next(iter(tensors.values()))


def _configs(path: Path, identity: Identity, files: Path) -> dict[str, Mapping[str, Any]]:
    if identity.layout == "diffusers":
        return dict(read_contents(path).configs)
    configs = {name: read_json(files / f"{name}.json") for name in (*_COMPONENTS, "scheduler")}
    configs["unet"]["in_channels"] = 9 if identity.inpaint else 4
    configs["scheduler"]["prediction_type"] = identity.prediction
    return dict(configs)


def _build(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The modules without weights: on torch's meta device nothing is allocated and nothing is initialised."""
    try:
        with torch.device("meta"):
            return {
                "unet": UNet2DConditionModel.from_config(dict(configs["unet"])),
                "vae": _AUTOENCODERS[configs["vae"]["_class_name"]].from_config(dict(configs["vae"])),
                "text_encoder": CLIPTextModel(CLIPTextConfig.from_dict(dict(configs["text_encoder"]))),
            }
    except Exception as error:  # whatever a library makes of numbers that make no sense
        raise ModelUnreadable("A description inside this model is damaged.") from error


def _tokenizer(folder: Path) -> Any:
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the library raises nothing more special
        raise ModelUnreadable("This model's tokenizer is missing or damaged.") from error


def _read(path: Path, identity: Identity, configs: Mapping[str, Mapping[str, Any]]) -> States:
    is_folder = identity.layout == "diffusers"
    for file in [file for name in _COMPONENTS for file in weight_files(path / name)] if is_folder else [path]:
        read_header(file)
    try:
        return read_folder(path, _COMPONENTS) if is_folder else read_original(path, configs["unet"], configs["vae"])
    except (OSError, SafetensorError, LookupError) as error:
        raise ModelUnreadable("A part of this model is missing or damaged.") from error


def _fill(module: torch.nn.Module, state: dict[str, Tensor]) -> None:
    try:
        missing, _ = module.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:  # shapes that differ
        raise ModelUnreadable("The parts of this model do not fit together.") from error
    if missing:
        raise ModelUnreadable("A part of this model is missing.")
    module.requires_grad_(False).eval()
