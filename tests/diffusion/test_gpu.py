"""Small models on a real GPU: all that an edit can ask for, against a CPU, against itself, and with less memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device, _choose
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import find_family, identify
from scumble.diffusion.memory import Memory, read_memory, release
from scumble.diffusion.samplers import SAMPLERS
from scumble.diffusion.upscaler import UpscaleEngine
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels, Plan, Silent
from scumble.protocol.errors import OutOfMemory
from scumble.protocol.messages import Control, LoraUse

from tests.editing.pictures import disc, photo, plan_of

from .test_engine import WHOLE as SQUARE
from .test_engine import Log, block, plan
from .test_upscaler import network
from .tiny import make_sd1_folder, make_sd2_folder, make_sdxl_folder
from .tiny_adapters import lora_tensors, make_control, write_adapter, write_control
from .tiny_flow import make_flux2_folder, make_z_image_folder

GPU = next((kind for kind in ("cuda", "xpu") if getattr(torch, kind).is_available()), "cpu")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(GPU == "cpu", reason="there is no GPU with memory of its own")]

HALF = _choose({"SCUMBLE_DEVICE": GPU}) if GPU != "cpu" else Device("cpu", torch.bfloat16, True)
WHOLE = Device(GPU, torch.float32, channels_last=False)
CPU = Device("cpu", torch.float32, channels_last=False)
RESERVED = 1 << 29
"""Bytes of a device that are not for models, however small it is."""
FOLDERS: dict[str, Callable[[Path], Path]] = {
    "sd1": make_sd1_folder,
    "inpaint": lambda path: make_sd1_folder(path, inpaint=True),
    "sd2": make_sd2_folder,
    "sdxl": make_sdxl_folder,
    "flux2": make_flux2_folder,
    "z_image": make_z_image_folder,
}
UNETS = ("sd1", "inpaint", "sd2", "sdxl")

Make = Callable[..., DiffusionEngine]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return cache(lambda name: FOLDERS[name](tmp_path_factory.mktemp(name) / "tiny"))


@pytest.fixture(scope="module")
def make(folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Make:
    copies = tmp_path_factory.mktemp("cache")

    @cache
    def engine(name: str, device: Device = HALF, memory: Memory | None = None) -> DiffusionEngine:
        identity = identify(read_contents(folder(name)))
        assert identity is not None
        family = find_family(identity.family)
        return DiffusionEngine(family.load(folder(name), identity, device, copies), family, memory=memory)

    return engine


@pytest.fixture(scope="module")
def style(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    tensors = lora_tensors(make("sd1").model.parts, convolutions=True)
    return write_adapter(tmp_path_factory.mktemp("lora") / "style.safetensors", tensors)


@pytest.fixture(scope="module")
def edges(folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder("sd1") / "unet")
    return write_control(tmp_path_factory.mktemp("control") / "edges", make_control(unet))


def soft() -> Pixels:
    mask = np.zeros((64, 64), np.uint8)
    mask[8:56, 8:56] = disc(48, soft=16)
    return mask


EDITS: dict[str, dict[str, Any]] = {
    "txt2img": {"prompt": "a (red:1.3) boat, long BREAK and a tree", "negative": "fog"},
    "img2img": {"mode": "img2img", "strength": 0.6, "steps": 5},
    "soft": {"mask": soft(), "steps": 5},
    "refine": {"mask": block(), "strength": 0.5, "steps": 6, "sampler": "ddim"},
}


def paint(engine: DiffusionEngine, edit: Plan | None = None, **settings: Any) -> Pixels:
    (picture,) = engine.generate(edit or plan(**settings), Log())
    return picture


def guided_by(style: Adapter, edges: Adapter, **settings: Any) -> Plan:
    """An edit with everything on: a LoRA, a control network, a soft mask."""
    made = plan(mask=soft(), steps=4, **settings)
    request = replace(
        made.request, loras=(LoraUse(style.info.id, 0.7),), controls=(Control(edges.info.id, SQUARE, weight=0.8),)
    )
    hint = np.dstack([photo(64, 64, seed=3), np.full((64, 64), 255, np.uint8)])
    return replace(made, request=request, controls=(hint,), adapters=(style, edges))


def far(one: Pixels, other: Pixels) -> tuple[float, int]:
    """Mean and largest difference, of 255."""
    difference = np.abs(one.astype(int) - other)
    return float(difference.mean()), int(difference.max())


# ---- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", UNETS)
def test_same_seed_same_bytes(make: Make, name: str, edit: str) -> None:
    engine = make(name)
    first = paint(engine, **EDITS[edit])
    assert first.std() > 1
    np.testing.assert_array_equal(paint(engine, **EDITS[edit]), first)
    assert far(paint(engine, seed=6, **EDITS[edit]), first)[1] > 8


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", UNETS)
def test_a_gpu_paints_what_a_cpu_paints(make: Make, name: str, edit: str) -> None:
    """To the rounding of float32, that of 8-bit pixels included: at most one level in nearly all of them."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        theirs = paint(make(name, WHOLE), **EDITS[edit])
    mean, most = far(theirs, paint(make(name, CPU), **EDITS[edit]))
    assert mean < 0.1, (mean, most)
    assert most <= 3, (mean, most)


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_half_precision_is_near(make: Make, name: str) -> None:
    mean, most = far(paint(make(name), **EDITS["soft"]), paint(make(name, CPU), **EDITS["soft"]))
    assert mean < 4, (mean, most)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_runs(make: Make, sampler: str) -> None:
    engine = make("sd1", WHOLE)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        theirs = paint(engine, mask=soft(), steps=4, sampler=sampler)
    mean, most = far(theirs, paint(make("sd1", CPU), mask=soft(), steps=4, sampler=sampler))
    assert mean < 0.1, (mean, most)


@pytest.mark.parametrize("name", ["flux2", "z_image"])
def test_flow_matching_runs(make: Make, name: str) -> None:
    settings: dict[str, Any] = {"mask": soft(), "sampler": "euler", "steps": 4, "guidance": 1.0}
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        theirs = paint(make(name, WHOLE), **settings)
    mean, most = far(theirs, paint(make(name, CPU), **settings))
    assert mean < 0.1, (mean, most)
    half = paint(make(name), **settings)
    np.testing.assert_array_equal(paint(make(name), **settings), half)


def test_previews_are_pictures(make: Make) -> None:
    for name in ("sd1", "sdxl", "flux2"):
        log = Log()
        make(name).generate(plan(sampler="euler", steps=2), log)
        assert log.previews
        assert all(preview.dtype == np.uint8 and preview.shape[2] == 3 for preview in log.previews)


def test_a_lora_and_a_control_network_act_and_leave_no_trace(make: Make, style: Adapter, edges: Adapter) -> None:
    engine, edit = make("sd1"), guided_by(style, edges)
    before = paint(engine, mask=soft(), steps=4)
    both = paint(engine, edit)
    assert far(both, before)[0] > 1
    np.testing.assert_array_equal(paint(engine, edit), both)
    for without in ({"loras": ()}, {"controls": ()}):
        request = replace(edit.request, **without)  # type: ignore[arg-type]
        less = replace(edit, request=request, controls=edit.controls if request.controls else ())
        assert far(paint(engine, less), both)[1] > 2
    np.testing.assert_array_equal(paint(engine, mask=soft(), steps=4), before)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        theirs = paint(make("sd1", WHOLE), edit)
    assert far(theirs, paint(make("sd1", CPU), edit))[0] < 0.1


@pytest.mark.parametrize("sampler", ["dpmpp_2m_karras", "euler_a"])
def test_four_at_once_are_those_of_their_seeds(make: Make, sampler: str) -> None:
    engine = make("sd1", WHOLE)
    assert engine._at_once(plan(count=4)) == 4
    together = engine.generate(plan(count=4, sampler=sampler), Log())
    for index, picture in enumerate(together):
        assert far(picture, paint(engine, seed=5 + index, sampler=sampler))[0] < 0.5


def test_two_passes_and_windows(make: Make) -> None:
    engine = make("sd1")
    # A GPU composes larger pictures at once than a CPU.
    edit = plan_of(
        photo(256, 256), disc(224), (16, 16), engine.traits, prompt="a boat", steps=5, seed=1, sampler="euler"
    )
    assert edit.refinement is not None
    assert len(edit.refinement.tiles) > 1
    first = paint(engine, edit)
    assert first.shape[:2] == (edit.refinement.size.height, edit.refinement.size.width)
    np.testing.assert_array_equal(paint(engine, edit), first)
    windows = plan_of(photo(224, 192), None, (0, 0), engine.traits, mode="img2img", strength=0.4, steps=5, seed=1)
    assert len(windows.tiles) > 1
    np.testing.assert_array_equal(paint(engine, windows), paint(engine, windows))


def test_an_upscaler_runs(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "4x.safetensors")
    pictures = []
    for device in (HALF, CPU):
        engine = UpscaleEngine(tmp_path / "4x.safetensors", device)
        edit = plan_of(photo(48, 40), None, (0, 0), engine.traits, mode="upscale", factor=4, seed=1)
        pictures.append(paint(engine, edit))  # type: ignore[arg-type]
        assert engine.free() > 0
    assert pictures[0].shape == (160, 192, 3)
    assert far(*pictures)[0] < 2


@pytest.fixture
def never_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a card as small as those below the autoencoder would see less at a time, and blend."""
    monkeypatch.setattr("scumble.diffusion.engine.autoencoder_area", lambda *numbers: 64**2)


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_all_is_on_the_device_where_it_fits(make: Make) -> None:
    engine = make("sdxl")
    assert engine.bytes == sum(engine.model.residents._sizes.values())
    assert engine.bytes < torch.get_device_module(GPU).memory_allocated() + 1
    assert 0 < engine.free() <= read_memory(GPU).total


def test_parts_that_come_and_go_change_no_byte(
    make: Make, style: Adapter, edges: Adapter, never_in_windows: None
) -> None:
    whole = make("sd1")
    sizes = whole.model.residents._sizes
    unet = sizes[whole.model.parts["unet"]]
    small = make("sd1", HALF, Memory(0, RESERVED + 2 * unet - 1))
    edit = guided_by(style, edges)
    for _ in range(2):
        np.testing.assert_array_equal(paint(small, edit), paint(whole, edit))
        np.testing.assert_array_equal(paint(small, **EDITS["txt2img"]), paint(whole, **EDITS["txt2img"]))
    assert small.bytes < sum(sizes.values()), "not all is there at a time"


@pytest.mark.parametrize("name", ["sd1", "sdxl", "flux2", "z_image"])
def test_a_denoiser_that_comes_layer_by_layer_changes_no_byte(
    make: Make, name: str, style: Adapter, edges: Adapter, never_in_windows: None
) -> None:
    whole = make(name)
    denoiser = getattr(whole.model, "_unet", None) or whole.model._transformer  # type: ignore[attr-defined]
    tiny = make(name, HALF, Memory(0, RESERVED + whole.model.residents._sizes[denoiser]))
    edit = guided_by(style, edges) if name == "sd1" else plan(mask=soft(), sampler="euler", steps=4)
    expected = paint(whole, edit)
    for _ in range(2):
        np.testing.assert_array_equal(paint(tiny, edit), expected)
    assert tiny.model.residents._divided


@contextmanager
def at_most(held: int) -> Iterator[None]:
    """Within, torch's allocator gets no more than so many bytes."""
    module = torch.get_device_module(GPU)
    release(GPU)
    module.set_per_process_memory_fraction(held / read_memory(GPU).total)
    try:
        yield
    finally:
        module.set_per_process_memory_fraction(1.0)


def test_what_does_not_fit_is_done_again_thriftily(make: Make) -> None:
    engine, module = make("sd1"), torch.get_device_module(GPU)
    # Many times as large as the model is made for: it is the numbers that take memory here, and not the weights.
    large = replace(engine.traits, native=768, max_area=768**2)
    edit = plan_of(photo(768, 768), None, (0, 0), large, mode="txt2img", steps=2, seed=1, sampler="euler")
    pictures, given, held = [], [], []
    for thrifty in (False, True):
        release(GPU)
        module.reset_peak_memory_stats()
        pictures += engine.generate(edit, Log(), thrifty)
        given.append(module.max_memory_allocated())
        held.append(module.max_memory_reserved())
    assert held[1] < given[0]
    with at_most((held[1] + given[0]) // 2):
        with pytest.raises(OutOfMemory):
            engine.generate(edit, Log())
        (again,) = engine.generate(edit, Log(), thrifty=True)
    np.testing.assert_array_equal(again, pictures[1])
    np.testing.assert_array_equal(paint(engine, edit), pictures[0])


@pytest.mark.skipif(GPU != "cuda", reason="only CUDA tells")
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_a_step_waits_for_nothing(make: Make, name: str) -> None:
    """A GPU that is stopped for in each step stands idle until it has been told what to do next."""
    engine, waits = make(name), []
    for steps in (3, 6):
        edit = plan(mask=soft(), steps=steps, sampler="dpmpp_2m_karras")
        engine.generate(edit, Silent())  # all that is remembered is
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                engine.generate(edit, Silent())
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits.append([f"{w.filename}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)])
    assert len(waits[0]) == len(waits[1]), waits[1]
