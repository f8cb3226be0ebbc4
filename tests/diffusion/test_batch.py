"""Several pictures at once, and as little memory as can be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.picture import seed_of
from scumble.diffusion.piecewise import piecewise, tiles_for
from scumble.diffusion.samplers import SAMPLERS
from scumble.editing.plan import Cancelled, Source
from scumble.editing.planner import plan_edit
from scumble.protocol.errors import OutOfMemory
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import MAX_SEED, EditRequest
from scumble.server.progress import Reporter
from scumble.server.worker import Worker
from torch import Tensor

from tests.editing.pictures import DIFFUSION, opaque, photo, plan_of
from tests.server.edits import work

from .test_engine import Log, block, count_calls, plan
from .test_two_pass import large, make


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    return make(tmp_path_factory.mktemp("model"), inpaint=False)


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scumble.diffusion.engine.batch_size", lambda *numbers: 2)


def sizes(calls: list[Any]) -> list[int]:
    return [len(arguments[0]) for arguments in calls]


@pytest.mark.parametrize(
    "sampler", [SAMPLERS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in SAMPLERS[1:])]
)
def test_each_picture_of_a_batch_is_that_of_its_seed(
    engine: DiffusionEngine, sampler: str, two_at_once: None, monkeypatch: pytest.MonkeyPatch
):
    settings: dict[str, Any] = {"sampler": sampler, "mask": block(), "steps": 4}
    first, second = engine.generate(plan(count=2, **settings), Log())
    monkeypatch.undo()
    (alone,) = engine.generate(plan(seed=6, **settings), Log())
    # To the rounding of the format: sums in a batch run in another order.
    assert np.abs(alone.astype(int) - second).max() <= 1
    assert not np.array_equal(first, second)


def test_pictures_that_do_not_fill_a_batch_come_last(
    engine: DiffusionEngine, two_at_once: None, monkeypatch: pytest.MonkeyPatch
):
    calls = count_calls(engine, "predict", monkeypatch)
    log = Log()
    pictures = engine.generate(plan(count=3, steps=2), log)
    assert len(pictures) == 3
    assert sizes(calls) == [4, 4, 2, 2]  # with and without the prompt
    steps = [(step, steps) for stage, step, steps in log.calls if stage == "denoising"]
    assert steps == [(0, 6), (2, 6), (4, 6), (4, 6), (5, 6), (6, 6)]


@pytest.mark.slow
def test_a_batch_is_composed_together_and_refined_one_by_one(
    engine: DiffusionEngine, two_at_once: None, monkeypatch: pytest.MonkeyPatch
):
    calls = count_calls(engine, "predict", monkeypatch)
    first, second = engine.generate(large(engine, count=2), Log())
    assert sizes(calls)[:5] == [4] * 5
    assert set(sizes(calls)[5:]) == {2}
    (alone,) = engine.generate(large(engine, seed=6), Log())
    assert np.abs(alone.astype(int) - second).max() <= 1
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_prompts_that_are_drawn_anew_are_painted_one_by_one(
    tmp_path: Path, two_at_once: None, monkeypatch: pytest.MonkeyPatch
):
    engine = make(tmp_path, inpaint=False)
    calls = count_calls(engine, "predict", monkeypatch)
    engine.generate(plan(prompt="a {boat|tree|cat|dog|house}", count=3), Log())
    engine.generate(plan(negative="{fog|rain|snow|dust|dusk}", count=3), Log())
    assert set(sizes(calls)) == {2}


def test_on_a_cpu_pictures_are_painted_one_by_one(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch):
    calls = count_calls(engine, "predict", monkeypatch)
    engine.generate(plan(count=2), Log())
    assert set(sizes(calls)) == {2}


def test_a_cancel_ends_a_batch_within_one_step(
    engine: DiffusionEngine, two_at_once: None, monkeypatch: pytest.MonkeyPatch
):
    calls = count_calls(engine, "predict", monkeypatch)
    with pytest.raises(Cancelled):
        engine.generate(plan(count=2), Log(("denoising", 4)))
    assert len(calls) == 2


# ---- thrift ----------------------------------------------------------------------------------------------------------


def test_thriftily_the_same_picture_comes_from_smaller_pieces(
    engine: DiffusionEngine, two_at_once: None, monkeypatch: pytest.MonkeyPatch
):
    edit = plan(mask=block(), count=2)
    usual = engine.generate(edit, Log())
    calls = count_calls(engine, "predict", monkeypatch)
    thrifty = engine.generate(edit, Log(), thrifty=True)
    assert sizes(calls) == [1] * 12  # two pictures, three steps, with and without the prompt
    for one, other in zip(usual, thrifty, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
    assert sizes(count_calls(engine, "predict", monkeypatch)) == []
    for one, other in zip(engine.generate(edit, Log()), usual, strict=True):
        np.testing.assert_array_equal(one, other)  # the next job is not thrifty any more


def test_thriftily_the_autoencoder_sees_no_more_than_the_native_size(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
):
    edit = plan_of(photo(120, 112), None, (0, 0), engine.traits, mode="img2img", strength=0.3, steps=4, seed=1)
    encoded = count_calls(engine, "encode_image", monkeypatch)
    decoded = count_calls(engine, "decode_latents", monkeypatch)
    (usual,) = engine.generate(edit, Log())
    assert (len(encoded), len(decoded)) == (1, 1)
    (thrifty,) = engine.generate(edit, Log(), thrifty=True)
    assert thrifty.shape == usual.shape
    assert all(image.shape[2] * image.shape[3] <= 64**2 for image, *_ in encoded[1:])
    assert all(latents.shape[2] * latents.shape[3] <= 8**2 for latents, *_ in decoded[1:])


def test_a_machine_with_little_memory_encodes_in_windows_from_the_start(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
):
    from scumble.diffusion.memory import Memory

    monkeypatch.setattr(engine, "_memory", Memory(0, 1 << 20))
    decoded = count_calls(engine, "decode_latents", monkeypatch)
    engine.decode(torch.zeros(1, 4, 14, 15))
    assert len(decoded) > 1


def test_pieces_of_a_local_change_fit_together_exactly():
    whole = torch.rand(1, 3, 96, 128)
    size = Size(16, 12)
    tiles = [
        (tile, Bounds(*(value // 8 for value in tile))) for tile in tiles_for(Size(128, 96), 64 * 64, DIFFUSION_64)
    ]
    assert len(tiles) > 1
    pooled = piecewise(lambda part: F.avg_pool2d(part, 8), whole, tiles, size)
    torch.testing.assert_close(pooled, F.avg_pool2d(whole, 8))
    (only,) = tiles_for(Size(64, 64), 64 * 64, DIFFUSION_64)
    assert only == Bounds(0, 0, 64, 64)


DIFFUSION_64 = type(DIFFUSION)(native=64, multiple=8, max_area=1 << 30, prompt=True, reach=1 << 20)


def test_weights_are_counted_to_the_byte(engine: DiffusionEngine):
    model: Any = engine.model
    parts = (model._unet, model._vae, model._text_encoder)
    stored = sum(tensor.nbytes for part in parts for tensor in part.state_dict().values())
    assert engine.bytes == pytest.approx(stored, rel=1e-4)
    assert engine.bytes > 4_000_000
    assert engine.free() > 0


def test_a_job_that_a_gpu_cannot_hold_is_done_in_smaller_pieces(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
):
    """The way from torch's error to the finished layer, through the worker."""
    right, tries = engine.model.predict, []

    def only_one_at_once(latents: Tensor, *arguments: Any) -> Tensor:
        tries.append(len(latents))
        if len(latents) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return right(latents, *arguments)

    monkeypatch.setattr(engine.model, "predict", only_one_at_once)
    request = EditRequest(
        "img2img", Size(64, 64), Bounds(0, 0, 64, 64), prompt="a boat", strength=0.5, steps=4, guidance=3.0,
        sampler="euler", seed=1,
    )  # fmt: skip
    source = Source(opaque(photo(64, 64)))
    with pytest.raises(OutOfMemory):
        engine.generate(plan_edit(request, source, engine.traits), Log())
    tries.clear()
    worker = Worker(SimpleNamespace(send=lambda reply: None), lambda job: engine, lambda job: 0)  # type: ignore[arg-type]
    report = Reporter("0" * 32, 1, lambda payload: None, lambda: False, 1.0)
    _, (layer,) = worker._layers(work(), request, source, report)
    assert tries == [2, 1, 1, 1, 1]
    monkeypatch.undo()
    _, (usual,) = worker._layers(work(), request, source, report)
    assert np.abs(layer.rgba.astype(int) - usual.rgba).max() <= 1


def test_the_seed_after_the_last_one_is_the_first() -> None:
    """As the layers say (`test_each_image_has_its_own_seed`): each can be made again alone."""
    request = EditRequest("txt2img", Size(8, 8), Bounds(0, 0, 1, 1), seed=MAX_SEED, count=2)
    assert [seed_of(request, index) for index in range(2)] == [MAX_SEED, 0]
