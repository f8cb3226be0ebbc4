"""Converted copies of models: each component's weights in the number format and memory layout of the device, so that
loading is little more than mapping a file. Copies may be deleted at any time; damaged or outdated ones are made anew."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .device import Device

States = dict[str, dict[str, Tensor]]
"""Component ("unet", "vae", ...) -> the state dict of its module."""

LIMIT = 20 << 30  # bytes of all copies together: ten of SD 1.5, or three of SDXL; the least recently used go first
_SPARE = 2 << 30  # bytes that a copy must leave free on the disk
_DAY = 86400  # seconds
_RECORD = "source.json"
_PARTS = (".json", ".safetensors", ".txt")


def converted(source: Path, cache: Path, device: Device, convert: Callable[[], States]) -> States:
    """The weights of the model at `source` as `device` wants them, in the machine's memory. The first time they come from
    `convert` and a copy is kept under `cache`; later from the copy, as long as no file of the source has changed.

    Where a copy cannot be written (a full disk, a folder that is read-only), it does without.
    """
    copy = cache / "models" / _name(source, device)
    record = _record(source)
    states = _read(copy, record, device)
    if states is None:
        states = _map(lambda tensor: _fit(tensor, device), convert())
        if _write(copy, record, states, device):
            states = _read(copy, record, device) or states  # gives the memory back: what is mapped can be let go of
    return states


def _name(source: Path, device: Device) -> str:
    path = hashlib.sha256(str(source.absolute()).encode()).hexdigest()[:16]
    layout = "-channels-last" if device.channels_last else ""
    return f"{path}-{str(device.dtype).removeprefix('torch.')}{layout}"


def _record(source: Path) -> list[Any]:
    """What a copy depends on: the source's files, and the libraries that name the weights."""
    files = sorted(file for file in source.rglob("*") if file.suffix in _PARTS) if source.is_dir() else [source]
    stats = [(file.relative_to(source).as_posix(), file.stat()) for file in files]
    return [
        [diffusers.__version__, transformers.__version__],
        [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
    ]


def _read(copy: Path, record: list[Any], device: Device) -> States | None:
    """The copy's weights, or None where there is none, or it is not of this source, or damaged."""
    try:
        written = json.loads((copy / _RECORD).read_bytes())
        if written["record"] != record:
            return None
        states = {component: load_file(copy / f"{component}.safetensors") for component in written["components"]}
        os.utime(copy)  # the copies' order of use
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
    return _map(_unpack, states) if device.channels_last else states


def _write(copy: Path, record: list[Any], states: States, device: Device) -> bool:
    """Writes the copy so that it appears whole or not at all, and makes room for it. False where that failed."""
    partial = copy.with_name(f"{copy.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if (
            shutil.disk_usage(partial).free
            < sum(t.nbytes for state in states.values() for t in state.values()) + _SPARE
        ):
            return False
        for component, state in (_map(_pack, states) if device.channels_last else states).items():
            save_file(state, partial / f"{component}.safetensors")
        (partial / _RECORD).write_text(json.dumps({"record": record, "components": list(states)}))
        for file in partial.iterdir():
            _sync(file)
        shutil.rmtree(copy, ignore_errors=True)
        partial.rename(copy)
        _prune(copy.parent, keep=copy)
    except (OSError, SafetensorError):
        return False
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _prune(folder: Path, keep: Path) -> None:
    """Deletes the least recently used copies above LIMIT, and what killed processes left half done."""
    total = 0
    copies = [path for path in folder.iterdir() if path.is_dir()]
    for copy in sorted(copies, key=lambda path: path.stat().st_mtime, reverse=True):
        total += sum(file.stat().st_size for file in copy.iterdir())
        forgotten = copy.suffix == ".partial" and copy.stat().st_mtime < time.time() - _DAY
        if copy != keep and (forgotten or total > LIMIT):
            shutil.rmtree(copy, ignore_errors=True)


def _map(change: Callable[[Tensor], Tensor], states: States) -> States:
    return {component: {key: change(tensor) for key, tensor in state.items()} for component, state in states.items()}


def _fit(tensor: Tensor, device: Device) -> Tensor:
    tensor = tensor.to(device.dtype) if tensor.is_floating_point() else tensor
    is_kernel = device.channels_last and tensor.ndim == 4
    return tensor.contiguous(memory_format=torch.channels_last if is_kernel else torch.contiguous_format)


def _pack(tensor: Tensor) -> Tensor:
    """A kernel in channels last, as safetensors can store it: strides are not kept, the order of dimensions is."""
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor


def _unpack(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
