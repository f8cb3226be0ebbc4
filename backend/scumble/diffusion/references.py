"""IP-Adapters (Ye et al., 2023, IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models): what
a model attends to beside the prompt's tokens are those of pictures. Imports torch.

The attention and the projections are those of diffusers. An adapter brings keys and values of its own for each of the
UNet's cross attentions, and leaves its weights alone: taken off, nothing of it remains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..editing.adapters import Adapter, other_kind
from ..editing.plan import Pixels
from ..editing.references import shown
from ..protocol.errors import ModelMissing, ModelUnreadable
from ..protocol.messages import Reference
from .contents import read_header
from .denoise import Predict
from .recent import Recent
from .steps import counts, numbered
from .vision import Sight, Vision, find_vision

if TYPE_CHECKING:
    from .families.base import Model

_KEPT, _SEEN = 3, 32
"""Adapters that stay loaded (50 to 850 MB each), and pictures that need not be looked at again."""


@dataclass(frozen=True)
class _Loaded:
    """An adapter: from what an encoder sees to tokens, and for each cross attention, by its name, keys and values."""

    projection: Any
    keys: Mapping[str, nn.Linear]
    values: Mapping[str, nn.Linear]

    @property
    def sees_whole(self) -> bool:
        """Pictures as a whole; others see each patch."""
        return isinstance(self.projection, ImageProjection)

    @property
    def bytes(self) -> int:
        modules = (self.projection, *self.keys.values(), *self.values.values())
        return sum(weight.nbytes for module in modules for weight in module.parameters())

    def tokens(self, sight: Sight) -> Tensor:
        """(1, 1, tokens, width), as diffusers' attention takes those of one picture."""
        tokens: Tensor = self.projection(sight.whole if self.sees_whole else sight.patches)
        return tokens[None]


@dataclass(frozen=True)
class Glance:
    """The tokens (1, 1, tokens, width) of a reference, and those of nothing, for the side without the prompt."""

    reference: Reference
    seen: Tensor
    nothing: Tensor


class References:
    """The references of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._unet: Any = model.parts.get("unet")
        self._loaded: Recent[tuple[Path, int], _Loaded] = Recent(_KEPT)
        self._sights: Recent[tuple[Path, bytes], Sight] = Recent(_SEEN)
        self._plain: dict[str, Any] = {}
        self._processors: list[IPAdapterAttnProcessor2_0] = []

    @property
    def bytes(self) -> int:
        return sum(loaded.bytes for loaded in self._loaded.values())

    @contextmanager
    def use(
        self, wanted: Sequence[tuple[Reference, Adapter, Pixels]], adapters: Sequence[Adapter] = ()
    ) -> Iterator[list[Glance]]:
        """In this context the model attends to these pictures, each (h, w, 4); it must be given what is yielded
        (`Conditioning.references`). `adapters`: those that there are, among them image encoders. One whose weight is 0 is
        none.

        Raises BadRequest (made for another kind of model), ModelMissing (also of the image encoder), ModelUnreadable.
        """
        uses = [(reference, adapter, shown(pixels)) for reference, adapter, pixels in wanted if reference.weight > 0]
        loaded = [self._load(adapter) for _, adapter, _ in uses]
        glances = self._glances(uses, loaded, adapters)
        try:
            if glances:
                self._put_on(loaded)
            yield glances
        finally:
            self._take_off()

    def counted(self, predict: Predict, glances: Sequence[Glance], timesteps: Tensor) -> Predict:
        """`predict` with each reference counting in the steps that lie wholly within its part of the `timesteps` (1-d)."""
        step_of, steps = numbered(timesteps), len(timesteps)

        def answer(latents: Tensor, timestep: Tensor) -> Tensor:
            step = step_of[float(timestep)]
            weights = [glance.reference.weight if counts(glance.reference, step, steps) else 0.0 for glance in glances]
            for processor in self._processors:
                processor.scale = weights
            return predict(latents, timestep)

        return answer

    def _glances(
        self, uses: Sequence[tuple[Reference, Adapter, Pixels]], loaded: Sequence[_Loaded], adapters: Sequence[Adapter]
    ) -> list[Glance]:
        opened: dict[Path, Vision] = {}  # they take up to 4 GB each, and stay only as long as pictures are looked at
        return [
            Glance(reference, *self._look(each, adapter, picture, adapters, opened))
            for (reference, adapter, picture), each in zip(uses, loaded, strict=True)
        ]

    def _look(
        self,
        loaded: _Loaded,
        adapter: Adapter,
        picture: Pixels,
        adapters: Sequence[Adapter],
        opened: dict[Path, Vision],
    ) -> tuple[Tensor, Tensor]:
        """The tokens of the picture and those of nothing."""
        if loaded.sees_whole:
            width, whole = loaded.projection.image_embeds.in_features, True
        else:
            width, whole = _input(loaded.projection).in_features, False
        encoder = find_vision(adapters, width, whole, adapter.path)
        if encoder is None:
            raise ModelMissing(
                f"The IP-Adapter {adapter.info.name} needs an image encoder that is not here.",
                "Most need the one of: scumble models pull image-encoder; or add the folder image_encoder beside it.",
            )

        def sight(image: Pixels | None) -> Sight:
            def look() -> Sight:
                if encoder.path not in opened:
                    opened[encoder.path] = Vision(encoder, self._model)
                return opened[encoder.path].look(image)

            key = b"" if image is None else hashlib.blake2b(image.tobytes(), key=repr(image.shape).encode()).digest()
            return self._sights.get((encoder.path, key), look)

        seen = sight(picture)
        # What training left out: a picture as a whole by zeros, its patches by those of an empty one.
        nothing = Sight(torch.zeros_like(seen.whole), seen.patches) if whole else sight(None)
        return loaded.tokens(seen), loaded.tokens(nothing)

    def _put_on(self, loaded: Sequence[_Loaded]) -> None:
        for name in _cross_attentions(self._unet):
            attention = self._unet.get_submodule(name)
            with torch.device("meta"):  # its own matrices are never used
                processor = IPAdapterAttnProcessor2_0(1, 1, num_tokens=[1] * len(loaded), scale=[0.0] * len(loaded))
            processor.to_k_ip = nn.ModuleList([each.keys[name] for each in loaded])
            processor.to_v_ip = nn.ModuleList([each.values[name] for each in loaded])
            self._plain[name] = attention.processor
            attention.set_processor(processor)
            self._processors.append(processor)

    def _take_off(self) -> None:
        for name, processor in self._plain.items():
            self._unet.get_submodule(name).set_processor(processor)
        self._plain, self._processors = {}, []

    def _load(self, adapter: Adapter) -> _Loaded:
        try:
            modified = adapter.path.stat().st_mtime_ns
        except OSError as error:
            raise ModelMissing(f"The IP-Adapter {adapter.info.name} is not here any more.") from error
        return self._loaded.get((adapter.path, modified), lambda: _load(adapter, self._model))


def _load(adapter: Adapter, model: Model) -> _Loaded:
    read_header(adapter.path)
    unet: Any = model.parts.get("unet")
    if unet is None:
        raise other_kind(adapter.info)
    try:
        tensors = load_file(adapter.path)
        state = {
            name.removeprefix("image_proj."): tensor
            for name, tensor in tensors.items()
            if name.startswith("image_proj.")
        }
        projection = unet._convert_ip_adapter_image_proj_to_diffusers(state, low_cpu_mem_usage=False)
        # Numbered as diffusers counts attentions, self attentions too: 1, 3, 5, ...
        numbers = {name: 2 * index + 1 for index, name in enumerate(_cross_attentions(unet))}
        keys, values = (
            {name: _linear(tensors[f"ip_adapter.{number}.to_{part}_ip.weight"]) for name, number in numbers.items()}
            for part in "kv"
        )
    except (OSError, SafetensorError) as error:
        raise ModelUnreadable(f"The IP-Adapter {adapter.info.name} cannot be read.") from error
    except (LookupError, ValueError, RuntimeError) as error:
        raise ModelUnreadable(
            f"The IP-Adapter {adapter.info.name} is damaged, or of a kind that Scumble cannot use."
        ) from error
    if any(keys[name].weight.shape != unet.get_submodule(name).to_k.weight.shape for name in keys):
        raise other_kind(adapter.info)
    for module in (projection, *keys.values(), *values.values()):
        module.to(model.device, model.dtype).requires_grad_(False).eval()
    return _Loaded(projection, keys, values)


def _cross_attentions(unet: Any) -> list[str]:
    """The names of a UNet's attentions to its prompt, in the order in which IP-Adapters number them."""
    return [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]


def _input(projection: Any) -> Any:
    """The first matrix of a projection that sees patches."""
    return projection.proj_in if hasattr(projection, "proj_in") else projection.ff.net[0].proj


def _linear(weight: Tensor) -> nn.Linear:
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.load_state_dict({"weight": weight}, assign=True)
    return linear
