"""The networks of spandrel on small random weights, and the engine around them."""

from __future__ import annotations

import re
import sys
import tracemalloc
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.kinds import Kind, recognise
from scumble.diffusion.upscaler import UpscaleEngine, _without_torchvision
from scumble.editing.compositor import composite
from scumble.editing.pixels import as_bytes, resize
from scumble.editing.plan import Cancelled
from scumble.protocol.errors import ModelUnreadable, OutOfMemory
from scumble.protocol.geometry import Bounds, Size
from torch import nn

from tests.editing.pictures import photo, plan_of

from .test_engine import Log

with _without_torchvision():
    import spandrel

CPU = Device("cpu", torch.float32, channels_last=False)
TRANSFORMER = {"img_size": 16, "embed_dim": 24, "window_size": 8, "num_heads": [2], "depths": [2], "upscale": 2}
NETWORKS: Mapping[str, dict[str, Any]] = {
    "ESRGAN": {"num_filters": 8, "num_blocks": 1, "plus": True},
    "Compact": {"num_feat": 8, "num_conv": 2, "upscale": 2},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8},
    "SwinIR": {**TRANSFORMER, "upsampler": "nearest+conv", "upscale": 4},
    "Swin2SR": {**TRANSFORMER, "upsampler": "pixelshuffle"},
    "HAT": {**TRANSFORMER, "upsampler": "pixelshuffle", "squeeze_factor": 6, "num_feat": 8},
    "ATD": {**TRANSFORMER, "upsampler": "pixelshuffledirect", "category_size": 64, "num_tokens": 8},
    "DRCT": {**TRANSFORMER, "upsampler": "pixelshuffle", "depths": [6], "gc": 8},
    "DAT": {"img_size": 16, "embed_dim": 64, "split_size": [8, 8], "depth": [2], "num_heads": [2]},
    "RGT": {"img_size": 16, "embed_dim": 64, "split_size": [8, 8], "depth": [2], "num_heads": [2]},
    "OmniSR": {"num_feat": 8},
    "PLKSR": {"dim": 8, "n_blocks": 2, "upscaling_factor": 2},
    "RCAN": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "reduction": 4, "scale": 2},
    "MoSR": {"n_block": 2, "dim": 8, "upscale": 2},
    "FDAT": {"scale": 2, "embed_dim": 24, "num_groups": 1, "depth_per_group": 2, "num_heads": 2, "mid_dim": 8},
    "SAFMN": {"dim": 8, "n_blocks": 2, "upscaling_factor": 2},
}


def made(name: str, **arguments: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module: nn.Module = getattr(import_module(f"spandrel.architectures.{name}"), name)(**arguments)
    return module.eval()


def network(scale: int = 4) -> nn.Module:
    """An ESRGAN, random, but each pixel of its answer is near to that of the picture, as with a trained one."""
    esrgan = made("ESRGAN", num_filters=8, num_blocks=2, scale=scale)
    with torch.no_grad():
        for parameter in esrgan.parameters():
            parameter.mul_(0.2)
        for name, parameter in esrgan.named_parameters():
            if re.fullmatch(r"model\.\d+\.weight", name):  # all but the residual blocks
                parameter[range(3), range(3), 1, 1] = 1
    return esrgan


def save(path: Path, module: nn.Module) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, path)
    return path


def enlarged(module: nn.Module, picture: np.ndarray) -> np.ndarray:
    """By spandrel alone, 0..255."""
    descriptor = spandrel.MAIN_REGISTRY.load(module.state_dict())
    assert isinstance(descriptor, spandrel.ImageModelDescriptor)
    tensor = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255
    return descriptor(tensor)[0].permute(1, 2, 0).numpy() * 255


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_says_what_network_it_is(tmp_path: Path, name: str):
    module = made(name, **NETWORKS[name])
    path = save(tmp_path / "x.safetensors", module)
    assert recognise(read_contents(path)) == Kind("upscaler", name)
    engine = UpscaleEngine(path, CPU)
    picture = photo(37, 26)
    wanted = enlarged(module, picture)
    factor = wanted.shape[0] // 26
    assert factor >= 2
    plan = plan_of(picture, None, traits=engine.traits, mode="upscale", factor=factor)
    (image,) = engine.generate(plan, Log())
    assert image.shape == wanted.shape
    assert np.abs(image - wanted).max() <= 1
    for dtype in (torch.bfloat16, torch.float16):
        engine = UpscaleEngine(path, Device("cpu", dtype, channels_last=False))
        assert np.abs(engine.generate(plan, Log())[0] - wanted).mean() < 3


def test_an_esrgan_has_three_spellings(tmp_path: Path):
    first = network().state_dict()
    ends = {"model.0": "conv_first", "model.1.sub.2": "trunk_conv", "model.3": "upconv1", "model.6": "upconv2",
            "model.8": "HRconv", "model.10": "conv_last"}  # fmt: skip
    second, third = {}, {}
    for name, tensor in first.items():
        name = re.sub(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0", r"RRDB_trunk.\1.RDB\2.conv\3", name)
        head, _, kind = name.rpartition(".")
        second[name := f"{ends.get(head, head)}.{kind}"] = tensor
        name = name.replace("RRDB_trunk", "body").replace("RDB", "rdb").replace("trunk_conv", "conv_body")
        third[name.replace("upconv", "conv_up").replace("HRconv", "conv_hr")] = tensor
    pictures = []
    for number, state in enumerate((first, second, third)):
        path = tmp_path / f"{number}.safetensors"
        save_file(state, path)
        assert recognise(read_contents(path)) == Kind("upscaler", "ESRGAN")
        engine = UpscaleEngine(path, CPU)
        plan = plan_of(photo(32, 24), None, traits=engine.traits, mode="upscale", factor=4)
        pictures.append(engine.generate(plan, Log())[0])
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


def test_what_does_not_enlarge_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = network().state_dict()
    save_file({"conv_first.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    save_file({**state, "model.8.weight": torch.zeros(8, 8, 1, 1)}, tmp_path / "broken.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    save(tmp_path / "sharpener.safetensors", made("Compact", num_feat=8, num_conv=2, upscale=1))
    save(tmp_path / "grey.safetensors", made("ESRGAN", num_filters=8, num_blocks=1, in_nc=1, out_nc=1))
    for name, words in (
        ("other", "Scumble does not know"), ("broken", "do not fit"), ("text", "damaged"), ("missing", "missing"),
        ("sharpener", "does not enlarge"), ("grey", "colour"),
    ):  # fmt: skip
        with pytest.raises(ModelUnreadable, match=words):
            UpscaleEngine(tmp_path / f"{name}.safetensors", CPU)
    path = save(tmp_path / "good.safetensors", network())
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ModelUnreadable, match="package spandrel"):
        UpscaleEngine(path, CPU)


def test_it_loads_where_torchvision_is_not_and_leaves_nothing_of_it(tmp_path: Path):
    from transformers.utils import is_torchvision_available

    UpscaleEngine(save(tmp_path / "x.safetensors", network()), CPU)
    assert not [name for name in sys.modules if name.startswith("torchvision")]
    assert not is_torchvision_available()


def test_a_format_that_a_network_does_not_bear_is_not_forced_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save(tmp_path / "x.safetensors", network())
    half = Device("cpu", torch.bfloat16, channels_last=False)
    assert UpscaleEngine(path, half)._network.dtype == torch.bfloat16
    load = spandrel.MAIN_REGISTRY.load

    def load_delicate(state: Any) -> Any:
        descriptor = load(state)
        descriptor.supports_bfloat16 = False
        return descriptor

    monkeypatch.setattr(spandrel.MAIN_REGISTRY, "load", load_delicate)
    engine = UpscaleEngine(path, half)
    assert engine._network.dtype == torch.float32
    plan = plan_of(photo(20, 16), None, traits=engine.traits, mode="upscale", factor=4)
    assert engine.generate(plan, Log())[0].shape == (64, 80, 3)


def test_a_large_picture_is_enlarged_in_windows_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scumble.diffusion.upscaler.NATIVE", 32)
    module = network()
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", module), CPU)
    picture = photo(150, 118)
    plan = plan_of(picture, None, traits=engine.traits, mode="upscale", factor=4)
    assert len(plan.tiles) > 4
    log = Log()
    (image,) = engine.generate(plan, log)
    assert np.abs(image - enlarged(module, plan.work_image)).max() < 4, "a window's edge shows"
    counted = [(step, steps) for stage, step, steps in log.calls if stage == "denoising"]
    assert counted == [(index, len(plan.tiles)) for index in range(len(plan.tiles) + 1)]
    (layer,) = composite(plan, [image])
    assert layer.bounds == Bounds(0, 0, 600, 472)


def test_a_network_for_twice_runs_twice_for_four_times(tmp_path: Path):
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", network(scale=2)), CPU)
    plan = plan_of(photo(20, 16), None, traits=engine.traits, mode="upscale", factor=4, count=2)
    first, second = engine.generate(plan, Log())
    assert first.shape == (64, 80, 3)
    np.testing.assert_array_equal(first, second)


def test_it_stops_at_once_and_says_when_memory_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", network()), CPU)
    plan = plan_of(photo(20, 16), None, traits=engine.traits, mode="upscale")
    with pytest.raises(Cancelled):
        engine.generate(plan, Log(("denoising", 0)))
    log = Log(questions=3)
    with pytest.raises(Cancelled):  # in the middle of a window
        engine.generate(plan, log)
    assert log.calls == [("denoising", 0, 1)]

    def fail(image: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(engine._network.model, "forward", fail)
    with pytest.raises(OutOfMemory):
        engine.generate(plan, Log())


@pytest.mark.parametrize("factor", [2, 3])
def test_a_network_for_four_times_enlarges_by_less_without_a_seam(
    factor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("scumble.diffusion.upscaler.NATIVE", 32)
    module = network()
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", module), CPU)
    plan = plan_of(photo(150, 118), None, traits=engine.traits, mode="upscale", factor=factor)
    assert len(plan.tiles) > 4
    (image,) = engine.generate(plan, Log())
    whole = resize(as_bytes(enlarged(module, plan.work_image)), Size(150 * factor, 118 * factor))
    assert image.shape == whole.shape
    assert np.abs(image.astype(int) - whole).max() < 6, "a window's edge shows"


def test_a_large_result_is_held_in_little_more_than_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A photograph of 12 megapixels at twice its size, by a network for four times, took 11 GB."""
    monkeypatch.setattr("scumble.diffusion.upscaler.NATIVE", 32)
    engine = UpscaleEngine(save(tmp_path / "x.safetensors", network()), CPU)
    plan = plan_of(photo(64, 1000), None, traits=engine.traits, mode="upscale", factor=2)
    tracemalloc.start()
    try:
        (image,) = engine.generate(plan, Log())
        (layer,) = composite(plan, [image])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert layer.rgba.shape == (2000, 128, 4)
    assert most / (2000 * 128) < 20, "bytes a pixel"
