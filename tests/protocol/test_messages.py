"""What an edit request may hold."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scumble.protocol.errors import ERRORS, BadRequest, Internal, OutOfMemory, error_from_code
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import (
    Control,
    EditRequest,
    History,
    Looking,
    LoraUse,
    Reference,
    Region,
    Submit,
    replace,
)
from scumble.protocol.schema import from_json, to_json

from .examples import JOB, REQUEST


@pytest.mark.parametrize(
    "changes",
    [
        {"canvas": Size(0, 10)},
        {"canvas": Size(10, 200_000)},
        {"image": Bounds(0, 0, 0, 1)},
        {"mask": Bounds(0, 0, 1, 40_000)},
        {"mask": Bounds(-40_000, 0, 1, 1)},
        {"mask": None},
        {"strength": math.nan},
        {"strength": -0.1},
        {"strength": 1.1},
        {"guidance": math.inf},
        {"guidance": -1.0},
        {"steps": 0},
        {"steps": 10**6},
        {"count": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"grow": -1},
        {"feather": 10**6},
        {"context": -1},
        {"resolution": 63},
        {"resolution": 4097},
        {"factor": 1},
        {"factor": 5},
        {"clip_skip": 0},
        {"clip_skip": 33},
    ],
)
def test_numbers_out_of_range_are_refused_with_a_sentence(changes: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        replace(REQUEST, **changes)
    assert caught.value.message.endswith(".")
    assert caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"image": Bounds(0, 0, 0, 1)},
        {"image": Bounds(-40_000, 0, 1, 1)},
        {"weight": -0.1},
        {"weight": math.inf},
        {"start": -0.1},
        {"end": 1.1},
        {"start": 0.5, "end": 0.5},
    ],
)
def test_controls_out_of_range_are_refused_with_a_sentence(changes: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        Control(**{"id": "c", "image": Bounds(0, 0, 1, 1), **changes})
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    "changes",
    [
        {"size": Size(0, 1)},
        {"size": Size(1, 40_000)},
        {"weight": -0.1},
        {"weight": math.nan},
        {"start": -0.1},
        {"end": 1.1},
        {"start": 0.5, "end": 0.5},
    ],
)
def test_references_out_of_range_are_refused_with_a_sentence(changes: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        Reference(**{"id": "r", "size": Size(1, 1), **changes})
    assert caught.value.message.endswith(".")


def test_a_region_lies_where_the_protocol_reaches() -> None:
    with pytest.raises(BadRequest):
        Region("a star", Bounds(0, 0, 0, 1))


@pytest.mark.parametrize("weight", [-10.1, 11.0, math.nan])
def test_weights_of_loras_are_bounded(weight: float) -> None:
    assert LoraUse("a", -10.0).weight == -10
    with pytest.raises(BadRequest):
        LoraUse("a", weight)


def test_an_unknown_preprocessor_is_refused() -> None:
    value = to_json(Control("c", Bounds(0, 0, 1, 1)))
    assert from_json(Control, value) == Control("c", Bounds(0, 0, 1, 1))
    with pytest.raises(BadRequest, match="canny"):
        from_json(Control, {**value, "preprocessor": "guess"})


@pytest.mark.parametrize("mode", ["img2img", "txt2img"])
def test_whole_canvas_modes_need_no_mask(mode: Any) -> None:
    assert EditRequest(mode, Size(8, 8), Bounds(0, 0, 8, 8)).mask is None


@pytest.mark.parametrize("job", ["", "x" * 32, JOB + "0", JOB.upper(), "../" + JOB[3:]])
def test_job_ids_are_plain_hex(job: str) -> None:
    with pytest.raises(BadRequest):
        Submit(job, REQUEST)


@pytest.mark.parametrize("value", [2**63, -(2**63), 2**64, 10**400])
def test_whole_numbers_fit_into_eight_bytes(value: int) -> None:
    """More cannot be stored."""
    assert from_json(Looking, {"done": 2**63 - 1, "files": 1}).done == 2**63 - 1
    with pytest.raises(BadRequest, match="range"):
        from_json(Looking, {"done": value, "files": 1})


def test_history_and_priority_are_bounded() -> None:
    with pytest.raises(BadRequest):
        History(limit=0)
    with pytest.raises(BadRequest):
        Submit(JOB, REQUEST, priority=11)


def test_errors_keep_their_kind_and_hint_across_the_wire_and_the_pipe() -> None:
    import pickle

    for code, kind in ERRORS.items():
        error = error_from_code(code, "It broke.", "Mend it.")
        assert type(error) is kind
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.message, copy.hint) == (kind, "It broke.", "Mend it.")
        assert kind.default_hint, "every error says one thing to do"
    assert isinstance(error_from_code("from_the_future", "?"), Internal)
    assert OutOfMemory("x").hint == OutOfMemory.default_hint


@pytest.mark.parametrize("words", [{"prompt": "caf\udce9"}, {"negative": "\ud83d"}])
def test_a_prompt_is_text(words: dict) -> None:
    with pytest.raises(BadRequest, match="not valid text"):
        EditRequest("txt2img", Size(8, 8), Bounds(0, 0, 1, 1), **words)
    with pytest.raises(BadRequest, match="not valid text"):
        Region("caf\udce9", Bounds(0, 0, 1, 1))
