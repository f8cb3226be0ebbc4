"""ESRGAN's network on small random weights, in the spellings of its files, and the engine around it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scumble.diffusion.device import Device
from scumble.diffusion.esrgan import Layout, find_layout
from scumble.diffusion.rrdb import Rrdb
from scumble.diffusion.upscaler import UpscaleEngine
from scumble.editing.compositor import composite
from scumble.editing.plan import Cancelled
from scumble.protocol.errors import ModelUnreadable, OutOfMemory
from scumble.protocol.geometry import Bounds

from tests.editing.pictures import photo, plan_of

from .test_engine import Log

CPU = Device("cpu", torch.float32, channels_last=False)
FOUR_TIMES = Layout(width=8, growth=4, blocks=2, doublings=2, folding=1)


def network(layout: Layout = FOUR_TIMES) -> Rrdb:
    """Random, but each pixel of its answer is near to that of the picture, as with a trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = Rrdb(layout)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(0.2)
        for channel in range(3):
            made.conv_first.weight[channel, channel * layout.folding**2, 1, 1] = 1
            for name in ("conv_hr", "conv_last", *made.ups):
                made.get_submodule(name).weight[channel, channel, 1, 1] = 1
    return made.eval()


def first_spelling(name: str, ups: int) -> str:
    """That of ESRGAN's first release: numbers of a Sequential, three apart from one enlargement to the next."""
    name = re.sub(r"body\.(\d+)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0", name)
    ends = {"conv_first": 0, "conv_hr": 3 * ups + 2, "conv_last": 3 * ups + 4}
    head, _, kind = name.rpartition(".")
    if head == "conv_body":
        return f"model.1.sub.2.{kind}"
    if head.startswith("conv_up"):
        return f"model.{3 * int(head[-1])}.{kind}"
    return f"model.{ends[head]}.{kind}" if head in ends else name


def second_spelling(name: str) -> str:
    name = re.sub(r"body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", name)
    for new, old in (("conv_body", "trunk_conv"), ("conv_up", "upconv"), ("conv_hr", "HRconv")):
        name = name.replace(new, old)
    return name


def save(path: Path, made: Rrdb, spelling: str = "third") -> Path:
    ups = made.layout.doublings
    spell = {
        "first": lambda name: first_spelling(name, ups),
        "second": second_spelling,
        "third": lambda name: name,
    }[spelling]
    save_file({spell(name): tensor for name, tensor in made.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("spelling", ["first", "second", "third"])
@pytest.mark.parametrize(
    "layout", [FOUR_TIMES, Layout(8, 4, 2, 1, 1), Layout(8, 4, 2, 2, 2)], ids=["four", "two", "two folded"]
)
def test_the_file_says_what_network_it_is_in_three_spellings(tmp_path: Path, layout: Layout, spelling: str):
    made = network(layout)
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", made, spelling), CPU)
    picture = photo(32, 24)
    plan = plan_of(picture, None, traits=engine.traits, mode="upscale", factor=2)
    (image,) = engine.generate(plan, Log())
    assert image.shape == (24 * layout.factor, 32 * layout.factor, 3)
    with torch.no_grad():
        wanted = made(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0)
    assert np.abs(image - wanted.clamp(0, 1).numpy() * 255).max() <= 1


def test_what_is_of_another_kind_is_refused(tmp_path: Path):
    state = network().state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert find_layout(shapes) == FOUR_TIMES
    assert find_layout({**shapes, "body.0.rdb1.conv1x1.weight": (8, 8, 1, 1)}) is None, "ESRGAN+ computes otherwise"
    assert find_layout({**shapes, "conv_first.weight": (8, 1, 3, 3)}) is None, "grey only"
    assert find_layout({}) is None
    save_file({"conv_first.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    save_file({**state, "conv_hr.weight": torch.zeros(8, 8, 1, 1)}, tmp_path / "broken.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("other", "broken", "text", "missing"):
        with pytest.raises(ModelUnreadable):
            UpscaleEngine(tmp_path / f"{name}.safetensors", CPU)


def test_a_large_picture_is_enlarged_in_windows_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scumble.diffusion.upscaler.NATIVE", 32)
    made = network()
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", made), CPU)
    picture = photo(150, 118)
    plan = plan_of(picture, None, traits=engine.traits, mode="upscale", factor=4)
    assert len(plan.tiles) > 4
    log = Log()
    (image,) = engine.generate(plan, log)
    with torch.no_grad():
        wanted = made(torch.from_numpy(plan.work_image.copy()).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0)
    difference = np.abs(image - wanted.clamp(0, 1).numpy() * 255)
    assert difference.max() < 4, "a window's edge shows"
    counted = [(step, steps) for stage, step, steps in log.calls if stage == "denoising"]
    assert counted == [(index, len(plan.tiles)) for index in range(len(plan.tiles) + 1)]
    (layer,) = composite(plan, [image])
    assert layer.bounds == Bounds(0, 0, 600, 472)


def test_a_network_for_twice_runs_twice_for_four_times(tmp_path: Path):
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", network(Layout(8, 4, 1, 1, 1))), CPU)
    plan = plan_of(photo(20, 16), None, traits=engine.traits, mode="upscale", factor=4, count=2)
    first, second = engine.generate(plan, Log())
    assert first.shape == (64, 80, 3)
    np.testing.assert_array_equal(first, second)


def test_it_stops_at_once_and_says_when_memory_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", network()), CPU)
    plan = plan_of(photo(20, 16), None, traits=engine.traits, mode="upscale")
    with pytest.raises(Cancelled):
        engine.generate(plan, Log(("denoising", 0)))

    def fail(image: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(engine, "_network", fail)
    with pytest.raises(OutOfMemory):
        engine.generate(plan, Log())
