"""Between pixels and what a denoiser works on."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..editing.plan import Pixels


def inpaint_condition(image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
    """What an inpaint denoiser is told: the (h, w) hole, 255 or 0, and the image with the hole blanked.

    Such models know binary masks only. As in diffusers a soft mask is cut at one half, but at half of its strongest value:
    a faint selection must not vanish. Blank is the middle of the range, 0 in -1..1.
    """
    hole = mask >= max(int(mask.max()) / 2, 1)
    visible = np.where(hole[..., None], np.uint8(128), image)
    return np.where(hole, np.uint8(255), np.uint8(0)), visible


def latent_mask(mask: Pixels, scale: int) -> Tensor:
    """(1, 1, h / scale, w / scale) in 0..1 of a (h, w) mask: the strongest value of each latent pixel's square.

    Not the mean: with it a selection thinner than a square (a wire, a hair) would never be let go in time to change, and
    the rim of every selection would keep a ghost of what it is to replace. What is changed too much the compositor drops.
    """
    values = torch.from_numpy(np.array(mask))[None, None].float() / 255
    return F.max_pool2d(values, scale)


def pixels(image: Tensor) -> Pixels:
    """(h, w, 3) bytes of a (1, 3, h, w) image in -1..1."""
    return ((image[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
