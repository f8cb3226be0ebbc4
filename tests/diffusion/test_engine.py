"""The engine on small random models: plans in, pictures out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device, choose_device
from scumble.diffusion.engine import DiffusionEngine, load_engine
from scumble.diffusion.families import identify
from scumble.diffusion.families.sd1 import SD1
from scumble.diffusion.latents import inpaint_condition, latent_mask, pixels
from scumble.diffusion.picture import Pictures
from scumble.diffusion.prompts import BLANK, parse
from scumble.diffusion.recent import Recent
from scumble.editing.plan import Cancelled, Pixels, Plan, Silent
from scumble.home import Home
from scumble.protocol.errors import BadRequest, Internal, OutOfMemory
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import MAX_SEED, EditRequest, Mode, Stage
from torch import Tensor

from .tiny import make_sd1_folder

SIZE = Size(64, 64)
WHOLE = Bounds.of_size(SIZE)
CPU = Device("cpu", torch.float32, channels_last=False)
NEW = itertools.count(1000)
"""Seeds of pictures that no test has used, so that no engine has them encoded."""


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], DiffusionEngine]:
    @cache
    def make(inpaint: bool) -> DiffusionEngine:
        path = make_sd1_folder(tmp_path_factory.mktemp("models") / "tiny", inpaint=inpaint)
        return DiffusionEngine(
            SD1.load(path, identify(read_contents(path)), CPU, tmp_path_factory.mktemp("cache")), SD1
        )

    return make


@pytest.fixture
def engine(engines: Callable[[bool], DiffusionEngine]) -> DiffusionEngine:
    return engines(False)


@pytest.fixture
def inpainter(engines: Callable[[bool], DiffusionEngine]) -> DiffusionEngine:
    return engines(True)


def picture(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (SIZE.height, SIZE.width, 3), np.uint8)


def block() -> Pixels:
    mask = np.zeros((SIZE.height, SIZE.width), np.uint8)
    mask[16:48, 24:56] = 255
    return mask


def plan(mode: Mode | None = None, mask: Pixels | None = None, image: Pixels | None = None, **settings: Any) -> Plan:
    """A plan at scale 1, without a prefill: with a mask to fill it, without one to make a picture from nothing."""
    settings = {"prompt": "a boat", "steps": 3, "guidance": 4.0, "sampler": "euler_a", "seed": 5, **settings}
    mode = mode or ("txt2img" if mask is None else "fill")
    request = EditRequest(mode, SIZE, WHOLE, None if mask is None else WHOLE, **settings)
    image = picture() if image is None else image
    mask = np.full(image.shape[:2], 255, np.uint8) if mask is None else mask
    known = np.ones(mask.shape, np.bool_)
    size = Size(image.shape[1], image.shape[0])
    return Plan(request, WHOLE, image, known, mask, size, image, mask, (Bounds.of_size(size),))


class Log:
    """A Report that keeps what it is told, and in which stages it was asked, and cancels when `at` is reached or at so many
    `questions`."""

    def __init__(self, at: tuple[Stage, int] | None = None, questions: int = 0) -> None:
        self.calls: list[tuple[Stage, int, int]] = []
        self.previews: list[Pixels] = []
        self.times = 0.0
        self.asked: list[Stage] = []
        self._at, self._questions = at, questions

    def __call__(
        self,
        stage: Stage,
        step: int = 0,
        steps: int = 0,
        preview: Callable[[], Pixels] | None = None,
        times: float = 0.0,
    ) -> None:
        if (stage, step) == self._at:
            raise Cancelled
        self.calls.append((stage, step, steps))
        self.times = times or self.times
        if preview:
            self.previews.append(preview())

    def check(self) -> None:
        self.asked.append(self.calls[-1][0])
        if len(self.asked) == self._questions:
            raise Cancelled


def run(engine: DiffusionEngine, **settings: Any) -> list[Pixels]:
    return engine.generate(plan(**settings), Log())


# ---- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inpaint", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "txt2img"},
        pytest.param({"mode": "img2img", "strength": 0.5}, marks=pytest.mark.slow),
        pytest.param({"mask": block()}, marks=pytest.mark.slow),
        {"mask": block(), "strength": 0.5},
    ],
)
def test_same_plan_same_bytes_and_each_picture_is_that_of_its_seed(
    engines: Callable[[bool], DiffusionEngine], inpaint: bool, settings: dict[str, Any]
):
    engine = engines(inpaint)
    first, second = run(engine, count=2, **settings)
    assert first.shape == second.shape == (SIZE.height, SIZE.width, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(run(engine, seed=6, **settings)[0], second)
    np.testing.assert_array_equal(run(engine, **settings)[0], first)


def test_seeds_go_round(engine: DiffusionEngine):
    _, last = run(engine, seed=MAX_SEED, count=2)
    np.testing.assert_array_equal(last, run(engine, seed=0)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a tree"},
        {"negative": "fog"},
        {"guidance": 5.0},
        {"steps": 4},
        {"sampler": "ddim"},
        {"strength": 0.7},
        {"image": picture(1)},
        {"mask": block().T.copy()},
    ],
)
def test_each_setting_matters(engine: DiffusionEngine, change: dict[str, Any]):
    settings: dict[str, Any] = {"mask": block()}
    assert not np.array_equal(run(engine, **settings)[0], run(engine, **{**settings, **change})[0])


def test_without_guidance_the_negative_prompt_does_not_matter(engine: DiffusionEngine):
    plain, negated = (run(engine, guidance=1.0, negative=negative)[0] for negative in ("", "fog"))
    np.testing.assert_array_equal(plain, negated)


def test_what_a_request_leaves_open_is_the_familys_default(engine: DiffusionEngine):
    default = SD1.defaults
    chosen = {"steps": default.steps, "guidance": default.guidance, "sampler": default.sampler, "seed": 0}
    mute: dict[str, Any] = {"steps": None, "guidance": None, "sampler": None, "seed": None}
    np.testing.assert_array_equal(run(engine, **mute)[0], run(engine, **chosen)[0])


def test_txt2img_takes_nothing_from_the_picture(engine: DiffusionEngine):
    one, other = (run(engine, mode="txt2img", strength=0.5, image=picture(seed))[0] for seed in (0, 1))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("inpaint", "takes_the_prefill"), [(False, True), (True, False)])
def test_a_fill_at_full_strength_starts_from_the_prefill_unless_the_denoiser_is_told_its_surroundings(
    engines: Callable[[bool], DiffusionEngine], inpaint: bool, takes_the_prefill: bool
):
    everything = np.full((SIZE.height, SIZE.width), 255, np.uint8)
    one, other = (run(engines(inpaint), mask=everything, image=picture(seed))[0] for seed in (0, 1))
    assert np.array_equal(one, other) is not takes_the_prefill


def test_outside_the_mask_are_the_latents_of_the_picture(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    decoded = count_calls(engine, "decode_latents", monkeypatch)
    run(engine, mask=block())
    ((latents,),) = decoded
    outside = (latent_mask(block(), 8) == 0).expand_as(latents)
    original = engine.encode(picture())
    assert torch.equal(latents[outside], original[outside])
    assert not (latents == original)[~outside].any()


def test_a_size_that_is_not_square(engine: DiffusionEngine):
    image = picture()[:40]
    (result,) = run(engine, mask=block()[:40], image=image)
    assert result.shape == image.shape


def test_loads_a_folder_on_the_best_device(tmp_path: Path):
    path = make_sd1_folder(tmp_path / "tiny", prediction="v_prediction")
    engine = load_engine(path, identify(read_contents(path)), Home(tmp_path))
    assert engine.model.dtype == choose_device().dtype
    assert run(engine)[0].std() > 1
    traits = engine.traits
    assert (traits.native, traits.multiple, traits.prompt) == (64, 8, True)
    assert 64 * 64 < traits.max_area <= 2.25 * 64 * 64


# ---- progress and its end --------------------------------------------------------------------------------------------


def test_reports_every_stage_and_step_of_all_pictures_with_previews(engine: DiffusionEngine):
    log = Log()
    engine.generate(plan(mask=block(), count=2, strength=0.7), log)
    assert log.calls == [
        *[("encoding", 0, 0), ("denoising", 0, 4), ("denoising", 1, 4), ("denoising", 2, 4), ("decoding", 0, 0)],
        *[("encoding", 0, 0), ("denoising", 2, 4), ("denoising", 3, 4), ("denoising", 4, 4), ("decoding", 0, 0)],
    ]
    assert len(log.previews) == 4
    for preview in log.previews:
        assert preview.dtype == np.uint8
        assert preview.ndim == 3
        assert preview.shape[2] == 3


@pytest.mark.parametrize(
    ("at", "calls"), [(("encoding", 0), 0), (("denoising", 0), 0), (("denoising", 2), 2), (("decoding", 0), 3)]
)
def test_a_cancel_ends_within_one_step(
    engine: DiffusionEngine, at: tuple[Stage, int], calls: int, monkeypatch: pytest.MonkeyPatch
):
    made = count_calls(engine, "predict", monkeypatch)
    with pytest.raises(Cancelled):
        engine.generate(plan(mask=block()), Log(at))
    assert len(made) == calls


def test_a_cancel_ends_in_the_middle_of_a_step(engine: DiffusionEngine):
    """Wherever that is, and nothing is left of it."""
    made, log = plan(prompt="not yet asked", image=picture(next(NEW)), mask=block(), steps=2), Log()
    (usual,) = engine.generate(made, log)
    assert {stage: log.asked.count(stage) > 20 for stage in ("encoding", "denoising", "decoding")} == {
        "encoding": True,
        "denoising": True,
        "decoding": True,
    }
    for questions in range(1, len(log.asked), len(log.asked) // 12):
        stopped = Log(questions=questions)
        unknown = replace(made.request, prompt=f"not yet asked {questions}")  # so that all is done anew
        with pytest.raises(Cancelled):
            engine.generate(replace(made, request=unknown, work_image=picture(next(NEW))), stopped)
        assert len(stopped.asked) == questions
    np.testing.assert_array_equal(engine.generate(made, Silent())[0], usual)
    asked = len(stopped.asked)
    engine.encode(picture(next(NEW)))  # of no edit
    assert len(stopped.asked) == asked


def count_calls(engine: DiffusionEngine, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []
    call = getattr(engine.model, name)

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return call(*arguments)

    monkeypatch.setattr(engine.model, name, counted)
    return made


def test_prompts_and_pictures_are_encoded_once(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    prompts = count_calls(engine, "encode_prompt", monkeypatch)
    images = count_calls(engine, "encode_image", monkeypatch)
    image = picture(next(NEW))
    for seed in (1, 2):
        run(engine, prompt="asked once", negative="never asked", image=image, mask=block(), seed=seed, count=2)
    assert [arguments[0] for arguments in prompts] == [parse("asked once"), parse("never asked")]
    assert len(images) == 1
    run(engine, mode="txt2img", image=picture(next(NEW)))
    assert len(images) == 1  # nothing to encode


def test_the_latest_values_are_remembered():
    made: list[int] = []
    recent: Recent[int, int] = Recent(2)
    for key in (1, 2, 1, 3, 1, 2):
        assert recent.get(key, lambda key=key: made.append(key) or key * 10) == key * 10  # type: ignore[misc]
    assert made == [1, 2, 3, 2]


# ---- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
    ],
)
@pytest.mark.parametrize("call", ["encode_image", "predict", "decode_latents"])
def test_no_memory_left(engine: DiffusionEngine, call: str, error: Exception, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: Any) -> Any:
        raise error

    image = picture(next(NEW))
    monkeypatch.setattr(engine.model, call, fail)
    with pytest.raises(OutOfMemory):
        run(engine, mask=block(), image=image)
    monkeypatch.undo()
    run(engine, mask=block(), image=image)  # and the engine lives on


def test_a_picture_larger_than_any_memory(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine.model, "predict", lambda *arguments: torch.empty(1 << 46))
    with pytest.raises(OutOfMemory):
        run(engine)


def test_other_errors_pass(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(engine.model, "predict", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        run(engine)


@pytest.mark.parametrize("call", ["predict", "decode_latents"])
def test_numbers_out_of_range_are_no_picture(engine: DiffusionEngine, call: str, monkeypatch: pytest.MonkeyPatch):
    right = getattr(engine.model, call)

    def overflow(*arguments: Any) -> Tensor:
        result: Tensor = right(*arguments).clone()
        result[..., 0, 0] = torch.inf
        return result

    monkeypatch.setattr(engine.model, call, overflow)
    with pytest.raises(Internal, match="out of range"):
        run(engine)


@pytest.mark.slow
def test_an_autoencoder_that_leaves_the_range_of_float16_decodes_in_float32(engine: DiffusionEngine, tmp_path: Path):
    path = make_sd1_folder(tmp_path / "tiny")
    half = Device("cpu", torch.float16, channels_last=False)
    model: Any = SD1.load(path, identify(read_contents(path)), half, tmp_path / "cache")
    model._vae.decoder.conv_in.weight *= 2e5  # the normalisation behind it takes this back
    latents = engine.encode(picture())
    with torch.inference_mode():
        assert not model._vae.decode(latents.half() / 0.18215).sample.isfinite().all()
        first, second = (DiffusionEngine(model, SD1).decode(latents) for _ in range(2))
    assert first.std() > 1
    np.testing.assert_array_equal(first, second)
    assert np.abs(run(DiffusionEngine(model, SD1), steps=1)[0].astype(int)).std() > 1


def test_an_unknown_sampler(engine: DiffusionEngine):
    with pytest.raises(BadRequest):
        run(engine, sampler="magic")


# ---- masks and pixels ------------------------------------------------------------------------------------------------


def test_each_latent_pixel_has_the_strongest_mask_of_its_square():
    mask = np.zeros((16, 24), np.uint8)
    mask[15, 23] = 51
    mask[0, :9] = 255
    expected = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.2]])
    assert torch.equal(latent_mask(mask, 8)[0, 0], expected)


def test_an_inpaint_denoiser_is_told_a_binary_hole():
    mask = np.array([[0, 1, 127, 128, 255]], np.uint8)
    hole, visible = inpaint_condition(np.full((1, 5, 3), 9, np.uint8), mask)
    assert hole.tolist() == [[0, 0, 0, 255, 255]]
    assert visible[0, :, 0].tolist() == [9, 9, 9, 128, 128]


def test_a_faint_selection_does_not_vanish():
    hole, _ = inpaint_condition(np.zeros((1, 4, 3), np.uint8), np.array([[0, 10, 20, 40]], np.uint8))
    assert hole.tolist() == [[0, 0, 255, 255]]


def test_an_inpaint_model_without_a_mask_sees_a_hole_everywhere():
    hole, visible = inpaint_condition(picture(), np.full((64, 64), 255, np.uint8))
    assert hole.min() == 255
    assert (visible == 128).all()


def test_a_selection_with_nothing_around_starts_from_noise_alone(engine: DiffusionEngine):
    filled = plan(mask=block())
    nothing = replace(filled, known=np.zeros_like(filled.known))
    starts = [Pictures(engine, each, range(1), Log()) for each in (filled, nothing)]
    assert [start._from_nothing(start.first) for start in starts] == [False, True]


def test_a_shorter_prompt_goes_on_with_chunks_that_say_nothing(engine: DiffusionEngine):
    long, short = engine.encode_prompts((parse("a cat BREAK a dog"), parse("red")))
    (chunk,), (blank,) = (engine.encode_prompts((prompt,)) for prompt in (parse("red"), BLANK))
    assert long.tokens.shape == short.tokens.shape
    assert torch.equal(short.tokens, torch.cat([chunk.tokens, blank.tokens], dim=1))


def test_flat_pictures_of_other_sides_are_not_taken_for_one_another(engine: DiffusionEngine):
    wide, tall = np.full((32, 64, 3), 77, np.uint8), np.full((64, 32, 3), 77, np.uint8)
    across, down = (engine.encode(image).shape[2:] for image in (wide, tall))
    assert across == down[::-1] != down


def test_a_partial_selection_is_held_with_an_inpaint_denoiser_too(inpainter: DiffusionEngine):
    half = np.where(block() > 0, 128, 0).astype(np.uint8)
    there_and_back = inpainter.decode(inpainter.encode(picture())).astype(float)
    distances = [
        np.abs(run(inpainter, mask=mask, steps=6)[0] - there_and_back)[20:44, 28:52].mean() for mask in (half, block())
    ]
    assert 0 < distances[0] < distances[1]


def test_bytes_survive_the_way_through_the_range_of_the_model(engine: DiffusionEngine):
    np.testing.assert_array_equal(pixels(engine._tensor(picture())), picture())


def test_a_plan_is_not_changed(engine: DiffusionEngine):
    edit = plan(mask=block())
    copy = replace(edit, work_image=edit.work_image.copy(), work_mask=edit.work_mask.copy())
    engine.generate(edit, Log())
    np.testing.assert_array_equal(edit.work_image, copy.work_image)
    np.testing.assert_array_equal(edit.work_mask, copy.work_mask)
