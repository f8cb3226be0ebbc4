"""From a job to the loaded model that does it. Runs in the worker; torch is imported for diffusion models only."""

from __future__ import annotations

import os
from pathlib import Path

from ..editing.plan import Engine
from .work import Work


def load(work: Work) -> Engine:
    """Raises ModelUnreadable, OutOfMemory."""
    if work.kind == "upscaler":
        from ..diffusion.device import choose_device
        from ..diffusion.upscaler import UpscaleEngine

        return UpscaleEngine(Path(work.model_path), choose_device())
    if work.identity is None:
        from ..fill.migan import FillEngine

        return FillEngine(Path(work.model_path), threads=_cores())
    from ..diffusion.engine import load_engine

    return load_engine(Path(work.model_path), work.identity, work.home)


def loaded_bytes(work: Work) -> int:
    """What the weights of the job's model take where they run. Raises ModelUnreadable."""
    path = Path(work.model_path)
    if work.kind == "fill":
        return path.stat().st_size if path.exists() else 0
    from ..diffusion.contents import count_numbers
    from ..diffusion.device import choose_device

    return count_numbers(path) * choose_device().dtype.itemsize


def _cores() -> int:
    """Processor cores that this process may use (a container's share, not the machine's)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
