"""What LoRAs and their relatives do to a layer: two small matrices (LoRA, LoCon), a product element by element of two such
pairs (LoHa), a Kronecker product (LoKr), the difference itself, and a direction with a length of its own (DoRA). Of Yeh et
al., 2023, Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation, and Liu et al., 2024, DoRA:
Weight-Decomposed Low-Rank Adaptation. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FIRST = (4, 9)
"""Channels that the first convolution of a denoiser takes, and that of one for inpainting."""


@dataclass(frozen=True)
class LowRank:
    """The layer's input goes through `down` and `up`, times `scale`, and is added to its output.

    down  (rank, in) of a matrix; (rank, in, h, w) of a convolution, which keeps its layer's stride and padding
    up    (out, rank); (out, rank, 1, 1)
    """

    down: Tensor
    up: Tensor
    scale: float

    @property
    def whole(self) -> Tensor:
        return (self.up.float().flatten(1) @ self.down.float().flatten(1) * self.scale).reshape(
            len(self.up), *self.down.shape[1:]
        )


@dataclass(frozen=True)
class Kronecker:
    """The layer's weight changes by the Kronecker product of `left` (a, b) and `right` (c, d) or (c, d, h, w), times
    `scale`; a * c = out, b * d = in."""

    left: Tensor
    right: Tensor
    scale: float

    @property
    def whole(self) -> Tensor:
        left = self.left.float().reshape(*self.left.shape, *[1] * (self.right.ndim - 2))
        return torch.kron(left, self.right.float().contiguous()) * self.scale


@dataclass(frozen=True)
class Whole:
    """The layer's weight, or its bias, changes by this; a norm's too."""

    weight: Tensor | None = None
    bias: Tensor | None = None


Undirected = LowRank | Kronecker | Whole


@dataclass(frozen=True)
class Directed:
    """The layer's weight changes as `change` says, and gets lengths of its own: `lengths` of what goes to each output
    (out, 1, ...), or of what comes from each input (1, in, ...)."""

    change: Undirected
    lengths: Tensor


Change = Undirected | Directed


def fitted(change: Change, layer: Any) -> Change | None:
    """In the layer's number of dimensions: trainers write 1x1 convolutions as matrices, and the other way round. An inpaint
    denoiser takes the latents first, and what was trained on them alone says nothing of the rest. None where it does not
    fit."""
    try:
        return _fitted(change, tuple(layer.weight.shape))
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError):  # numbers that cannot be laid out so
        return None


def _fitted(change: Change, shape: tuple[int, ...]) -> Change | None:
    if isinstance(change, Whole):
        weight = change.weight
        if weight is not None:
            weight = weight if len(shape) == 1 else _widened(weight, shape)
        fits = (weight is None or weight.shape == shape) and (change.bias is None or change.bias.shape == shape[:1])
        return replace(change, weight=weight) if fits else None
    if len(shape) == 1:  # a norm's
        return None
    ones = [1] * (len(shape) - 2)
    if isinstance(change, Directed):
        inner = _fitted(change.change, shape)
        by_input = change.lengths.shape[:1] == (1,)
        lengths = change.lengths.reshape((1, -1, *ones) if by_input else (-1, 1, *ones))
        fits = lengths.numel() == shape[int(by_input)]
        return Directed(inner, lengths) if fits and inner is not None and not isinstance(inner, Directed) else None
    if isinstance(change, Kronecker):
        out, into = change.left.shape
        right = change.right.reshape(shape[0] // out, -1, *shape[2:])
        fits = (out * right.shape[0], into * right.shape[1]) == shape[:2]
        return replace(change, right=right) if fits else None
    down, up = _widened(change.down, shape), change.up.reshape(len(change.up), -1, *ones)
    fits = (len(up), *down.shape[1:]) == shape and up.shape[1] == len(down)
    return replace(change, down=down, up=up) if fits else None


def _widened(matrix: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(n, in[, h, w]) for a layer whose weight is of this shape."""
    matrix = matrix.reshape(len(matrix), -1, *shape[2:])
    if len(shape) == 4 and (matrix.shape[1], shape[1]) == _FIRST:
        matrix = F.pad(matrix, (0, 0, 0, 0, 0, shape[1] - matrix.shape[1]))
    return matrix


class Branch:
    """What runs beside a layer. Implements torch's forward hook."""

    def __init__(self, layer: nn.Module, changes: Sequence[tuple[Change, float]], device: torch.device | str) -> None:
        """`changes` as `fitted` gives them, and how strong each is."""
        weight: Any = layer.weight

        def here(tensor: Tensor) -> Tensor:
            return tensor.detach().to(device, weight.dtype)

        self._sum = _Sum([(change, factor) for change, factor in changes if not isinstance(change, Directed)], here)
        self._directed = [
            _Turned(layer, change, factor, here) for change, factor in changes if isinstance(change, Directed)
        ]

    @property
    def bytes(self) -> int:
        tensors = [*self._sum.tensors, *(tensor for each in self._directed for tensor in each.tensors)]
        return sum(tensor.nbytes for tensor in tensors)

    def __call__(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        given = inputs[0]
        changed = self._sum.added_to(output, layer, given)
        for each in self._directed:
            changed = each.added_to(changed, layer, given, output)
        return changed


class _Sum:
    """What several changes add to a layer's output."""

    def __init__(self, changes: Sequence[tuple[Undirected, float]], here: Callable[[Tensor], Tensor]) -> None:
        low, whole, bias = [], [], []
        self._products = []
        # In float32, so that nothing is lost before the sum: files are of all formats.
        for change, factor in changes:
            if isinstance(change, LowRank):
                low.append((change.down.float(), change.up.float() * (change.scale * factor)))
            elif isinstance(change, Kronecker):
                self._products.append((here(change.left.float() * (change.scale * factor)), here(change.right)))
            else:
                whole += [] if change.weight is None else [change.weight.float() * factor]
                bias += [] if change.bias is None else [change.bias.float() * factor]
        self._low: tuple[Tensor, ...] = ()
        if low:
            downs, ups = zip(*low, strict=True)
            self._low = here(torch.cat(downs)), here(torch.cat(ups, dim=1))
        self._whole = here(torch.stack(whole).sum(0)) if whole else None
        self._bias = here(torch.stack(bias).sum(0)) if bias else None

    @property
    def tensors(self) -> list[Tensor]:
        others = [each for each in (self._whole, self._bias) if each is not None]
        return [*self._low, *(each for pair in self._products for each in pair), *others]

    def added_to(self, output: Tensor, layer: Any, given: Tensor) -> Tensor:
        if isinstance(layer, (nn.LayerNorm, nn.GroupNorm)):
            return output + self._of_norm(layer, given)
        is_matrix = isinstance(layer, nn.Linear)
        if self._low:
            down, up = self._low
            narrow = _through(layer, down, given)
            output = output + (F.linear(narrow, up) if is_matrix else F.conv2d(narrow, up))
        for left, right in self._products:
            if is_matrix:
                inner = _through(layer, right, given.reshape(*given.shape[:-1], left.shape[1], -1))
                output = output + (left @ inner).flatten(-2)
            else:
                count, _, *size = given.shape
                inner = _through(layer, right, given.reshape(count * left.shape[1], -1, *size))
                inner = inner.reshape(count, left.shape[1], -1, *inner.shape[2:])
                output = output + torch.einsum("ab,nbchw->nachw", left, inner).flatten(1, 2)
        if self._whole is not None:
            output = output + _through(layer, self._whole, given)
        if self._bias is not None:
            output = output + _by_channel(layer, self._bias)
        return output

    def _of_norm(self, layer: Any, given: Tensor) -> Tensor:
        gain = self._whole
        if gain is None:
            if self._bias is None:
                return torch.zeros_like(given)
            gain = torch.zeros_like(self._bias)
        if isinstance(layer, nn.LayerNorm):
            return F.layer_norm(given, layer.normalized_shape, gain, self._bias, layer.eps)
        return F.group_norm(given, layer.num_groups, gain, self._bias, layer.eps)


class _Turned:
    """What a DoRA adds to a layer's output: no second matrix is kept, only how much longer or shorter each row (or column)
    of the layer's becomes."""

    def __init__(self, layer: Any, directed: Directed, factor: float, here: Callable[[Tensor], Tensor]) -> None:
        change, before = directed.change, layer.weight.detach().to("cpu", torch.float32)
        added = change.weight if isinstance(change, Whole) else change.whole
        changed = before if added is None else before + added.float()
        self._by_input = len(directed.lengths) == 1
        others = [dim for dim in range(before.ndim) if dim != int(self._by_input)]
        lengths = torch.linalg.vector_norm(changed, dim=others).clamp(min=torch.finfo(torch.float32).tiny)
        gain = directed.lengths.float().flatten() / lengths
        self._gain, self._more = here(gain * factor), here((gain - 1) * factor)
        self._sum = _Sum([(change, 1.0)], here)
        self._bias = None if layer.bias is None else here(layer.bias)

    @property
    def tensors(self) -> list[Tensor]:
        return [self._gain, self._more, *([] if self._bias is None else [self._bias]), *self._sum.tensors]

    def added_to(self, changed: Tensor, layer: Any, given: Tensor, output: Tensor) -> Tensor:
        """`output` is what the layer made of `given` by itself."""
        more, gain = _by_channel(layer, self._more), _by_channel(layer, self._gain)
        if self._by_input:
            # Its weight may rest elsewhere, where a model comes layer by layer.
            added = _through(layer, layer.weight.to(given.device), given * more)
            return self._sum.added_to(changed + added, layer, given * gain)
        plain = output if self._bias is None else output - _by_channel(layer, self._bias)
        return changed + more * plain + gain * self._sum.added_to(torch.zeros_like(output), layer, given)


def _through(layer: Any, weight: Tensor, given: Tensor) -> Tensor:
    """A matrix or a convolution in the layer's place."""
    if isinstance(layer, nn.Linear):
        return F.linear(given, weight)
    return F.conv2d(given, weight, None, layer.stride, layer.padding, layer.dilation)


def _by_channel(layer: Any, values: Tensor) -> Tensor:
    return values if isinstance(layer, nn.Linear) else values[:, None, None]
