"""LoRAs on a loaded model: put beside its layers, weighed, taken off again, without touching one of its weights.

Each changed layer gets one branch: output + up(down(input)), the matrices of all LoRAs in use laid side by side, and what
there is of other changes (`lora_changes`). So the model's own bytes stay what they are whatever was put on, LoRAs change
from picture to picture without anything being read anew, and nothing is rounded into half-precision weights. A branch costs
a few per cent of its layer; where a whole matrix changes (`diff`, a LoHa of high rank), as much as it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..editing.adapters import Adapter, other_kind
from ..editing.plan import DeviceLost
from ..protocol.errors import ModelMissing, ModelUnreadable, OutOfMemory
from .lora import Rename, read_lora
from .lora_changes import Branch, Change, fitted
from .lora_names import Place, all_places, find_place
from .memory import memory_errors
from .recent import Recent

_KEPT = 16
"""LoRAs whose files stay read; a large one takes 200 MB."""
_LAYERS = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm)


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
            modules = dict(module.named_modules())
            layers = {
                name: layer
                for name, layer in modules.items()
                if isinstance(layer, _LAYERS) and layer.weight is not None
            }
            self._layers |= {Place(part, name): layer for name, layer in layers.items()}
            config: Any = module.config
            per_block = getattr(config, "layers_per_block", 2)
            self._places |= all_places(part, layers, per_block if isinstance(per_block, int) else 2)
        self._read: Recent[tuple[Path, int], list[tuple[Place, Change]]] = Recent(_KEPT)
        self._branches: list[Branch] = []
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
        Where memory runs out the model is left without any.
        """
        weights, texts = _added(wanted), _added(wanted if text is None else text)
        both = ((adapter, weight, texts.get(adapter, 0.0)) for adapter, weight in weights.items())
        uses = tuple(Use(*each, _modified(each[0])) for each in both if any(each[1:]))
        if uses == self.active:
            return
        sides: dict[Place, list[tuple[Change, float]]] = {}
        for use in uses:
            for place, change in self._placed(use):
                if weight := use.text if place.part.startswith("text_encoder") else use.weight:
                    sides.setdefault(place, []).append((change, weight))
        self._take_off()  # before the others come: a device may not have room for both
        branches = {place: Branch(self._layers[place], found, self._device) for place, found in sides.items()}
        self._hooks = [self._layers[place].register_forward_hook(branch) for place, branch in branches.items()]
        self._branches = list(branches.values())
        self.active = uses

    def _take_off(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._branches, self.active = [], [], ()

    def _placed(self, use: Use) -> list[tuple[Place, Change]]:
        adapter = use.adapter

        def rename(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            try:
                with memory_errors():
                    renamed = self._rename(tensors)
            except (OutOfMemory, DeviceLost, ModelUnreadable):
                raise
            except Exception as error:  # whatever a library makes of names that it does not know
                raise other_kind(adapter.info) from error
            if not renamed:  # or it passes them all over
                raise other_kind(adapter.info)
            return renamed

        def read() -> list[tuple[Place, Change]]:
            placed = []
            for name, change in read_lora(adapter.path, adapter.info.name, rename):
                place = find_place(name, self._places)
                fitting = fitted(change, self._layers[place]) if place else None
                if place is None or fitting is None:
                    raise other_kind(adapter.info)
                placed.append((place, fitting))
            return placed

        return self._read.get((adapter.path, use.modified), read)


def _added(wanted: Sequence[tuple[Adapter, float]]) -> dict[Adapter, float]:
    weights: dict[Adapter, float] = {}
    for adapter, weight in wanted:
        weights[adapter] = weights.get(adapter, 0.0) + weight
    return weights


def _modified(adapter: Adapter) -> int:
    try:
        return adapter.path.stat().st_mtime_ns
    except OSError as error:
        raise ModelMissing(f"The LoRA {adapter.info.name} is not here any more.", "Choose another, or none.") from error
