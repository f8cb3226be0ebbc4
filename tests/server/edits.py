"""Jobs for the tests of executor and worker."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import numpy as np
from scumble.editing.plan import Source
from scumble.home import Home
from scumble.protocol.frames import encode, pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest, Submit
from scumble.server.work import Work

SMALL = Size(96, 64)


def edit(prompt: str = "", size: Size = SMALL, steps: int = 4, count: int = 1) -> tuple[EditRequest, Source]:
    """A fill of a selection (at most 64 px wide) in a picture of noise."""
    width, height = size
    mask = Bounds(width // 4, height // 4, min(width // 2, 64), min(height // 2, 64))
    request = EditRequest(
        mode="fill",
        canvas=size,
        image=Bounds(0, 0, width, height),
        mask=mask,
        model="fake",
        prompt=prompt,
        steps=steps,
        guidance=1.0,
        sampler="euler",
        seed=7,
        count=count,
        color_match=False,  # the engine's colours come back as they are
        membrane=False,
    )
    image = np.random.default_rng(1).integers(0, 256, (height, width, 4), np.uint8)
    image[..., 3] = 255
    return request, Source(image, np.full((mask.height, mask.width), 255, np.uint8))


def work(prompt: str = "", size: Size = SMALL, steps: int = 4, count: int = 1) -> Work:
    request, source = edit(prompt, size, steps, count)
    job = secrets.token_hex(16)
    buffers = [pack("image", *size, "rgba8", source.image.tobytes())]
    if source.mask is not None:
        buffers.append(pack("mask", source.mask.shape[1], source.mask.shape[0], "gray8", source.mask.tobytes()))
    submit = encode(Submit(job, request), buffers)
    assert isinstance(submit, bytes)
    return Work(job, submit, "/no/such/model", "diffusion", None, Home(Path("/no/such/home")), 0.25, time.time())


def segments(starter: int | None = None) -> set[str]:
    """The shared memory segments that exist now (where the system shows them) of jobs that were started by this process,
    or by the process `starter`. Other backends may be at work on this machine."""
    folder, prefix = Path("/dev/shm"), f"scumble-{starter or os.getpid():x}-"
    return {name for name in os.listdir(folder) if name.startswith(prefix)} if folder.is_dir() else set()
