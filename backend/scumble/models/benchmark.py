"""How long the list of a folder of thousands of files takes, beside safetensors' own reading of the same headers."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

from ..home import Home
from .store import ModelStore

FILES = 3_000
"""Every other one for Stable Diffusion 1.x as kohya's scripts write it, with its text encoder, and for FLUX.1 in the
layout of PEFT."""
LAYERS = 264
FLUX_LAYERS = 494
RANK = 16
BLOCK = 1 << 13
TAGS = "a tag, " * 9_000
"""With what it was trained on a header is 190 kB long, which is much."""


class Seconds(NamedTuple):
    """`first`: a list of files that nobody has looked at before; `cold`: the same where the disk has to be read; `again`:
    by a backend that starts anew; `plain`: names of the tensors and metadata of all files by `safe_open`."""

    first: float
    cold: float
    again: float
    plain: float


def measure(scratch: Path) -> Seconds:
    """Writes LoRAs into `scratch` (600 MB on the disk; most of their numbers are holes in the files)."""
    homes = [Home(scratch / name) for name in ("first", "cold")]
    folder = homes[0].models
    folder.mkdir(parents=True)
    for number in range(FILES):
        _write_lora(folder / f"{number}.safetensors", number)
    homes[1].root.mkdir()
    homes[1].models.symlink_to(folder, target_is_directory=True)
    os.sync()
    first = _timed(lambda: _look(homes[0]))
    again = _timed(lambda: _look(homes[0]))
    plain = _timed(lambda: [_read(path) for path in folder.iterdir()])
    for path in folder.iterdir():
        _drop(path)
    return Seconds(first, _timed(lambda: _look(homes[1])), again, plain)


def _look(home: Home) -> None:
    store = ModelStore(home)
    found = len(store.adapters()) + len(store.others())
    if found != FILES:
        raise RuntimeError(f"{found} of {FILES} files are in the list.")


def _read(path: Path) -> tuple[list[str], dict[str, str]]:
    with safe_open(path, "numpy") as file:
        return list(file.keys()), file.metadata()


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _drop(path: Path) -> None:
    """Out of the system's cache of files."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _write_lora(path: Path, number: int) -> None:
    header: dict[str, object] = {"__metadata__": {"ss_output_name": f"style {number}", "ss_tag_frequency": TAGS}}
    end = 0
    for name, shape in _flux() if number % 2 else _kohya():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": (start, end)}
    text = json.dumps(header, separators=(",", ":")).encode()  # as the safetensors library writes it
    with path.open("wb") as file:
        size = file.write(len(text).to_bytes(8, "little") + text) + end
        file.truncate(size)
        for sampled in (size // 2, size - BLOCK):  # there the disk has something to read
            file.seek(sampled)
            file.write(BLOCK * b"\1")


def _kohya() -> Iterator[tuple[str, tuple[int, ...]]]:
    for layer in range(LAYERS):
        name = f"lora_unet_down_blocks_{layer}_attentions_0_transformer_blocks_0_attn2_to_k"
        yield from (
            (f"{name}.alpha", ()),
            (f"{name}.lora_down.weight", (RANK, 768)),
            (f"{name}.lora_up.weight", (320, RANK)),
        )


def _flux() -> Iterator[tuple[str, tuple[int, ...]]]:
    for layer in range(FLUX_LAYERS):
        name = f"transformer.single_transformer_blocks.{layer}.attn.to_k"
        yield from ((f"{name}.lora_A.weight", (RANK, 3072)), (f"{name}.lora_B.weight", (3072, RANK)))
