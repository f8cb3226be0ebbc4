"""The one training loop: AdamW, a rate that follows the clock, and a moving average of the weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

Trained = TypeVar("Trained", bound=torch.nn.Module)

Loss = Callable[[torch.nn.Module], tuple[Tensor, float]]
"""The model -> the loss of a fresh batch, and the figure to be told."""

SAVED = 180
"""Seconds between checkpoints."""


def fit(model: Trained, loss: Loss, minutes: float, rate: float, checkpoint: Path | None = None) -> Trained:
    """The moving average of the model's weights after so many minutes; what does not want a gradient stays as it is.

    The rate rises over the first hundred steps and falls along a cosine to a thirtieth.
    """
    name, average = type(model).__name__, copy.deepcopy(model).requires_grad_(False)
    weights = [
        (own, mean) for own, mean in zip(model.parameters(), average.parameters(), strict=True) if own.requires_grad
    ]
    trained, averaged = [own for own, _ in weights], [mean for _, mean in weights]
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    start, saved, step, told = time.monotonic(), 0.0, 0, 0.0
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * (0.03 + 0.97 * (1 + math.cos(math.pi * progress)) / 2)
        value, figure = loss(model)
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        torch._foreach_lerp_(averaged, [own.detach() for own in trained], 1 - min(0.998, (1 + step) / (10 + step)))
        told += (figure - told) / min(step, 100)
        seconds = time.monotonic() - start
        if step % 50 == 0:
            print(f"{name} {step}: {told:.4f}, {seconds:.0f} s", flush=True)
        if checkpoint and seconds - saved > SAVED:
            torch.save(average.state_dict(), checkpoint)
            saved = seconds
    if checkpoint:
        torch.save(average.state_dict(), checkpoint)
    return average.eval()
