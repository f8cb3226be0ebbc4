"""Where a cancel can end the work of a network, and where nobody asks."""

from __future__ import annotations

import pytest
import torch
from scumble.diffusion.stopping import stoppable
from scumble.editing.plan import Cancelled
from torch import nn

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_networks_that_come_meanwhile_are_stopped_too() -> None:
    asked: list[int] = []
    with stoppable(CPU, lambda: asked.append(1)):
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))(torch.zeros(1, 2))
        assert len(asked) == 4  # before the whole, and before each of its layers
    nn.Linear(2, 2)(torch.zeros(1, 2))
    assert len(asked) == 4


def test_what_is_raised_ends_it_there_and_for_this_time_only() -> None:
    done: list[str] = []

    class Layer(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            done.append(self.name)
            return values

    def check() -> None:
        if done == ["first"]:
            raise Cancelled

    network = nn.Sequential(Layer("first"), Layer("second"))
    with pytest.raises(Cancelled), stoppable(CPU, check):
        network(torch.zeros(1))
    assert done == ["first"]
    network(torch.zeros(1))
    assert done == ["first", "first", "second"]


def test_a_gpu_is_not_asked_for() -> None:
    asked: list[int] = []
    with stoppable(GPU, lambda: asked.append(1)):
        nn.Linear(2, 2)(torch.zeros(1, 2))
    assert asked == []
