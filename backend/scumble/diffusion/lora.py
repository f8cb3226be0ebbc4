"""Files of LoRAs (Hu et al., 2021, LoRA: Low-Rank Adaptation of Large Language Models) and of their relatives in LyCORIS
(Yeh et al., 2023): what they change in which layer. Imports torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..protocol.errors import ModelUnreadable
from .contents import read_header, read_json
from .embeddings import BUNDLED
from .lora_changes import Change, Directed, Kronecker, LowRank, Undirected, Whole
from .lora_names import Part, split_key

_METADATA = "lora_adapter_metadata"
"""Where diffusers (since 0.34) writes PEFT's configuration of each part into the header."""
_CORES: tuple[Part, Part] = ("hada_t1", "hada_t2")

Parts = dict[Part, Tensor]
"""Those of one layer."""
Scale = Callable[[int], float]
"""From a layer's rank to the factor of what is added to it."""
Rename = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def read_lora(path: Path, name: str, rename: Rename = lambda tensors: tensors) -> list[tuple[str, Change]]:
    """What the file changes in which layer (in one it may be several things), by its own names of the layers, or by those
    that `rename` gives to its tensors.

    Raises ModelUnreadable: damaged, or of another kind (OFT, GLoRA, ...).
    """
    header = read_header(path)
    layers: dict[str, Parts] = {}
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelUnreadable(f"The LoRA {name} cannot be read.") from error
    tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(BUNDLED)}
    if not all(map(split_key, tensors)):
        raise ModelUnreadable(
            f"The LoRA {name} is of a kind that Scumble cannot use (OFT, GLoRA, ...).", "Choose a plain LoRA."
        )
    for key, tensor in rename(tensors).items():
        if found := split_key(key):
            layers.setdefault(found[0], {})[found[1]] = tensor
    alphas = _Alphas(path, header.metadata)
    try:
        return [(layer, each) for layer, parts in layers.items() for each in _changes(layer, parts, alphas)]
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ModelUnreadable(f"The LoRA {name} is damaged.") from error


def _changes(layer: str, parts: Parts, alphas: _Alphas) -> Iterator[Change]:
    """Of one layer. Raises LookupError, TypeError, ValueError, ArithmeticError, RuntimeError where they do not go
    together."""
    if "diff" in parts or "diff_b" in parts:
        yield Whole(parts.get("diff"), parts.get("diff_b"))
    if not parts.keys() - {"diff", "diff_b", "alpha"}:
        return

    def scale(rank: int) -> float:
        return float(parts["alpha"]) / rank if "alpha" in parts else alphas.scale(layer, rank)

    make: Callable[[Parts, Scale], Undirected] = _low_rank
    if any(part.startswith("lokr_") for part in parts):
        make = _kronecker
    elif any(part.startswith("hada_") for part in parts):
        make = _hadamard
    change, lengths = make(parts, scale), parts.get("dora_scale")
    if "lora_magnitude_vector" in parts:  # PEFT's are those of outputs, in whichever shape
        lengths = parts["lora_magnitude_vector"].flatten()
    yield change if lengths is None else Directed(change, lengths)


def _low_rank(parts: Parts, scale: Scale) -> LowRank:
    down, up = parts["down"], parts["up"]
    rank = down.shape[0]
    if "mid" in parts:  # a Tucker decomposition (LoCon): the kernel lies between two matrices
        down = _composed(down, parts["mid"])
    if up.shape[1] != rank or up.shape[2:].numel() != 1:
        raise ValueError("the matrices do not fit together")
    return LowRank(down, up, scale(rank))


def _hadamard(parts: Parts, scale: Scale) -> LowRank | Whole:
    """The product, element by element, of two of low rank: itself of the product of their ranks. In the file's format, as
    it may be as large as the layer."""
    dtype = parts["hada_w1_a"].dtype
    ups = [parts["hada_w1_a"].float(), parts["hada_w2_a"].float()]
    downs = [parts["hada_w1_b"].float(), parts["hada_w2_b"].float()]
    ranks = [len(down) for down in downs]
    if "hada_t1" in parts:
        first, second = (_cored(parts[core], down, up) for core, down, up in zip(_CORES, downs, ups, strict=True))
    elif math.prod(ranks) >= min(len(ups[0]), downs[0].shape[1]):
        first, second = (up @ down for up, down in zip(ups, downs, strict=True))
    else:
        up = (ups[0][:, :, None] * ups[1][:, None]).flatten(1)
        down = (downs[0][:, None] * downs[1]).flatten(0, 1)
        return LowRank(down.to(dtype), up.to(dtype), scale(ranks[0]))
    return Whole((first * second * scale(ranks[0])).to(dtype))


def _kronecker(parts: Parts, scale: Scale) -> Kronecker:
    rank = None
    if "lokr_w1" in parts:
        left = parts["lokr_w1"]
    else:
        left, rank = parts["lokr_w1_a"].float() @ parts["lokr_w1_b"].float(), len(parts["lokr_w1_b"])
    if "lokr_w2" in parts:
        right = parts["lokr_w2"]
    else:
        up, down = parts["lokr_w2_a"].float(), parts["lokr_w2_b"].float()
        right, rank = _cored(parts["lokr_t2"], down, up) if "lokr_t2" in parts else up @ down, len(down)
    # Where both are whole nothing has a rank, and what the file says of its scale is not meant.
    return Kronecker(left, right, 1.0 if rank is None else scale(rank))


def _cored(core: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """(out, in, h, w): a Tucker decomposition as LyCORIS writes it, `core` (r, r, h, w), `down` (r, in), `up` (r, out)."""
    return torch.einsum("ijhw,jd,io->odhw", core.float(), down, up)


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
