"""Which parts of a model are on a device that is too small for all of them. The device is made up of the CPU: what is not
on it holds no number, so that nothing can come of it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scumble.diffusion import residents as module
from scumble.diffusion.contents import read_contents
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import find_family, identify
from scumble.diffusion.families.sdxl import FILES as SDXL_FILES
from scumble.diffusion.families.unet_model import _build
from scumble.diffusion.memory import UNET, Memory, autoencoder_bytes, budget, denoiser_bytes
from scumble.diffusion.residents import Residents, layer_by_layer, leaving, moves, weight_bytes
from scumble.editing.plan import Pixels, Plan
from scumble.protocol.errors import OutOfMemory
from scumble.protocol.geometry import Size
from scumble.protocol.messages import Control, LoraUse, Reference
from torch import Tensor, nn

from .test_engine import CPU, WHOLE, Log, block, count_calls, picture, plan
from .tiny import make_sd1_folder, make_sdxl_folder
from .tiny_adapters import (
    lora_tensors,
    make_control,
    make_vision,
    reference_tensors,
    write_adapter,
    write_control,
)
from .tiny_flow import make_flux2_folder, make_z_image_folder

RESERVED = 1 << 29
"""Bytes of a device that are not for models, however small it is."""
GIB = 1 << 30


# ---- by numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "needed", "gone"),
    [
        ({}, 20, []),
        ({"text": 3, "unet": 5}, 2, []),
        ({"text": 3, "unet": 5}, 3, ["text"]),
        ({"text": 3, "unet": 5}, 6, ["text", "unet"]),
        ({"text": 3, "unet": 5, "vae": 1}, 40, ["text", "unet", "vae"]),
    ],
)
def test_the_least_recently_used_part_goes_first(held: dict[str, int], needed: int, gone: list[str]) -> None:
    assert leaving(held, needed, 10) == gone


@pytest.mark.parametrize(
    ("weights", "working", "total", "divided"),
    [
        (4.8, 0.8, 7.5, False),  # SDXL at 1024 px on a card of 8 GiB
        (4.8, 0.8, 5.5, True),  # on one of 6
        (1.6, 0.2, 3.5, False),  # Stable Diffusion 1.5 on one of 4
        (1.6, 0.2, 1.5, True),
        (0.2, 16.0, 7.5, False),  # an autoencoder and a very large picture: its weights are not what is too much
    ],
)
def test_what_does_not_fit_even_alone_comes_layer_by_layer(
    weights: float, working: float, total: float, divided: bool
) -> None:
    assert layer_by_layer(int(weights * GIB), int(working * GIB), int(total * GIB)) is divided


@pytest.fixture(scope="module")
def sdxl() -> dict[str, int]:
    """Bytes of its parts in 16 bits, in the order of their use."""
    configs = {path.stem: json.loads(path.read_text()) for path in SDXL_FILES.glob("*.json")}
    parts = _build(configs, ("text_encoder", "text_encoder_2", "unet", "vae"))
    return {name: weight_bytes(part) // 2 for name, part in parts.items()}


@pytest.mark.parametrize(
    ("gigabytes", "denoising", "decoding"),
    [
        (8, [], ["text_encoder", "text_encoder_2"]),
        (12, [], []),
    ],
)
def test_on_a_card_of_8_gib_sdxl_parts_with_its_text_encoders_alone(
    sdxl: dict[str, int], gigabytes: int, denoising: list[str], decoding: list[str]
) -> None:
    """A denoiser that left would take a second of each picture to come back."""
    most = budget(Memory(0, gigabytes * GIB))
    assert leaving(sdxl, denoiser_bytes(UNET, 2 * 1024**2, 2), most) == denoising
    assert leaving(sdxl, autoencoder_bytes(1024**2, 2), most) == decoding


@pytest.mark.parametrize(
    ("device", "own"), [("cuda:1", True), ("xpu", True), ("cpu", False), ("mps", False), ("meta", False)]
)
def test_only_memory_of_its_own_is_worth_sparing(device: str, own: bool) -> None:
    assert moves(torch.device(device)) is own


# ---- with models -----------------------------------------------------------------------------------------------------


@pytest.fixture
def second_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the CPU for a device with memory of its own; a part that is not on it is made of nothing."""
    come, go = Residents._come, Residents._go

    def comes(self: Residents, part: nn.Module) -> None:
        come(self, part)
        for tensor, rest in self._rests[part]:
            tensor.data = rest.clone()  # another place, other memory

    def goes(self: Residents, part: nn.Module) -> None:
        go(self, part)
        for tensor, rest in self._rests[part]:
            tensor.data = torch.full_like(rest, torch.nan) if rest.is_floating_point() else rest

    def divides(self: Residents, part: nn.Module) -> None:
        for tensor, rest in self._rests[part]:
            tensor.data = rest
        divide(self, part)

    divide = Residents._divide
    monkeypatch.setattr(module, "moves", lambda device: True)
    for name, function in (("_come", comes), ("_go", goes), ("_divide", divides)):
        monkeypatch.setattr(Residents, name, function)
    # Small as the devices below are, what their autoencoder sees at a time is to stay the same.
    monkeypatch.setattr("scumble.diffusion.engine.autoencoder_area", lambda *numbers: 2 * 64**2)


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "sd1": make_sd1_folder,
    "sdxl": make_sdxl_folder,
    "flux2": make_flux2_folder,
    "z_image": make_z_image_folder,
}


def make(name: str, folder: Path, total: Callable[[dict[str, int]], int] | None = None) -> DiffusionEngine:
    """The model on a device with room for so many bytes, of the sizes of its parts ("denoiser", "vae", "text_encoder")."""
    path = folder / name
    if not path.exists():
        FOLDERS[name](path)
    identity = identify(read_contents(path))
    assert identity is not None
    family = find_family(identity.family)
    model = family.load(path, identity, CPU, folder / "cache")
    memory = Memory(0, RESERVED + total(sizes(model))) if total else None
    return DiffusionEngine(model, family, memory=memory)


def sizes(model: Any) -> dict[str, int]:
    named = {"denoiser": denoiser(model), "vae": model._vae, "text_encoder": model._text_encoder}
    return {name: model.residents._sizes[part] for name, part in named.items()}


def denoiser(model: Any) -> nn.Module:
    return model._unet if hasattr(model, "_unet") else model._transformer


def here(engine: DiffusionEngine) -> list[str]:
    model: Any = engine.model
    names = {id(denoiser(model)): "denoiser", id(model._vae): "vae", id(model._text_encoder): "text_encoder"}
    return [names.get(id(part), "other") for part in model.residents._here]


def paint(engine: DiffusionEngine, edit: Plan | None = None, **settings: Any) -> Pixels:
    (painted,) = engine.generate(edit or plan(**settings), Log())
    return painted


def test_a_cpu_holds_all_parts_at_once(tmp_path: Path) -> None:
    engine = make("sd1", tmp_path, lambda sizes: 1)
    paint(engine)
    assert sorted(here(engine)) == ["denoiser", "text_encoder", "vae"]
    assert engine.bytes == sum(sizes(engine.model).values())


def test_a_large_device_holds_all_parts_at_once(tmp_path: Path, second_device: None) -> None:
    engine = make("sd1", tmp_path, lambda sizes: 1 << 30)
    assert engine.bytes == sum(sizes(engine.model).values()), "loaded, and ready to start"
    paint(engine)
    assert engine.bytes == sum(sizes(engine.model).values())


def test_sdxls_text_encoders_go_once_they_have_read_the_prompt(tmp_path: Path, second_device: None) -> None:
    settings: dict[str, Any] = {"mask": block(), "steps": 2}
    expected = {prompt: paint(make("sdxl", tmp_path), prompt=prompt, **settings) for prompt in ("a boat", "a red car")}
    engine = make("sdxl", tmp_path, lambda sizes: 1 << 30)
    model: Any = engine.model
    encoders = model.residents._sizes[model._text_encoder] + model.residents._sizes[model._text_encoder_2]
    everything = sum(model.residents._sizes.values())
    assert engine.bytes == everything, "loaded, and ready to start"
    come: list[nn.Module] = []
    with pytest.MonkeyPatch.context() as patch:
        real = Residents._come
        patch.setattr(Residents, "_come", lambda self, part: come.append(part) or real(self, part))
        for prompt, coming in (("a boat", 0), ("a boat", 0), ("a red car", 2)):
            come.clear()
            np.testing.assert_array_equal(paint(engine, prompt=prompt, **settings), expected[prompt])
            assert engine.bytes == everything - encoders
            assert len(come) == coming, "only for words that are new"


@pytest.mark.parametrize("name", FOLDERS)
def test_parts_come_when_they_are_needed_and_change_no_byte(name: str, tmp_path: Path, second_device: None) -> None:
    settings: dict[str, Any] = {"mask": block(), "sampler": "euler", "steps": 2}
    expected = paint(make(name, tmp_path), **settings)
    # The denoiser fits, but nothing beside it and what it works on.
    engine = make(name, tmp_path, lambda sizes: 3 * max(sizes.values()))
    engine.model.residents._budget = max(sizes(engine.model).values()) + 20
    engine.model.residents.leave()
    seen: list[list[str]] = []
    for call in ("encode_prompt", "encode_image", "predict", "decode_latents"):
        right = getattr(engine.model, call)

        def watched(*arguments: Any, right: Callable[..., Any] = right) -> Any:
            result = right(*arguments)
            seen.append(here(engine))
            return result

        setattr(engine.model, call, watched)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "layer_by_layer", lambda *numbers: False)
        np.testing.assert_array_equal(paint(engine, **settings), expected)
        assert ["denoiser"] in seen
        assert ["vae"] in seen
        assert all(len(parts) == 1 for parts in seen)
        np.testing.assert_array_equal(paint(engine, **settings), expected)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_denoiser_that_does_not_fit_comes_layer_by_layer_and_changes_no_byte(
    name: str, tmp_path: Path, second_device: None
) -> None:
    settings: dict[str, Any] = {"mask": block(), "sampler": "euler", "steps": 2}
    expected = paint(make(name, tmp_path), **settings)
    engine = make(name, tmp_path, lambda sizes: sizes["denoiser"])
    for _ in range(2):
        np.testing.assert_array_equal(paint(engine, **settings), expected)
    assert denoiser(engine.model) in engine.model.residents._divided
    assert "denoiser" not in here(engine)


@pytest.mark.parametrize("share", [0.9, 1.2, 3.0])
def test_loras_controls_and_references_work_wherever_the_layers_rest(
    share: float, tmp_path: Path, second_device: None
) -> None:
    whole = make("sd1", tmp_path)
    unet: Any = denoiser(whole.model)
    style = write_adapter(tmp_path / "style.safetensors", lora_tensors(whole.model.parts, convolutions=True))
    edges = write_control(tmp_path / "edges", make_control(unet))
    look = write_adapter(tmp_path / "look.safetensors", reference_tensors(unet, plus=True), "reference")
    edit = plan(mask=block(), steps=2)
    request = replace(
        edit.request,
        loras=(LoraUse(style.info.id, 0.7),),
        controls=(Control(edges.info.id, WHOLE, weight=0.8),),
        references=(Reference(look.info.id, Size(64, 64)),),
    )
    hint = np.dstack([picture(20), np.full((64, 64), 255, np.uint8)])
    adapters = (style, edges, look, make_vision(tmp_path / "image_encoder"))
    edit = replace(edit, request=request, controls=(hint,), references=(hint,), adapters=adapters)
    plain = paint(whole, mask=block(), steps=2)
    expected = paint(whole, edit)
    assert not np.array_equal(expected, plain)
    # Divided; whole, but the network must make room for it in each step; both at once.
    small = make("sd1", tmp_path, lambda sizes: int(share * sizes["denoiser"]) + (20 << 20 if share == 3 else 0))
    with pytest.MonkeyPatch.context() as patch:
        if share == 1.2:
            patch.setattr(module, "layer_by_layer", lambda *numbers: False)
        np.testing.assert_array_equal(paint(small, edit), expected)
        np.testing.assert_array_equal(paint(small, mask=block(), steps=2), plain)


def test_loras_and_references_take_room_from_the_parts(tmp_path: Path, second_device: None) -> None:
    whole = make("sd1", tmp_path)
    style = write_adapter(tmp_path / "style.safetensors", lora_tensors(whole.model.parts, convolutions=True))
    look = write_adapter(tmp_path / "look.safetensors", reference_tensors(denoiser(whole.model)), "reference")
    hint = np.dstack([picture(20), np.full((64, 64), 255, np.uint8)])
    edit = plan(mask=block(), steps=2)
    used = {"loras": (LoraUse(style.info.id, 1.0),), "references": (Reference(look.info.id, Size(64, 64)),)}
    adapters = (style, look, make_vision(tmp_path / "image_encoder"))
    edit = replace(edit, request=replace(edit.request, **used), references=(hint,), adapters=adapters)
    expected = paint(whole, edit)
    decoding = autoencoder_bytes(64**2, 4)
    engine = make("sd1", tmp_path, lambda sizes: sum(sizes.values()) + decoding + whole.beside // 2)
    paint(engine, mask=block(), steps=2)
    assert len(here(engine)) == 3
    np.testing.assert_array_equal(paint(engine, edit), expected)
    assert len(here(engine)) == 2
    assert engine.bytes + decoding <= engine.model.residents._budget


def test_nothing_moves_within_the_steps(tmp_path: Path, second_device: None, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make("sd1", tmp_path, lambda sizes: sizes["denoiser"] + sizes["text_encoder"] + (9 << 20))
    paint(engine, steps=2)
    come: list[nn.Module] = []
    monkeypatch.setattr(
        Residents, "_come", lambda self, part, real=Residents._come: come.append(part) or real(self, part)
    )
    paint(engine, steps=2, prompt="another")
    once = len(come)
    paint(engine, steps=6, prompt="a third")
    assert len(come) == 2 * once


def test_thriftily_each_part_is_alone(tmp_path: Path, second_device: None) -> None:
    engine = make("sd1", tmp_path, lambda sizes: 1 << 30)
    expected = paint(engine, steps=2)
    (thrifty,) = engine.generate(plan(steps=2), Log(), thrifty=True)
    assert np.abs(thrifty.astype(int) - expected).max() <= 1
    assert here(engine) == ["vae"]
    np.testing.assert_array_equal(paint(engine, steps=2), expected)
    assert len(here(engine)) > 1, "the next job is not thrifty any more"


def test_where_memory_ran_out_parts_go_sooner_from_then_on(tmp_path: Path, second_device: None) -> None:
    decoding = autoencoder_bytes(64**2, 4)
    engine = make("sd1", tmp_path, lambda sizes: sum(sizes.values()) + decoding + (1 << 20))
    expected = paint(engine, steps=2)
    assert len(here(engine)) == 3
    engine.generate(plan(steps=2), Log(), thrifty=True)
    less = engine.model.residents._budget
    np.testing.assert_array_equal(paint(engine, steps=2), expected)
    assert sum(sizes(engine.model)[part] for part in here(engine)) + decoding <= less
    assert len(here(engine)) == 2
    engine.generate(plan(steps=2), Log(), thrifty=True)
    assert engine.model.residents._budget == less, "not less and less"


def test_a_large_picture_makes_the_denoiser_go_for_its_decoding(tmp_path: Path, second_device: None) -> None:
    scale = 8
    engine = make("sd1", tmp_path, lambda sizes: sum(sizes.values()) + autoencoder_bytes((5 * scale) ** 2, 4))
    assert engine.model.scale == scale
    engine.decode(torch.zeros(1, 4, 4, 4))
    assert len(here(engine)) == 3
    engine.decode(torch.zeros(1, 4, 8, 8))
    assert "denoiser" not in here(engine)


def test_what_has_changed_its_format_keeps_it(tmp_path: Path, second_device: None) -> None:
    engine = make("sd1", tmp_path, lambda sizes: 1 << 30)
    vae: Any = engine.model._vae  # type: ignore[attr-defined]
    expected = engine.decode(torch.ones(1, 4, 8, 8))
    with torch.inference_mode():
        vae.double()
    engine.model.residents.leave()
    assert np.abs(engine.decode(torch.ones(1, 4, 8, 8)).astype(int) - expected).max() <= 1
    assert vae.dtype == torch.float64


def test_a_part_that_nobody_else_knows_is_forgotten(second_device: None) -> None:
    kept, dropped = nn.Linear(4, 4, bias=False), nn.Linear(8, 8, bias=False)
    residents = Residents(torch.device("cpu"), [kept, dropped])
    residents.settle(Memory(0, RESERVED + 1000))
    assert residents.bytes == 4 * (16 + 64)
    del dropped
    gc.collect()
    assert residents.bytes == 4 * 16


def test_a_move_that_fails_half_way_leaves_everything_usable(
    tmp_path: Path, second_device: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make("sd1", tmp_path, lambda sizes: 1 << 30)
    expected = paint(make("sd1", tmp_path), steps=2, prompt="new")
    engine.model.residents.leave()
    calls, left = count_calls(engine, "predict", monkeypatch), [30]

    def to(self: Tensor, *arguments: Any, real: Callable[..., Tensor] = Tensor.to, **named: Any) -> Tensor:
        left[0] -= bool(arguments) and isinstance(arguments[0], torch.device)
        if left[0] == 0:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "to", to)
        with pytest.raises(OutOfMemory):
            paint(engine, steps=2, prompt="new")
    assert not calls
    assert here(engine) == []
    np.testing.assert_array_equal(paint(engine, steps=2, prompt="new"), expected)


def test_a_device_that_others_have_filled_is_no_reason_not_to_load(
    tmp_path: Path, second_device: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def comes(self: Residents, part: nn.Module) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Residents, "_come", comes)
    engine = make("sd1", tmp_path)
    assert engine.bytes == 0
    with pytest.raises(OutOfMemory):
        paint(engine)
