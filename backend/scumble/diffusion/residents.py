"""Which parts of a model are on the device: all where they fit (but for those that are `brief`), else those that are
needed, and one that does not fit even alone layer by layer.

Weights never change, so a part that goes only lets go of its place on the device: what it came from has stayed in the
machine's memory (mapped from the converted copy, so that it takes none that another program asks for), and nothing is
copied back. A CPU, and Apple's GPUs, which share the machine's memory, hold everything at once.

All is decided by numbers that do not change from one job to the next (C3); it decides when things move, never what is
computed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TypeVar
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from .memory import Memory, budget, read_memory

Part = TypeVar("Part")

SPARED = 8
"""One part in so many of what there was thought to be is left to other programs, once memory has run out."""


def leaving(held: Mapping[Part, int], needed: int, budget: int) -> list[Part]:
    """Which of the parts (bytes each, the least recently used first) go so that `needed` bytes more are within `budget`."""
    gone: list[Part] = []
    total = sum(held.values()) + needed
    for part, size in held.items():
        if total <= budget:
            break
        gone.append(part)
        total -= size
    return gone


def layer_by_layer(weights: int, working: int, budget: int) -> bool:
    """Whether a part comes in pieces: it does not fit with what it works on, and it is the weights that are too many."""
    return weights + working > budget and 2 * weights > budget


def moves(device: torch.device) -> bool:
    """Whether the device has memory of its own that the machine's can stand in for."""
    return device.type in ("cuda", "xpu")


class Residents:
    """The parts of one model on its device."""

    def __init__(self, device: torch.device, parts: Iterable[nn.Module], brief: Iterable[nn.Module] = ()) -> None:
        """`brief`: large parts that work for a moment and then not for long. They go as soon as another one is about to
        work, wherever there would be room for them: the picture's numbers have it, and other programs."""
        self._device = device
        self._brief = WeakSet(brief)
        self.moves = moves(device)
        self._budget = self._settled = budget(read_memory(device))
        self.beside = 0
        """Bytes of what else the model has on the device, and keeps there: LoRAs, references."""
        self._alone = False
        self._rests: WeakKeyDictionary[nn.Module, list[tuple[Tensor, Tensor]]] = WeakKeyDictionary()
        """Each part's tensors, and what they are in the machine's memory."""
        self._here: WeakKeyDictionary[nn.Module, None] = WeakKeyDictionary()
        """Those on the device, the least recently used first."""
        self._sizes: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self._divided: WeakKeyDictionary[nn.Module, None] = WeakKeyDictionary()
        for part in parts:
            self.add(part)

    @property
    def bytes(self) -> int:
        """What is on the device now."""
        return sum(map(weight_bytes, self._here))

    def add(self, part: nn.Module) -> None:
        """Takes in a part whose weights are in the machine's memory; it is forgotten when nobody else knows it."""
        self._sizes[part] = weight_bytes(part)
        self._rests[part] = [(tensor, tensor.data.cpu()) for tensor in _tensors(part)]
        if not self.moves:
            self._come(part)
            self._rests[part] = []

    def settle(self, memory: Memory) -> None:
        """From now on the device has so much memory. Brings what fits into it, the largest first."""
        self._budget = self._settled = budget(memory)
        self.leave()
        with contextlib.suppress(torch.OutOfMemoryError):  # others have it; what is needed will come, or say so
            for part in sorted(self._rests, key=weight_bytes, reverse=True) if self.moves else ():
                if self.bytes + self._sizes[part] <= self._budget:
                    self._come(part)

    def alone(self, alone: bool) -> None:
        """Whether each part is to be alone on the device while it works: memory has run out. Then there is less of it than
        was thought, as other programs have it, and from now on parts go sooner, before it runs out again."""
        self._alone = alone
        if alone:
            self._budget = self._settled - self._settled // SPARED
            self.leave()

    def leave(self) -> None:
        """All parts go."""
        for part in list(self._here) if self.moves else ():
            self._go(part)

    @torch.inference_mode(False)
    def bring(self, part: nn.Module, working: int = 0) -> None:
        """The part is about to be used, on what takes `working` bytes: it comes, and others go where they must."""
        if not self.moves:
            return
        divided, here = part in self._divided, part in self._here
        size = 0 if divided else self._sizes[part]
        self._here.pop(part, None)
        room = self._budget - self.beside
        limit = 0 if self._alone else room
        idle = [other for other in self._here if other in self._brief and part not in self._brief]
        held = {other: self._sizes[other] for other in self._here if other not in idle}
        gone = [*idle, *leaving(held, size + working, limit)]
        for other in gone:
            self._go(other)
        if gone and self._device.type != "cpu":
            torch.accelerator.empty_cache()  # what comes may not fit into the gaps
        if layer_by_layer(size, working, room):
            self._go(part)
            self._divide(part)
        elif here:
            self._here[part] = None
        elif not divided:
            self._come(part)

    def _come(self, part: nn.Module) -> None:
        self._here[part] = None
        try:
            for tensor, rest in self._rests[part]:
                tensor.data = rest.to(self._device)
        except BaseException:  # half of it is no use
            self._go(part)
            raise

    def _go(self, part: nn.Module) -> None:
        self._here.pop(part, None)
        # A part may have changed its format meanwhile (`modules.in_range`).
        self._rests[part] = [
            (tensor, rest if rest.dtype == tensor.dtype else tensor.data.cpu()) for tensor, rest in self._rests[part]
        ]
        for tensor, rest in self._rests[part]:
            tensor.data = rest

    def _divide(self, part: nn.Module) -> None:
        from diffusers.hooks import apply_group_offloading  # brings accelerate, which few need

        apart = self._device.type != "cpu"
        apply_group_offloading(part, self._device, offload_type="leaf_level", use_stream=apart, record_stream=apart)
        self._divided[part] = None
        self._rests[part] = []  # the hooks have copies of their own


def weight_bytes(part: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in _tensors(part))


def _tensors(part: nn.Module) -> list[Tensor]:
    """Each once, however many names it has."""
    return list({id(tensor): tensor for tensor in (*part.parameters(), *part.buffers())}.values())
