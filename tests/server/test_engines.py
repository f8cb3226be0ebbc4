"""The real engines in the real worker process."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from scumble.diffusion.contents import read_contents
from scumble.diffusion.families import identify
from scumble.editing import pixels
from scumble.home import Home
from scumble.protocol.errors import ModelUnreadable
from scumble.protocol.frames import decode, encode, pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Buffer, EditRequest, Region, Result, Submit, replace
from scumble.server.engines import load, loaded_bytes
from scumble.server.executor import LocalExecutor
from scumble.server.work import Work

from .edits import work


def fill_work(model: Path) -> Work:
    return dataclasses.replace(work(), model_path=str(model), kind="fill")


def job_of(request: EditRequest, *buffers: Buffer) -> Work:
    submit = encode(Submit("0" * 32, request), buffers)
    assert isinstance(submit, bytes)
    return dataclasses.replace(work(), submit=submit)


async def run(*works: Work) -> list[bytes]:
    executor = LocalExecutor()
    try:
        return [await executor.run(job, lambda _: None) for job in works]
    finally:
        await executor.close()


@pytest.mark.slow
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
def test_an_upscaler_enlarges_and_regions_reach_the_model(tmp_path: Path) -> None:
    from tests.diffusion.test_upscaler import network, save  # imports torch
    from tests.diffusion.tiny import make_sd1_folder

    size, whole = Size(40, 24), Bounds(0, 0, 40, 24)
    image = np.random.default_rng(1).integers(0, 256, (24, 40, 4), np.uint8)
    image[..., 3] = 255
    request = EditRequest("upscale", size, whole, model="up", seed=1, factor=4)
    enlarge = job_of(request, pack("image", *size, "rgba8", image.tobytes()))
    upscaler = save(tmp_path / "up.safetensors", network())
    model = make_sd1_folder(tmp_path / "tiny")
    plain = EditRequest("img2img", size, whole, model="sd", prompt="a boat", steps=2, strength=0.9, seed=1)
    region = pack("region", *size, "gray8", bytes([255]) * size.area)
    paint = [
        dataclasses.replace(
            job_of(each, pack("image", *size, "rgba8", image.tobytes()), *buffers),
            model_path=str(model), identity=identify(read_contents(model)), home=Home(tmp_path),
        )
        for each, buffers in (
            (plain, []),
            (replace(plain, prompt="a star"), []),
            (replace(plain, regions=(Region("a star", whole),)), [region]),
        )
    ]  # fmt: skip
    frames = asyncio.run(run(dataclasses.replace(enlarge, model_path=str(upscaler), kind="upscaler"), *paint))

    message, (layer,) = decode(frames[0])
    assert isinstance(message, Result)
    assert message.layers[0].bounds == Bounds(0, 0, 160, 96)
    shrunk = pixels.decode(layer)[..., :3].reshape(24, 4, 40, 4, 3).mean((1, 3))
    assert np.corrcoef(shrunk.ravel(), image[..., :3].ravel())[0, 1] > 0.8
    boat, star, starred = (decode(frame)[1] for frame in frames[1:])
    assert star == starred != boat


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


@pytest.mark.slow
def test_what_a_model_will_take_is_known_before_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.diffusion.test_upscaler import network, save  # imports torch
    from tests.diffusion.tiny import make_sd1_folder

    model = make_sd1_folder(tmp_path / "tiny")
    for part in ("unet", "vae"):  # a second copy in another format, and a part that nobody loads
        file = model / part / "diffusion_pytorch_model.safetensors"
        shutil.copy(file, file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    shutil.copytree(model / "vae", model / "safety_checker")
    upscaler = save(tmp_path / "up.safetensors", network())
    for path, kind in ((model, "diffusion"), (upscaler, "upscaler")):
        identity = identify(read_contents(path)) if kind == "diffusion" else None
        job = dataclasses.replace(
            work(), model_path=str(path), kind=kind, identity=identity, home=Home(tmp_path / "home")
        )
        assert loaded_bytes(job) == pytest.approx(load(job).bytes, rel=1e-3)
