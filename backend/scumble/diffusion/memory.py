"""How much memory there is, what fits into it, and running out of it told in one way for every device.

What a job is to look like is decided by a device's whole memory, which does not change: what happens to be free must not
decide over bytes (C3). Only where that was wrong, and memory runs out, a job is done again in a thriftier way.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from ..editing.plan import DeviceLost
from ..protocol.errors import OutOfMemory

AUTOENCODER = 1248
"""Numbers for each px of a picture that an autoencoder of Stable Diffusion's kind holds at once beside its weights: two
fifths more than the 896 that were measured when it decodes (640 when it encodes; the same at 512 and at 1024 px), as an
allocator leaves gaps."""
UNET = 192
"""The same of a UNet for one prediction: half as much again as the 130 of Stable Diffusion 1.5 (SDXL's are 79), as measured
with attention in one kernel."""
TRANSFORMER = 512
"""The same of a transformer. Not measured; the widest layer of FLUX.2 klein holds about half as many, by its sizes."""
SHARE = 4
"""One part in so many of a device's memory may go to one of the two; the rest is for weights, and for other programs."""
CGROUP = Path("/sys/fs/cgroup")
_SHORTAGES = (
    "not enough memory",  # the CPU's allocator, on Windows and elsewhere
    "can't allocate memory",
    "MPS backend out of memory",
    "Invalid buffer size",  # one that is larger than Metal gives
    "error: out of memory",  # of CUDA and HIP themselves, where torch's allocator was not asked
    "STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN, which want memory of their own
    "UR_RESULT_ERROR_OUT_OF_",  # Level Zero: DEVICE_MEMORY, HOST_MEMORY, RESOURCES
    "os error 1455",  # Windows, mapping a file, in the user's language
)
"""What runs out of memory without an exception of its own says one of these."""
_LOSSES = ("CUDA error: ", "HIP error: ", "UR_RESULT_ERROR_DEVICE_LOST")
"""From most failures (after the machine has slept, say) a process does not recover: whatever it asks of the GPU afterwards
fails (https://docs.nvidia.com/cuda/cuda-runtime-api, cudaErrorIllegalAddress and others)."""


class Memory(NamedTuple):
    """Bytes of a device: those that are free now, and all of them."""

    free: int
    total: int


def read_memory(device: torch.device | str) -> Memory:
    """What CUDA, ROCm and XPU say of their device; on a CPU and on Apple's GPUs, which share it, the machine's memory, or
    that of the container around this process (cgroup v2)."""
    device = torch.device(device)
    machine = psutil.virtual_memory()
    memory = _within_cgroup(Memory(machine.available, machine.total), CGROUP)
    if device.type in ("cuda", "xpu"):
        module = torch.get_device_module(device)
        try:
            return Memory(*module.mem_get_info(device))
        except RuntimeError as error:
            if "doesn't support querying" not in str(error):
                raise
        # Intel's GPUs inside processors, which share the machine's memory, say only how much of it they may have.
        total = module.get_device_properties(device).total_memory
        return Memory(max(min(memory.free, total - module.memory_reserved(device)), 0), total)
    if device.type == "mps":
        total = min(memory.total, torch.mps.recommended_max_memory())
        return Memory(max(min(memory.free, total - torch.mps.driver_allocated_memory()), 0), total)
    return memory


def _within_cgroup(memory: Memory, folder: Path) -> Memory:
    try:
        limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        pages = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
        # What has been read of files counts as used, models above all; it goes when somebody needs the room.
        used -= sum(int(pages[name]) for name in ("active_file", "inactive_file"))
    except (OSError, ValueError, KeyError):  # there is none, or it is "max"
        return memory
    return Memory(max(min(memory.free, limit - used), 0), min(memory.total, limit))


def budget(memory: Memory) -> int:
    """What the weights on a device and what they work on may take: all but a sixteenth, and no less than half a GiB, which
    the driver takes, and the desktop."""
    return memory.total - max(memory.total // 16, 1 << 29)


def autoencoder_bytes(area: int, item: int) -> int:
    """What an autoencoder takes beside its weights for a picture of `area` px; `item` as in `autoencoder_area`."""
    return AUTOENCODER * item * area


def denoiser_bytes(numbers: int, area: int, item: int) -> int:
    """The same of a denoiser; `numbers` is UNET or TRANSFORMER, `area` that of all pictures that it predicts at once."""
    return numbers * item * area


def release(device: torch.device | str) -> None:
    """Gives back what is only kept for reuse, so that other models (and programs) can have it."""
    gc.collect()
    if torch.device(device).type != "cpu":
        torch.accelerator.empty_cache()


def autoencoder_area(memory: Memory, item: int, native: int, alone: bool) -> int:
    """Most px that the autoencoder is given at once; larger pictures go through it window by window.

    item    bytes of a number in the model's format
    native  side in px of what the model was trained on; that much it is given in any case, or half of it where it is alone
    alone   whether the model's other parts make room for it
    """
    if alone:
        return max(budget(memory) // autoencoder_bytes(1, item), (native // 2) ** 2)
    return max(memory.total // SHARE // autoencoder_bytes(1, item), native**2)


def batch_size(count: int, each: int, memory: Memory, kind: str) -> int:
    """How many of `count` pictures are denoised at once, where each takes so many bytes.

    One on a CPU, where a batch gains nothing. Elsewhere as many as fit, evenly divided: 5 that fit by 4 are 3 and 2.
    """
    if kind == "cpu":
        return 1
    most = max(memory.total // SHARE // each, 1)
    return math.ceil(count / math.ceil(count / most))


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns what torch, Python and the system raise when memory runs out into OutOfMemory, and what torch raises when a
    GPU fails into DeviceLost; other errors pass."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory("There is not enough memory for this.") from error
    except (RuntimeError, OSError) as error:
        if any(words in str(error) for words in _SHORTAGES):
            raise OutOfMemory("There is not enough memory for this.") from error
        if isinstance(error, torch.AcceleratorError) or any(words in str(error) for words in _LOSSES):
            raise DeviceLost from error
        raise
