"""A cancel in the middle of a step (C5): on a CPU, a step of a large model takes up to a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules.module import register_module_forward_pre_hook


@contextmanager
def stoppable(device: torch.device, check: Callable[[], None]) -> Iterator[None]:
    """Before each module of any network `check` is called; what it raises ends the work there. Not on other devices than a
    CPU: these are told everything in advance, and a step is soon over.

    torch means this hook for profilers, as it is the whole process's: so is a job, in a worker. It knows networks that come
    only in the course of an edit (controls, image encoders, depth), too.
    """
    if device.type != "cpu":
        yield
        return
    hook = register_module_forward_pre_hook(lambda *_: check())
    try:
        yield
    finally:
        hook.remove()
