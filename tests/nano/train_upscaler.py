"""Trains a small network that enlarges drawings to four times their size: Real-ESRGAN's compact one (Wang et al., 2021), by
its distance to the larger drawing alone."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scumble.diffusion.upscaler import _without_torchvision
from torch import Tensor

from .drawing import drawn, large, sample_scenes
from .fitting import fit

with _without_torchvision():
    from spandrel.architectures.Compact import Compact

FACTOR = 4
WIDTH, DEPTH = 24, 6
BATCH = {"cpu": 16, "cuda": 64}
RATE = 2e-3
SCENES = 1_200
CROP = 96
"""px of the large drawing"""


def train(file: Path, minutes: float, device: torch.device, seed: int = 6) -> None:
    """Writes a file as upscalers are passed around."""
    torch.manual_seed(seed)
    pictures = torch.cat([torch.from_numpy(piece) for _, piece in drawn(sample_scenes(SCENES, seed), large)]).to(device)

    def loss(model: torch.nn.Module) -> tuple[Tensor, Tensor]:
        wanted = crops(pictures, BATCH[device.type])
        small = F.avg_pool2d(wanted, FACTOR).mul(255).round().div(255)
        with torch.autocast(device.type, torch.bfloat16):
            error = F.l1_loss(model(small).float(), wanted)
        return error, error

    network = Compact(num_feat=WIDTH, num_conv=DEPTH, upscale=FACTOR)
    network = fit(network.to(device, memory_format=torch.channels_last), loss, minutes, RATE)
    save_file({name: value.half().cpu().contiguous() for name, value in network.state_dict().items()}, file)


def crops(pictures: Tensor, count: int) -> Tensor:
    """(count, 3, CROP, CROP) in 0..1, in places where the small picture's pixels end, half of them mirrored."""
    device, cells = pictures.device, (pictures.shape[1] - CROP) // FACTOR + 1
    picked = torch.randint(0, len(pictures), (count, 1, 1), device=device)
    rows, columns = (
        torch.randint(0, cells, (count, 1), device=device) * FACTOR + torch.arange(CROP, device=device)
        for _ in range(2)
    )
    columns = torch.where(torch.rand(count, 1, device=device) < 0.5, columns, columns.flip(1))
    return pictures[picked, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float().div(255)
