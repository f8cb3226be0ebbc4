"""LoRAs on a loaded model: put beside its layers, weighed, taken off again, without touching one of its weights.

Each changed layer gets one branch: output + up(down(input)), the matrices of all LoRAs in use laid side by side. So the
model's own bytes stay what they are whatever was put on, LoRAs change from picture to picture without anything being read
anew, and nothing is rounded into half-precision weights. A branch costs a few per cent of its layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..editing.adapters import Adapter, other_kind
from ..editing.plan import DeviceLost
from ..protocol.errors import ModelMissing, OutOfMemory
from .lora import LowRank, Rename, read_lora
from .lora_names import Place, all_places, find_place
from .memory import memory_errors
from .recent import Recent

_KEPT = 16
"""LoRAs whose files stay read; a large one takes 200 MB."""
_FIRST = (4, 9)
"""Channels that the first convolution of a denoiser takes, and that of one for inpainting."""


class Use(NamedTuple):
    """A LoRA's file at one moment, and how strong it is in the denoiser and in the text encoders."""

    adapter: Adapter
    weight: float
    text: float
    modified: int


class Loras:
    """The LoRAs of one model."""

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        device: torch.device | str = "cpu",
        rename: Rename = lambda tensors: tensors,
    ) -> None:
        """`parts`: the modules that LoRAs may change, by the names of diffusers ("unet", "text_encoder", ...); `device`:
        where they run, wherever their weights are now; `rename`: families.base.Model.lora_tensors."""
        self._device = device
        self._rename = rename
        self._layers: dict[Place, nn.Module] = {}
        self._places: dict[tuple[str, str], Place] = {}
        for part, module in parts.items():
            layers = {
                name: layer for name, layer in module.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))
            }
            self._layers |= {Place(part, name): layer for name, layer in layers.items()}
            config: Any = module.config
            per_block = getattr(config, "layers_per_block", 2)
            self._places |= all_places(part, layers, per_block if isinstance(per_block, int) else 2)
        self._read: Recent[tuple[Path, int], dict[Place, LowRank]] = Recent(_KEPT)
        self._branches: list[_Branch] = []
        self._hooks: list[Any] = []
        self.active: tuple[Use, ...] = ()

    @property
    def bytes(self) -> int:
        """What those in use take on the device."""
        return sum(branch.bytes for branch in self._branches)

    def use(self, wanted: Sequence[tuple[Adapter, float]], text: Sequence[tuple[Adapter, float]] | None = None) -> None:
        """From now on the model paints with these LoRAs and no others; a weight of 0 is none. The weights of one that is
        named more than once are added. `text`: their weights in the text encoders, where these are others.

        Raises BadRequest (made for another kind of model), ModelMissing, ModelUnreadable; then everything stays as it was.
        """
        weights, texts = _added(wanted), _added(wanted if text is None else text)
        both = ((adapter, weight, texts.get(adapter, 0.0)) for adapter, weight in weights.items())
        uses = tuple(Use(*each, _modified(each[0])) for each in both if any(each[1:]))
        if uses == self.active:
            return
        sides: dict[Place, list[tuple[LowRank, float]]] = {}
        for use in uses:
            for place, low_rank in self._placed(use).items():
                if weight := use.text if place.part.startswith("text_encoder") else use.weight:
                    sides.setdefault(place, []).append((low_rank, weight))
        branches = {place: _Branch(self._layers[place], found, self._device) for place, found in sides.items()}
        for hook in self._hooks:
            hook.remove()
        self._hooks = [self._layers[place].register_forward_hook(branch) for place, branch in branches.items()]
        self._branches = list(branches.values())
        self.active = uses

    def _placed(self, use: Use) -> dict[Place, LowRank]:
        adapter = use.adapter

        def rename(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            try:
                with memory_errors():
                    renamed = self._rename(tensors)
            except (OutOfMemory, DeviceLost):
                raise
            except Exception as error:  # whatever a library makes of names that it does not know
                raise other_kind(adapter.info) from error
            if not renamed:  # or it passes them all over
                raise other_kind(adapter.info)
            return renamed

        def read() -> dict[Place, LowRank]:
            placed = {}
            for name, low_rank in read_lora(adapter.path, adapter.info.name, rename).items():
                place = find_place(name, self._places)
                fitted = _fitted(low_rank, self._layers[place]) if place else None
                if place is None or fitted is None:
                    raise other_kind(adapter.info)
                placed[place] = fitted
            return placed

        return self._read.get((adapter.path, use.modified), read)


class _Branch:
    """What runs beside a layer. Implements torch's forward hook."""

    def __init__(self, layer: nn.Module, sides: Sequence[tuple[LowRank, float]], device: torch.device | str) -> None:
        """`sides`: what each LoRA adds, in the layer's number of dimensions, and its weight."""
        weight: Any = layer.weight
        # In float32, so that nothing is lost before the sum: files are of all formats.
        down = torch.cat([low_rank.down.float() for low_rank, _ in sides])
        up = torch.cat([low_rank.up.float() * (low_rank.scale * factor) for low_rank, factor in sides], dim=1)
        self._down, self._up = down.to(device, weight.dtype), up.to(device, weight.dtype)

        self.bytes = self._down.nbytes + self._up.nbytes

    def __call__(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        down, up = self._down, self._up
        if isinstance(layer, nn.Linear):
            return output + F.linear(F.linear(inputs[0], down), up)
        narrow = F.conv2d(inputs[0], down, None, layer.stride, layer.padding, layer.dilation)
        return output + F.conv2d(narrow, up)


def _added(wanted: Sequence[tuple[Adapter, float]]) -> dict[Adapter, float]:
    weights: dict[Adapter, float] = {}
    for adapter, weight in wanted:
        weights[adapter] = weights.get(adapter, 0.0) + weight
    return weights


def _fitted(low_rank: LowRank, layer: Any) -> LowRank | None:
    """In the layer's number of dimensions: trainers write 1x1 convolutions as matrices, and the other way round. An inpaint
    denoiser takes the latents first, and what was trained on them alone says nothing of the rest. None where it does not
    fit."""
    down, up = low_rank.down, low_rank.up.flatten(1)
    if isinstance(layer, nn.Linear):
        down = down.flatten(1)
    else:
        down, up = (matrix if matrix.ndim == 4 else matrix[:, :, None, None] for matrix in (down, up))
        if (down.shape[1], layer.in_channels) == _FIRST:
            down = F.pad(down, (0, 0, 0, 0, 0, layer.in_channels - down.shape[1]))
    return replace(low_rank, down=down, up=up) if (len(up), *down.shape[1:]) == tuple(layer.weight.shape) else None


def _modified(adapter: Adapter) -> int:
    try:
        return adapter.path.stat().st_mtime_ns
    except OSError as error:
        raise ModelMissing(f"The LoRA {adapter.info.name} is not here any more.", "Choose another, or none.") from error
