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

Loss = Callable[[torch.nn.Module], tuple[Tensor, Tensor]]
"""The model -> the loss of a fresh batch, and the figure to be told. It may not wait for the device."""

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
    device = trained[0].device
    on_gpu = device.type == "cuda"
    now, kept, told = (torch.zeros((), device=device) for _ in range(3))
    optimizer = torch.optim.AdamW(trained, lr=now, betas=(0.9, 0.99), weight_decay=0.01, fused=True, capturable=on_gpu)

    def take_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        value, figure = loss(model)
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        torch._foreach_mul_(averaged, kept)
        torch._foreach_add_(averaged, torch._foreach_mul([own.detach() for own in trained], 1 - kept))
        told.lerp_(figure.detach().float(), 0.02)

    run = recorded(take_step) if on_gpu else take_step
    start, saved, step, said = time.monotonic(), 0.0, 0, 50
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        now.fill_(rate * min(1, (step + 1) / 100) * (0.03 + 0.97 * (1 + math.cos(math.pi * progress)) / 2))
        kept.fill_(min(0.998, (1 + step) / (10 + step)))
        run()
        step += 1
        seconds = time.monotonic() - start
        if step == said:
            print(f"{name} {step}: {told.item():.4f}, {seconds:.0f} s", flush=True)
            said += max(50, step // 10 // 50 * 50)
        if checkpoint and seconds - saved > SAVED:
            torch.save(average.state_dict(), checkpoint)
            saved = seconds
    print(f"{name}: {step} steps, {told.item():.4f}", flush=True)
    if checkpoint:
        torch.save(average.state_dict(), checkpoint)
    return average.eval()


def recorded(step: Callable[[], None]) -> Callable[[], None]:
    """The step as one CUDA graph: models this small are otherwise waited for much longer than they compute. The first
    steps are taken as they are, as PyTorch's notes on CUDA graphs ask for."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
