"""A loaded model with the parts of latent diffusion: a UNet, an autoencoder, CLIP text encoders. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ...protocol.errors import ModelUnreadable
from ..cache import States, converted
from ..conditioning import Conditioning, Residuals
from ..contents import read_contents, read_header, read_json, weight_files
from ..convert import read_folder, read_original
from ..device import Device
from ..memory import UNET, autoencoder_bytes, denoiser_bytes, memory_errors
from ..prompts import Prompt
from ..residents import Residents
from .base import NO_EMBEDDINGS, Identity, Prediction
from .clip import ClipText
from .modules import fill, in_range, silence_libraries
from .variants import prediction

_AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
_ENCODERS = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}

Colours = tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]
"""A linear map from scaled latents to colours in -1..1: for each latent channel its colour, and an offset."""


class UNetModel:
    """Stable Diffusion 1.x, and what its successors share. See base.Model, whose words these are.

    modules     component ("unet", "vae", "text_encoder", ...) -> its module, in the machine's memory
    tokenizers  of each of `encoders`, in order
    configs     component -> its configuration; also "scheduler" and, of a folder, "model_index"
    """

    latent_channels = 4
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    brief: ClassVar[tuple[str, ...]] = ()
    """Those of its parts that do not stay on a device beside the others (`residents.Residents`)."""
    pads: ClassVar[tuple[str, ...]] = ("<|endoftext|>",)
    """What a single file's encoders have learnt to see after the prompt."""
    colours: ClassVar[Colours] = (
        ((0.326, 0.232, 0.258), (0.175, 0.324, 0.091), (-0.199, 0.208, 0.241), (-0.150, -0.270, -0.605)),
        (0.006, -0.095, -0.159),
    )
    """The one with the least squared error on photographs encoded with the tiny autoencoder of Stable Diffusion 1.x (error
    0.18, spread of the colours 0.54)."""

    def __init__(
        self,
        identity: Identity,
        device: Device,
        modules: Mapping[str, Any],
        tokenizers: tuple[Any, ...],
        configs: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.identity = identity
        self.device = torch.device(device.torch_device)
        self.dtype = device.dtype
        self.parts: Mapping[str, Any] = {name: module for name, module in modules.items() if name != "vae"}
        self.scheduler_config = configs["scheduler"]
        self._unet, self._vae, self._text_encoder = modules["unet"], modules["vae"], modules["text_encoder"]
        self.residents = Residents(self.device, modules.values(), [modules[name] for name in self.brief])
        self._tokenizer = tokenizers[0]
        self.scale = 2 ** (len(self._vae.config.block_out_channels) - 1)
        self.told_guidance = bool(self._unet.config.time_cond_proj_dim)
        self._text = self._make_text()

    def _make_text(self) -> ClipText:
        return ClipText(self._text_encoder, self._tokenizer, self.device)

    def encode_prompt(
        self, prompt: Prompt, clip_skip: int = 1, embeddings: Mapping[str, Mapping[str, Tensor]] = NO_EMBEDDINGS
    ) -> Conditioning:
        # Those of SDXL have two, one for each of its text encoders.
        single = {word: next(iter(tensors.values())) for word, tensors in embeddings.items() if len(tensors) == 1}
        vectors = {word: tensor for word, tensor in single.items() if self._text.fits(tensor)}
        self.residents.bring(self._text_encoder)
        return self._text.encode(prompt, clip_skip, vectors)

    def time_shift(self, height: int, width: int, steps: int) -> float | None:
        return None

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        factor = self._vae.config.scaling_factor

        def encode() -> Any:
            self.residents.bring(self._vae, self._autoencoding(image.shape))
            return self._vae.encode(self._here(image))

        encoded = in_range(self._vae, encode, _latents)
        mean = _latents(encoded) * factor
        if isinstance(self._vae, AutoencoderTiny):
            return mean, torch.zeros_like(mean)
        return mean, encoded.latent_dist.std * factor

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        factor = self._vae.config.scaling_factor

        def decode() -> Any:
            self.residents.bring(self._vae, self._autoencoding(latents.shape, self.scale))
            return self._vae.decode(self._here(latents) / factor)

        image: Tensor = in_range(self._vae, decode, lambda output: output.sample).sample
        return image

    @torch.no_grad()
    def predict(
        self, latents: Tensor, timestep: Tensor, conditioning: Conditioning, residuals: Residuals | None = None
    ) -> Tensor:
        self.residents.bring(self._unet, self.denoising(latents.shape))
        output: Tensor = self._unet(
            latents,
            timestep,
            **self.told(latents, conditioning),
            down_block_additional_residuals=None if residuals is None else residuals.down,
            mid_block_additional_residual=None if residuals is None else residuals.mid,
        ).sample
        return output

    def lora_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return tensors

    def denoising(self, shape: torch.Size) -> int:
        return denoiser_bytes(UNET, shape[0] * shape[2:].numel() * self.scale**2, self.dtype.itemsize)

    def _autoencoding(self, shape: torch.Size, scale: int = 1) -> int:
        return autoencoder_bytes(shape[2:].numel() * scale**2, self._vae.dtype.itemsize)

    def told(self, latents: Tensor, conditioning: Conditioning) -> Mapping[str, Any]:
        tokens, references = conditioning.tokens, list(conditioning.references)
        told: dict[str, Any] = {"encoder_hidden_states": (tokens, references) if references else tokens}
        if self.told_guidance and conditioning.guidance is not None:
            # As in training (Luo et al., 2023, Latent Consistency Models): the weight above 1, in thousandths.
            weight = torch.full((len(latents),), (conditioning.guidance - 1) * 1000, device=latents.device)
            width = self._unet.config.time_cond_proj_dim
            embedded = get_timestep_embedding(weight, width, flip_sin_to_cos=False, downscale_freq_shift=1)
            told["timestep_cond"] = embedded.to(latents.dtype)
        return told

    @torch.no_grad()
    def preview(self, latents: Tensor) -> Tensor:
        if isinstance(self._vae, AutoencoderTiny):
            return self.decode_latents(latents)
        matrix, offset = self.colours
        colours = torch.einsum("nchw,cr->nrhw", latents.float(), latents.new_tensor(matrix).float())
        return colours + latents.new_tensor(offset).float().reshape(3, 1, 1)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self._vae.dtype)


class Sd2Model(UNetModel):
    """Stable Diffusion 2.x. It was trained on the last layer but one of its text encoder, and is published without the
    last."""

    pads = ("!",)

    def _make_text(self) -> ClipText:
        return ClipText(self._text_encoder, self._tokenizer, self.device, layer=2, cut=1)


_SIDE, _NOISIEST = 16, 999  # latent pixels; of 1000 timesteps

Kind = TypeVar("Kind", bound=UNetModel)


def load(
    kind: type[Kind], path: Path, identity: Identity, device: Device, cache: Path, files: Path, tokenizer: Path
) -> Kind:
    """Loads the model at `path`; `files` and `tokenizer` hold what a single file does not bring.

    Raises ModelUnreadable, OutOfMemory.
    """
    components = ("unet", "vae", *kind.encoders)

    def weights(modules: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> States:
        with memory_errors():
            return converted(path, cache, device, lambda: _read(path, identity, components, configs))

    model = assemble(kind, path, identity, device, files, tokenizer, weights)
    if identity.layout == "single" and prediction(read_contents(path)) is None:
        predicts = measured_prediction(model)
        model.identity = replace(identity, prediction=predicts)
        model.scheduler_config = {**model.scheduler_config, "prediction_type": predicts}
    return model


def assemble(
    kind: type[Kind],
    path: Path,
    identity: Identity,
    device: Device,
    files: Path,
    tokenizer: Path,
    weights: Callable[[Mapping[str, Any], Mapping[str, Mapping[str, Any]]], States],
) -> Kind:
    """As load, of the weights that `weights` gives for the modules, which have none yet, and their configurations."""
    silence_libraries()
    components = ("unet", "vae", *kind.encoders)
    configs = _configs(path, identity, components, files)
    modules = _build(configs, components)
    if identity.layout == "diffusers":
        names = (encoder.replace("text_encoder", "tokenizer") for encoder in kind.encoders)
        tokenizers = tuple(_tokenizer(path / name) for name in names)
    else:
        tokenizers = tuple(_tokenizer(tokenizer, pad_token=pad) for pad in kind.pads)
    states = weights(modules, configs)
    for name, module in modules.items():
        fill(module, states[name])
    return kind(identity, device, modules, tokenizers, configs)


def measured_prediction(model: UNetModel) -> Prediction:
    """What a denoiser predicts whose file does not say it.

    At the noisiest timestep its input is noise but for some percent. So is then an answer in noise, whatever picture it
    sees in it; an answer in v (Salimans and Ho, 2022) is that picture, with its sign turned, but for as little.
    """
    noise = torch.randn(1, model.latent_channels, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    blank = torch.zeros(1, model.parts["unet"].config.in_channels - model.latent_channels, _SIDE, _SIDE)
    inputs = torch.cat([noise, blank], dim=1).to(model.device, model.dtype)
    answer = model.predict(inputs, torch.tensor(_NOISIEST, device=model.device), model.encode_prompt(Prompt()))
    likeness = F.cosine_similarity(answer.float().cpu().flatten(), noise.flatten(), dim=0)
    return "epsilon" if likeness > 0.5 else "v_prediction"


def _latents(encoded: Any) -> Tensor:
    latents: Tensor = encoded.latents if "latents" in encoded else encoded.latent_dist.mean
    return latents


def _configs(path: Path, identity: Identity, components: tuple[str, ...], files: Path) -> dict[str, Mapping[str, Any]]:
    if identity.layout == "diffusers":
        configs = dict(read_contents(path).configs)
    else:
        configs = {name: read_json(files / f"{name}.json") for name in (*components, "scheduler")}
        configs["unet"] = {**configs["unet"], "in_channels": 9 if identity.inpaint else 4}
        said = {"prediction_type": identity.prediction, "rescale_betas_zero_snr": identity.zero_snr}
        configs["scheduler"] = {**configs["scheduler"], **said}
    if identity.trailing:
        configs["scheduler"] = {**configs["scheduler"], "timestep_spacing": "trailing"}
    return configs


def _build(configs: Mapping[str, Mapping[str, Any]], components: tuple[str, ...]) -> dict[str, Any]:
    """The modules without weights: on torch's meta device nothing is allocated and nothing is initialised."""
    try:
        with torch.device("meta"):
            return {name: _module(name, dict(configs[name])) for name in components}
    except Exception as error:  # whatever a library makes of numbers that make no sense
        raise ModelUnreadable("A description inside this model is damaged.") from error


def _module(name: str, config: dict[str, Any]) -> Any:
    if name == "unet":
        return UNet2DConditionModel.from_config(config)
    if name == "vae":
        return _AUTOENCODERS[config["_class_name"]].from_config(config)
    return _ENCODERS[name](CLIPTextConfig.from_dict(config))


def _tokenizer(folder: Path, **options: Any) -> Any:
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True, **options)
    except Exception as error:  # the library raises nothing more special
        raise ModelUnreadable("This model's tokenizer is missing or damaged.") from error


def _read(
    path: Path, identity: Identity, components: tuple[str, ...], configs: Mapping[str, Mapping[str, Any]]
) -> States:
    is_folder = identity.layout == "diffusers"
    for file in [file for name in components for file in weight_files(path / name)] if is_folder else [path]:
        read_header(file)
    try:
        with memory_errors():
            return read_folder(path, components) if is_folder else read_original(path, configs)
    except (OSError, SafetensorError, LookupError) as error:
        raise ModelUnreadable("A part of this model is missing or damaged.") from error
