"""Where a model runs and in which number format: found out once at the start, never asked of the artist."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from ..protocol.errors import BadRequest

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WITH_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Names by which torch tells that an x86 processor computes in bfloat16 itself: 1.7 times as fast as float32 and more,
where those without are slower than it."""
_WORTH = 1.25
"""How many times faster bfloat16 must be on other processors to be worth its rounding."""


_NO_HALF = re.compile(r"\b(?:GTX 16\d0|MX[45]50|T550|T(?:4|5|6|10|12|20)00|CMP 30HX)\b")
"""GPUs of Nvidia's chips TU116 and TU117, which make no numbers of float16 (https://github.com/pytorch/pytorch/issues/58123):
every picture would be black."""


@dataclass(frozen=True)
class Device:
    """torch_device   as torch names it: "cpu", "cuda:0", "mps", ...
    dtype          of weights and activations
    channels_last  whether convolution weights lie as (n, h, w, c) in memory"""

    torch_device: str
    dtype: torch.dtype
    channels_last: bool


@cache
def choose_device() -> Device:
    """The best device of this machine. SCUMBLE_DEVICE and SCUMBLE_DTYPE (float32, bfloat16, float16) overrule it.

    Raises BadRequest when they name something unknown, or a device that is not there.
    """
    return _choose(os.environ)


def _choose(environ: Mapping[str, str]) -> Device:
    name, wanted = environ.get("SCUMBLE_DEVICE") or _best_device(), environ.get("SCUMBLE_DTYPE")
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise BadRequest("SCUMBLE_DEVICE names no device that torch knows.", "Unset it, or set it to cpu.") from error
    if not _is_there(torch.device(name)):
        message = f"SCUMBLE_DEVICE is {name}, but torch finds no such device."
        raise BadRequest(message, "Unset it; scumble doctor says why a GPU is not used.")
    if wanted and wanted not in _DTYPES:
        raise BadRequest(f"SCUMBLE_DTYPE is not one of {', '.join(_DTYPES)}.", "Unset it.")
    dtype = _DTYPES[wanted] if wanted else _best_dtype(kind)
    # Half-precision convolutions are written for channels last, on Nvidia's tensor cores as in oneDNN.
    return Device(name, dtype, channels_last=dtype != torch.float32 and kind != "mps")


def _best_device() -> str:
    if torch.cuda.is_available() and is_built_for("cuda"):
        return "cuda"
    if torch.xpu.is_available():
        return "xpu"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def _is_there(device: torch.device) -> bool:
    try:
        return bool((device.index or 0) < torch.get_device_module(device).device_count())
    except (RuntimeError, AttributeError):  # of a kind that no picture can be painted on, such as "meta"
        return False


def is_built_for(device: str) -> bool:
    """Whether torch has been built for this very GPU. A driver lists older ones (and ROCm's smaller ones) as well, on which
    every computation then fails."""
    try:
        torch.ones(1, device=device).add(1).cpu()
    except RuntimeError as error:
        if any(words in str(error) for words in ("no kernel image is available", "invalid device function")):
            return False
        raise
    return True


def _best_dtype(kind: str) -> torch.dtype:
    if kind == "cpu":
        return torch.bfloat16 if _is_quick_in_bfloat16() else torch.float32
    if kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float32 if _NO_HALF.search(torch.cuda.get_device_name()) else torch.float16
    # The range of float16 is too small for some autoencoders of Stable Diffusion 1.x: they answer with black pictures.
    return torch.float16 if kind == "mps" else torch.bfloat16


def _is_quick_in_bfloat16() -> bool:
    """Told, not measured, where torch can tell: on a busy machine the same processor measured 0.1 and 40 times. The
    next start would then paint other bytes, at half the speed, from another converted copy of the model."""
    told = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if "avx512_bf16" in told:
        return any(told.get(name) for name in _WITH_INSTRUCTIONS)
    return _speed_up(torch.bfloat16) >= _WORTH


def _speed_up(dtype: torch.dtype, repeats: int = 5) -> float:
    """How many times faster than float32 this CPU is in `dtype`, at the operations that a denoiser spends its time in.
    Takes about a quarter of a second."""
    works = (_work(torch.float32), _work(dtype))
    # In turns, and the fastest of each, after a first run to warm up: what else runs on the machine only ever adds.
    times = [[_seconds(work) for work in works] for _ in range(1 + repeats)][1:]
    return min(slow for slow, _ in times) / min(fast for _, fast in times)


def _work(dtype: torch.dtype) -> Callable[[], object]:
    image = torch.ones(1, 320, 16, 16, dtype=dtype).to(memory_format=torch.channels_last)
    kernel = torch.ones(320, 320, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    matrix = torch.ones(512, 512, dtype=dtype)
    return lambda: (F.conv2d(image, kernel, padding=1), matrix @ matrix)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
