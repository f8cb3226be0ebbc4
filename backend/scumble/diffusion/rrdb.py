"""The network of ESRGAN and Real-ESRGAN, which most upscalers that artists pass around are trained on.

Wang et al., *ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks*, 2018: residual dense blocks in residual
dense blocks, then enlarging by repeating pixels between convolutions. Its width, depth and factor follow from the weights.

Built here, in a page, rather than taken from spandrel, which knows many more: that imports torchvision, and a torchvision
that is not of the very build of torch that is installed (pip's default choice beside a torch for the CPU) keeps every
library that looks for it from loading, diffusers and transformers among them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .esrgan import Layout

_SLOPE, _SHARE = 0.2, 0.2


class Rrdb(nn.Module):
    """(n, 3, h, w) in 0..1 to (n, 3, factor * h, factor * w); h and w are multiples of the folding."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        width = layout.width
        self.layout = layout
        self.conv_first = _conv(3 * layout.folding**2, width)
        self.body = nn.ModuleList(_Block(width, layout.growth) for _ in range(layout.blocks))
        self.conv_body = _conv(width, width)
        self.ups = [f"conv_up{index}" for index in range(1, layout.doublings + 1)]
        for name in self.ups:
            self.add_module(name, _conv(width, width))
        self.conv_hr = _conv(width, width)
        self.conv_last = _conv(width, 3)

    def forward(self, image: Tensor) -> Tensor:
        features = self.conv_first(F.pixel_unshuffle(image, self.layout.folding))
        deep = features
        for block in self.body:
            deep = block(deep)
        features = features + self.conv_body(deep)
        for name in self.ups:
            larger = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = F.leaky_relu(self.get_submodule(name)(larger), _SLOPE)
        result: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(features), _SLOPE))
        return result


class _Block(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_Dense(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + _SHARE * self.rdb3(self.rdb2(self.rdb1(x)))
        return result


class _Dense(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for index in range(1, 5):
            self.add_module(f"conv{index}", _conv(width + (index - 1) * growth, growth))
        self.conv5 = _conv(width + 4 * growth, width)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for index in range(1, 5):
            seen = torch.cat([seen, F.leaky_relu(self.get_submodule(f"conv{index}")(seen), _SLOPE)], dim=1)
        result: Tensor = x + _SHARE * self.conv5(seen)
        return result


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
