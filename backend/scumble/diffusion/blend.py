"""Several predictions as one: overlapping windows of a picture, and parts of it with prompts of their own.

In each step every part is predicted on its own, and the latents move by the weighted mean of the predictions (Bar-Tal et
al., *MultiDiffusion: Fusing Diffusion Paths for Controlled Image Generation*, 2023). A window counts less towards its edge,
where it sees least (as in *Mixture of Diffusers*, Jimenez, 2023), so that no border shows where two of them meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..protocol.geometry import Bounds, Size
from .denoise import Predict


@dataclass(frozen=True)
class Part:
    """window   (px of latents) what this part sees
    share    (1, 1, h, w) >= 0 over the window: how much it counts
    predict  for latents of the window's size"""

    window: Bounds
    share: Tensor
    predict: Predict


def blended(parts: Sequence[Part], pulse: Callable[[], None] = lambda: None) -> Predict:
    """The parts' predictions, each where it lies, as one; 0 where no part counts. `pulse` is called after each part."""

    def predict(latents: Tensor, timestep: Tensor) -> Tensor:
        total = torch.zeros_like(latents)
        weight = latents.new_zeros(1, 1, *latents.shape[2:])
        for part in parts:
            place = (..., *part.window.slices())
            total[place] += part.predict(latents[place], timestep) * part.share
            weight[place] += part.share
            pulse()
        return total / torch.where(weight > 0, weight, 1)

    return predict


def faded(window: Bounds, whole: Size, fade: int, device: torch.device | str = "cpu") -> Tensor:
    """(1, 1, h, w) shares of a window in a picture of the size `whole`: 1, falling in a straight line over `fade` px
    towards its edges, except where the picture ends too."""
    across = _ramp(window.width, fade, window.left > 0, window.right < whole.width)
    down = _ramp(window.height, fade, window.top > 0, window.bottom < whole.height)
    return (down[:, None] * across)[None, None].to(device)


def _ramp(length: int, fade: int, before: bool, after: bool) -> Tensor:
    way = (torch.arange(length) + 0.5) / max(fade, 1)
    ones = torch.ones(length)
    return torch.minimum(
        way.clamp(max=1) if before else ones,
        way.flip(0).clamp(max=1) if after else ones,
    )
