"""Files of LoRAs (Hu et al., 2021, LoRA: Low-Rank Adaptation of Large Language Models; for convolutions LoCon, Yeh et al.,
2023): what they add to which layer. Imports torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..protocol.errors import ModelUnreadable
from .contents import read_header, read_json
from .embeddings import BUNDLED
from .lora_names import Part, split_key

_METADATA = "lora_adapter_metadata"
"""Where diffusers (since 0.34) writes PEFT's configuration of each part into the header."""


@dataclass(frozen=True)
class LowRank:
    """What one layer gets: its input goes through `down` and `up`, times `scale`, and is added to its output.

    down  (rank, in) of a matrix; (rank, in, h, w) of a convolution, which keeps its layer's stride and padding
    up    (out, rank); (out, rank, 1, 1)
    """

    down: Tensor
    up: Tensor
    scale: float


Rename = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def read_lora(path: Path, name: str, rename: Rename = lambda tensors: tensors) -> dict[str, LowRank]:
    """What the file adds, by its own names of the layers, or by those that `rename` gives to its tensors.

    Raises ModelUnreadable: damaged, or of a kind that is more than two matrices for a layer (DoRA, LoHa, LoKr, ...).
    """
    header = read_header(path)
    layers: dict[str, dict[Part, Tensor]] = {}
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelUnreadable(f"The LoRA {name} cannot be read.") from error
    tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(BUNDLED)}
    if not all(map(split_key, tensors)):
        raise ModelUnreadable(
            f"The LoRA {name} is of a kind that Scumble cannot use (DoRA, LoHa, LoKr, ...).", "Choose a plain LoRA."
        )
    for key, tensor in rename(tensors).items():
        if found := split_key(key):
            layers.setdefault(found[0], {})[found[1]] = tensor
    alphas = _Alphas(path, header.metadata)
    return {layer: _low_rank(name, layer, parts, alphas) for layer, parts in layers.items()}


def _low_rank(name: str, layer: str, parts: Mapping[Part, Tensor], alphas: _Alphas) -> LowRank:
    try:
        down, up = parts["down"], parts["up"]
        rank = down.shape[0]
        if "mid" in parts:  # a Tucker decomposition (LoCon): the kernel lies between two matrices
            down = _composed(down, parts["mid"])
        alpha = float(parts["alpha"]) if "alpha" in parts else None
        if up.shape[1] != rank or up.shape[2:].numel() != 1:
            raise ValueError("the matrices do not fit together")
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise ModelUnreadable(f"The LoRA {name} is damaged.") from error
    return LowRank(down, up, alphas.scale(layer, rank) if alpha is None else alpha / rank)


def _composed(down: Tensor, mid: Tensor) -> Tensor:
    """(rank, in, h, w): a 1x1 convolution `down` (rank, in, 1, 1) and the kernel `mid` (rank, rank, h, w) as one."""
    return (mid.float().permute(2, 3, 0, 1) @ down.float().flatten(1)).permute(2, 3, 0, 1)


class _Alphas:
    """The factors that a file tells for all of its layers, where the layers do not tell them: PEFT's configuration."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self._configs: dict[str, Any] = {}
        beside = path.with_name("adapter_config.json")
        if _METADATA in metadata:
            self._configs = _by_part(_json(metadata[_METADATA]))
        elif path.stem == "adapter_model" and beside.is_file():
            self._configs = {"": read_json(beside)}

    def scale(self, layer: str, rank: int) -> float:
        """1 where nobody says anything."""
        part, _, name = layer.partition(".")
        config = self._configs.get(part) or self._configs.get("") or {}
        alpha = _by_pattern(config.get("alpha_pattern"), name, config.get("lora_alpha"))
        if not isinstance(alpha, (int, float)) or rank == 0:
            return 1.0
        return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _by_part(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"unet.lora_alpha": 8} -> {"unet": {"lora_alpha": 8}}; names of layers in it keep their dots."""
    parts: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        part, _, name = key.partition(".")
        parts.setdefault(part, {})[name] = value
    return parts


def _by_pattern(patterns: Any, layer: str, default: Any) -> Any:
    """PEFT's patterns are names of layers, or ends of them."""
    items: Iterable[tuple[str, Any]] = patterns.items() if isinstance(patterns, dict) else ()
    return next((value for pattern, value in items if layer == pattern or layer.endswith(f".{pattern}")), default)
