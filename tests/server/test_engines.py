"""The real engines in the real worker process."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scumble.diffusion.contents import read_contents
from scumble.diffusion.families import identify
from scumble.editing import pixels
from scumble.home import Home
from scumble.protocol.errors import ModelUnreadable
from scumble.protocol.frames import decode
from scumble.protocol.messages import Result
from scumble.server.executor import LocalExecutor
from scumble.server.work import Work

from .edits import work


def fill_work(model: Path) -> Work:
    return dataclasses.replace(work(), model_path=str(model), kind="fill")


async def run(*works: Work) -> list[bytes]:
    executor = LocalExecutor()
    try:
        return [await executor.run(job, lambda _: None) for job in works]
    finally:
        await executor.close()


def test_the_fill_model_fills_and_repeats_itself(fill_model: Path) -> None:
    first, second = (decode(frame) for frame in asyncio.run(run(fill_work(fill_model), fill_work(fill_model))))

    message, (layer,) = first
    assert isinstance(message, Result)
    assert message.layers[0].bounds == message.request.mask
    painted = pixels.decode(layer)
    assert (painted[..., 3] == 255).all()
    assert np.ptp(painted[..., :3]) > 10  # a picture, not a flat colour
    assert message.timings["generate"] > 0
    assert second[1] == (layer,)


def test_a_damaged_fill_model_is_named(tmp_path: Path) -> None:
    damaged = tmp_path / "migan_pipeline_v2.onnx"
    damaged.write_bytes(b"not a model" * 100)
    with pytest.raises(ModelUnreadable):
        asyncio.run(run(fill_work(damaged)))


@pytest.mark.slow
def test_a_diffusion_model_paints_and_repeats_itself(tmp_path: Path) -> None:
    from tests.diffusion.tiny import make_sd1_folder  # imports torch

    model = make_sd1_folder(tmp_path / "tiny")
    identity = identify(read_contents(model))
    job = dataclasses.replace(
        work("a red house", count=2), model_path=str(model), identity=identity, home=Home(tmp_path)
    )

    first, second = (decode(frame) for frame in asyncio.run(run(job, job)))

    message, layers = first
    assert isinstance(message, Result)
    assert [layer.seed for layer in message.layers] == [7, 8]
    assert layers[0] != layers[1]
    assert {"encode", "denoise", "decode"} <= set(message.timings)
    assert second[1] == layers
