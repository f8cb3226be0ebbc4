"""A cancel in the middle of a step (C5): on a CPU, a step of a large model takes up to a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def stoppable(device: torch.device, networks: Iterable[nn.Module], check: Callable[[], None]) -> Iterator[None]:
    """Before each layer of the networks `check` is called; what it raises ends their work there. Not on other devices than
    a CPU: these are told everything in advance, and a step is soon over."""
    with ExitStack() as hooks:
        for network in networks if device.type == "cpu" else ():
            for layer in _layers(network):
                hooks.callback(layer.register_forward_pre_hook(lambda *_: check()).remove)
        yield


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    """What stands in a row somewhere in the network: its blocks, and what these are made of."""
    for module in network.modules():
        if isinstance(module, (nn.ModuleList, nn.Sequential)):
            yield from module
