"""LoHa, LoKr, DoRA, differences and norms: the same numbers as the changed weights themselves give."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from peft.tuners.loha.layer import make_weight, make_weight_cp
from peft.tuners.lokr.layer import make_kron
from peft.tuners.lokr.layer import make_weight_cp as make_kron_core
from scumble.diffusion.adapters import Loras
from scumble.diffusion.lora_changes import Branch, LowRank
from scumble.diffusion.lora_names import all_places
from torch import Tensor, nn
from torch.linalg import vector_norm

from .tiny_adapters import write_adapter

RANK, ALPHA = 2, 3.0
WEIGHT = 0.7
Made = tuple[dict[str, Tensor], Tensor]
"""What a file says of a layer, and what the layer's weight changes by at a strength of 1."""


class Small(nn.Module):
    """Layers of each kind that there is in a UNet, under the names that they have there."""

    config: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 8, 3, padding=1)
        self.down_blocks = nn.ModuleList([nn.Module()])
        block = self.down_blocks[0]
        block.resnets = nn.ModuleList([nn.Module()])
        block.resnets[0].norm1 = nn.GroupNorm(2, 8)
        block.resnets[0].conv1 = nn.Conv2d(8, 8, 1)
        block.downsamplers = nn.ModuleList([nn.Module()])
        block.downsamplers[0].conv = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.time_embedding = nn.Module()
        self.time_embedding.linear_1 = nn.Linear(12, 6)
        self.last = nn.LayerNorm(6)

    def forward(self, image: Tensor) -> Tensor:
        resnet = self.down_blocks[0].resnets[0]
        seen = resnet.conv1(resnet.norm1(self.conv_in(image)))
        seen = self.down_blocks[0].downsamplers[0].conv(seen)
        return self.last(self.time_embedding.linear_1(seen.flatten(2).mT))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape) * 0.3


def loha(weight: Tensor, rank: int = RANK) -> Made:
    out, rest = len(weight), weight[0].numel()
    tensors = {"w1_a": noise(out, rank), "w1_b": noise(rank, rest), "w2_a": noise(out, rank), "w2_b": noise(rank, rest)}
    named = {f"hada_{name}": tensor for name, tensor in tensors.items()}
    return named, make_weight(*tensors.values(), scale=torch.tensor(ALPHA / rank)).reshape(weight.shape)


def high_loha(weight: Tensor) -> Made:
    return loha(weight, 5)


def cored_loha(weight: Tensor) -> Made:
    if weight.ndim == 2 or weight.shape[2] == 1:
        return loha(weight)
    out, into, *kernel = weight.shape
    pairs = [(noise(RANK, RANK, *kernel), noise(RANK, out), noise(RANK, into)) for _ in range(2)]
    named = {
        f"hada_{name.format(i)}": tensor
        for i, pair in enumerate(pairs, 1)
        for name, tensor in zip(("t{}", "w{}_a", "w{}_b"), pair, strict=True)
    }
    return named, make_weight_cp(*pairs[0], *pairs[1], torch.tensor(ALPHA / RANK))


def lokr(weight: Tensor) -> Made:
    """The large factor in two."""
    out, into, *kernel = weight.shape
    left, up = noise(2, 2), noise(out // 2, RANK)
    down = noise(RANK, weight[0].numel() // 2)
    right = (up @ down).reshape(out // 2, into // 2, *kernel)
    return {"lokr_w1": left, "lokr_w2_a": up, "lokr_w2_b": down}, make_kron(left, right, ALPHA / RANK)


def cored_lokr(weight: Tensor) -> Made:
    if weight.ndim == 2 or weight.shape[2] == 1:
        return lokr(weight)
    out, into, *kernel = weight.shape
    core, up, down = noise(RANK, RANK, *kernel), noise(RANK, out // 2), noise(RANK, into // 2)
    first, second = noise(2, 1), noise(1, 2)
    named = {"lokr_w1_a": first, "lokr_w1_b": second, "lokr_t2": core, "lokr_w2_a": up, "lokr_w2_b": down}
    return named, make_kron(first @ second, make_kron_core(core, up, down), ALPHA / RANK)


def whole_lokr(weight: Tensor) -> Made:
    """Without a rank its alpha means nothing."""
    out, into, *kernel = weight.shape
    left, right = noise(2, 2), noise(out // 2, into // 2, *kernel)
    return {"lokr_w1": left, "lokr_w2": right}, make_kron(left, right, 1.0)


def locon(weight: Tensor) -> Made:
    out, *rest = weight.shape
    down, up = noise(RANK, *rest), noise(out, RANK)
    changes = (up @ down.flatten(1) * ALPHA / RANK).reshape(weight.shape)
    return {"lora_down.weight": down, "lora_up.weight": up.reshape(out, RANK, *[1] * len(rest[1:]))}, changes


def turned(make: Callable[[Tensor], Made], dim: int) -> Callable[[Tensor], Made]:
    def dora(weight: Tensor) -> Made:
        tensors, changes = make(weight)
        changed = weight + changes
        others = [each for each in range(weight.ndim) if each != dim]
        before, after = (vector_norm(each, dim=others, keepdim=True) for each in (weight, changed))
        lengths = before * (1 + noise(1).abs())
        return {**tensors, "dora_scale": lengths}, changed / after * lengths - weight

    return dora


def peft_dora(weight: Tensor) -> Made:
    """Its lengths lie along the second dimension where there are four."""
    tensors, changes = turned(locon, 0)(weight)
    lengths = tensors.pop("dora_scale").transpose(0, 1) if weight.ndim == 4 else tensors.pop("dora_scale").flatten()
    return {**tensors, "lora_magnitude_vector": lengths}, changes


def difference(weight: Tensor) -> Made:
    changes = noise(*weight.shape)
    return {"diff": changes}, changes


@pytest.fixture
def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval().requires_grad_(False)


@pytest.mark.parametrize("naming", ["kohya", "original"])
@pytest.mark.parametrize(
    "make",
    [
        *[loha, high_loha, cored_loha, lokr, cored_lokr, whole_lokr, difference],
        *[turned(locon, 0), turned(locon, 1), turned(lokr, 0), turned(high_loha, 1), peft_dora],
    ],
    ids=[
        "loha",
        "high loha",
        "cored loha",
        "lokr",
        "cored lokr",
        "whole lokr",
        "diff",
        "d0",
        "d1",
        "d lokr",
        "d loha",
        "peft",
    ],
)
def test_a_layer_answers_as_if_its_weight_had_changed(
    make: Callable[[Tensor], Made], naming: str, small: nn.Module, tmp_path: Path
) -> None:
    image = torch.randn(2, 4, 8, 8)
    before, expected, tensors = small(image), deepcopy(small), {}
    for name, layer in expected.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            says, changes = make(layer.weight)
            says = {**says, "alpha": torch.tensor(ALPHA)}
            tensors |= {f"{called(small, name, naming)}.{part}": tensor for part, tensor in says.items()}
            layer.weight += WEIGHT * changes
    loras = Loras({"unet": small})
    adapter = write_adapter(tmp_path / "a.safetensors", tensors)
    loras.use([(adapter, WEIGHT)])
    torch.testing.assert_close(small(image), expected(image), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(small(image), before, atol=0.01)
    loras.use([])
    assert torch.equal(small(image), before)


@pytest.mark.parametrize(("weight", "bias"), [("w_norm", "b_norm"), ("diff", "diff_b")])
def test_norms_and_biases_change_too(weight: str, bias: str, small: nn.Module, tmp_path: Path) -> None:
    """As LyCORIS trains them, and as ComfyUI extracts them; some files have one of the two only."""
    image, expected, tensors = torch.randn(2, 4, 8, 8), deepcopy(small), {}
    for index, (name, layer) in enumerate(expected.named_modules()):
        is_norm = isinstance(layer, (nn.GroupNorm, nn.LayerNorm))
        if is_norm or (isinstance(layer, (nn.Conv2d, nn.Linear)) and bias == "diff_b"):
            stem = called(small, name, "original")
            if is_norm and index % 2:
                tensors[f"{stem}.{weight}"] = noise(*layer.weight.shape)
                layer.weight += WEIGHT * tensors[f"{stem}.{weight}"]
            tensors[f"{stem}.{bias}"] = noise(*layer.bias.shape)
            layer.bias += WEIGHT * tensors[f"{stem}.{bias}"]
    Loras({"unet": small}).use([(write_adapter(tmp_path / "a.safetensors", tensors), WEIGHT)])
    torch.testing.assert_close(small(image), expected(image), rtol=1e-4, atol=1e-5)


def called(model: nn.Module, name: str, naming: str) -> str:
    if naming == "kohya":
        return f"lora_unet_{name.replace('.', '_')}"
    places = all_places("unet", dict(model.named_modules()))
    return f"diffusion_model.{[alias for (_, alias), place in places.items() if place.layer == name][-1]}"


def test_weights_of_half_precision_are_weighed_in_full() -> None:
    """Files are of all formats; what a layer in float32 gets of them is not rounded once more."""
    layer, random = nn.Linear(6, 5), torch.Generator().manual_seed(0)
    down, up = (torch.randn(shape, generator=random).bfloat16() for shape in ((2, 6), (5, 2)))
    given, output = torch.randn(3, 6, generator=random), torch.zeros(3, 5)
    changed = Branch(layer, [(LowRank(down, up, 1 / 3), 0.7)], "cpu")(layer, (given,), output)
    torch.testing.assert_close(changed, given @ (up.float() @ down.float()).T * (0.7 / 3), rtol=1e-5, atol=1e-6)
