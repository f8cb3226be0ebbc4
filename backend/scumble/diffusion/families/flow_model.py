"""What loaded models of flow matching share: a transformer that attends to a language model's reading of the prompt.
Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import diffusers
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3Model

from ...protocol.errors import ModelUnreadable
from ..conditioning import Conditioning, Residuals
from ..contents import read_contents, read_header, weight_files
from ..device import Device
from ..lora_names import split_key
from ..memory import TRANSFORMER, autoencoder_bytes, denoiser_bytes, memory_errors
from ..prompts import Prompt
from ..residents import Residents
from .base import NO_EMBEDDINGS, Identity
from .modules import fill, in_range, silence_libraries

_COMPONENTS = ("transformer", "vae", "text_encoder")
_TOKENS = 512
_TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
"""How Qwen 3 is asked. Written here, as the template in a model's files is a program."""
_PREVIEW = 32  # latent pixels of a preview's side


class FlowModel:
    """See base.Model, whose words these are. A language model reads the prompt as it stands: weights of words, chunks and
    layers to skip mean nothing to it."""

    told_guidance = False
    transformer: ClassVar[str]
    """The classes of diffusers that it is made of."""
    autoencoder: ClassVar[str]
    answer: ClassVar[str] = ""
    """What the language model is given as the beginning of its answer."""
    loras: ClassVar[Any]
    """What of diffusers knows how trainers call the transformer's layers."""
    patch: ClassVar[int] = 1
    """Latent pixels of the autoencoder for each of the denoiser's, along a side."""

    def __init__(
        self,
        identity: Identity,
        device: Device,
        modules: Mapping[str, Any],
        tokenizer: Any,
        configs: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.identity = identity
        self.device = torch.device(device.torch_device)
        self.dtype = device.dtype
        self.scheduler_config = configs["scheduler"]
        self._transformer, self._vae, self._text_encoder = (modules[name] for name in _COMPONENTS)
        self.parts: Mapping[str, Any] = {"transformer": self._transformer}
        self.residents = Residents(self.device, modules.values())
        self._tokenizer = tokenizer
        self.latent_channels = int(self._transformer.config.in_channels)
        self.scale = self.patch * 2 ** (len(self._vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode_prompt(
        self, prompt: Prompt, clip_skip: int = 1, embeddings: Mapping[str, Mapping[str, Tensor]] = NO_EMBEDDINGS
    ) -> Conditioning:
        words = " ".join("".join(fragment.text for fragment in section).strip() for section in prompt.sections)
        read = self._tokenizer(
            _TURN.format(words) + self.answer,
            padding="max_length",
            truncation=True,
            max_length=_TOKENS,
            return_tensors="pt",
        ).to(self.device)
        self.residents.bring(self._text_encoder)
        states = self._text_encoder(
            input_ids=read.input_ids,
            attention_mask=read.attention_mask,
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        return self._conditioning(states, read.attention_mask.bool())

    def _conditioning(self, states: tuple[Tensor, ...], said: Tensor) -> Conditioning:
        """From the language model's hidden states (1, tokens, width) of each layer; `said` (1, tokens): no padding."""
        raise NotImplementedError

    def predict(
        self, latents: Tensor, timestep: Tensor, conditioning: Conditioning, residuals: Residuals | None = None
    ) -> Tensor:
        raise NotImplementedError

    def lora_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        # All that the library knows other names for.
        if any(found is None or found[1] not in ("down", "up", "alpha") for found in map(split_key, tensors)):
            raise ModelUnreadable(
                "This LoRA is of a kind that Scumble cannot use with this model (DoRA, LoKr, ...).",
                "Choose a plain LoRA.",
            )
        renamed: Mapping[str, Tensor] = self.loras.lora_state_dict(dict(tensors))
        return renamed

    def denoising(self, shape: torch.Size) -> int:
        return denoiser_bytes(TRANSFORMER, shape[0] * shape[2:].numel() * self.scale**2, self.dtype.itemsize)

    def told(self, latents: Tensor, conditioning: Conditioning) -> Mapping[str, Any]:
        return {"encoder_hidden_states": conditioning.tokens}

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        return self._decoded(self._unscaled(latents))

    @torch.no_grad()
    def preview(self, latents: Tensor) -> Tensor:
        small = self._unscaled(latents.float())
        share = _PREVIEW / max(small.shape[2:])
        # Shrunk before: decoding is what takes long.
        return self._decoded(F.interpolate(small, scale_factor=share, mode="area") if share < 1 else small)

    def _unscaled(self, latents: Tensor) -> Tensor:
        """The autoencoder's own latents."""
        raise NotImplementedError

    def _encoded(self, image: Tensor) -> Any:
        """The distribution of the autoencoder's own latents."""

        def encode() -> Any:
            self.residents.bring(self._vae, self._autoencoding(image.shape))
            return self._vae.encode(self._here(image)).latent_dist

        return in_range(self._vae, encode, lambda latents: latents.mean)

    def _decoded(self, latents: Tensor) -> Tensor:

        def decode() -> Any:
            self.residents.bring(self._vae, self._autoencoding(latents.shape, self.scale // self.patch))
            return self._vae.decode(self._here(latents))

        image: Tensor = in_range(self._vae, decode, lambda output: output.sample).sample
        return image

    def _autoencoding(self, shape: torch.Size, scale: int = 1) -> int:
        return autoencoder_bytes(shape[2:].numel() * scale**2, self._vae.dtype.itemsize)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self._vae.dtype)


Kind = TypeVar("Kind", bound=FlowModel)


def load(kind: type[Kind], path: Path, identity: Identity, device: Device) -> Kind:
    """Loads the folder at `path`. Keeps no converted copy: it would take twenty gigabytes, and gain little where files are
    in the format that they run in.

    Raises ModelUnreadable, OutOfMemory.
    """
    silence_libraries()
    configs = dict(read_contents(path).configs)
    modules = _build(kind, configs)
    try:
        tokenizer = Qwen2Tokenizer.from_pretrained(str(path / "tokenizer"), local_files_only=True)
    except Exception as error:  # the library raises nothing more special
        raise ModelUnreadable("This model's tokenizer is missing or damaged.") from error
    with memory_errors():
        for name, module in modules.items():
            fill(module, _read(path / name, device))
    # Its frequencies are in no file, and so have no values yet.
    text = modules["text_encoder"]
    text.rotary_emb = type(text.rotary_emb)(config=text.config)
    return kind(identity, device, modules, tokenizer, configs)


def _build(kind: type[FlowModel], configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The modules without weights: on torch's meta device nothing is allocated and nothing is initialised."""
    try:
        with torch.device("meta"):
            return {
                "transformer": getattr(diffusers, kind.transformer).from_config(dict(configs["transformer"])),
                "vae": getattr(diffusers, kind.autoencoder).from_config(dict(configs["vae"])),
                "text_encoder": Qwen3Model(Qwen3Config.from_dict(dict(configs["text_encoder"]))),
            }
    except Exception as error:  # whatever a library makes of numbers that make no sense
        raise ModelUnreadable("A description inside this model is damaged.") from error


def _read(component: Path, device: Device) -> dict[str, Tensor]:
    """The weights in the device's format, in the machine's memory; those of a language model without its head."""
    state: dict[str, Tensor] = {}
    for file in weight_files(component):
        read_header(file)
        try:
            with memory_errors():
                tensors = load_file(file)
        except (OSError, SafetensorError) as error:
            raise ModelUnreadable("A part of this model is missing or damaged.") from error
        for name, tensor in tensors.items():  # one by one: they may be twice as large in the file
            dtype = device.dtype if tensor.is_floating_point() else tensor.dtype
            state[name.removeprefix("model.")] = tensor.to(dtype)
    return state
