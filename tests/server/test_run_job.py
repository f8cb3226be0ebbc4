from __future__ import annotations

import numpy as np
import pytest
from scumble.editing.plan import Cancelled, Pixels, Silent
from scumble.protocol.errors import BadRequest
from scumble.protocol.frames import decode
from scumble.protocol.messages import Progress, Stage
from scumble.server.progress import Reporter, seconds_left
from scumble.server.run_job import run_job

from tests.fakes.engines import FakeEngine, colour

from .edits import edit


def test_run_job_plans_generates_and_composites() -> None:
    request, source = edit(count=2)
    stages: list[tuple[Stage, int, int]] = []

    def report(stage: Stage, step: int = 0, steps: int = 0, preview: object = None, times: float = 0.0) -> None:
        stages.append((stage, step, steps))

    crop, layers = run_job(request, source, FakeEngine(), report)

    assert [stage for stage, *_ in stages[:3]] == ["planning", "encoding", "denoising"]
    assert stages[-2:] == [("decoding", 0, 0), ("compositing", 0, 0)]
    assert [layer.seed for layer in layers] == [7, 8]
    assert request.mask is not None
    for layer in layers:
        assert crop.intersect(layer.bounds) == layer.bounds
        assert (layer.rgba == (*colour(layer.seed), 255)).all()


def test_a_selection_of_nothing_is_refused() -> None:
    request, source = edit()
    assert source.mask is not None
    with pytest.raises(BadRequest):
        run_job(request, type(source)(source.image, source.mask * 0), FakeEngine(), Silent())


def test_seconds_left_is_the_median_step_for_what_remains() -> None:
    assert seconds_left([], 20, 1, 1.0) is None
    assert seconds_left([2.0], 19, 1, 1.0) == 40.0
    assert seconds_left([2.0, 2.0, 60.0, 2.0], 5, 1, 0.0) == 10.0  # one step held up by other work
    assert seconds_left([9.0] * 20 + [1.0] * 9, 10, 0, 1.0) == 10.0  # the latest steps count
    assert seconds_left([1.0], 6, 2, 1.5) == 9.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("takes", "shown"), [(0.0, [1, 2, 3, 4, 5, 6]), (0.1, [1, 3, 5]), (1.0, [1])])
def test_previews_take_a_thirtieth_of_the_time_at_most(takes: float, shown: list[int]) -> None:
    """Steps of two seconds: a preview that takes a tenth of a second is due every three seconds, one of a second hardly."""
    clock, sent = Clock(), []
    report = Reporter("0" * 32, 1, sent.append, lambda: False, 1.0, clock)

    def preview() -> Pixels:
        clock.now += takes
        return np.zeros((8, 8, 3), np.uint8)

    report("denoising", 0, 6)
    for step in range(1, 7):
        clock.now += 2.0
        report("denoising", step, 6, preview)
    decoded = [decode(payload) for payload in sent]
    assert [message.step for message, buffers in decoded if buffers and isinstance(message, Progress)] == shown


def test_reporter_tells_steps_and_seconds_and_keeps_the_time_of_each_phase() -> None:
    clock, sent = Clock(), []
    report = Reporter("0" * 32, 1, sent.append, lambda: False, 1.0, clock)
    for stage, step, steps, seconds in [
        ("loading", 0, 0, 3.0),
        ("planning", 0, 0, 0.5),
        ("encoding", 0, 0, 1.0),
        ("denoising", 0, 3, 2.0),
        ("denoising", 1, 3, 2.0),
        ("denoising", 2, 3, 2.0),
        ("denoising", 3, 3, 0.0),
        ("decoding", 0, 0, 4.0),
        ("compositing", 0, 0, 0.25),
    ]:
        report(stage, step, steps)
        clock.now += seconds

    messages = [decode(payload)[0] for payload in sent]
    assert [(m.stage, m.step, m.steps, m.seconds_left) for m in messages if isinstance(m, Progress)] == [
        ("loading", 0, 0, None),
        ("planning", 0, 0, None),
        ("encoding", 0, 0, None),
        ("denoising", 0, 3, None),
        ("denoising", 1, 3, 6.0),
        ("denoising", 2, 3, 4.0),
        ("denoising", 3, 3, 2.0),
        ("decoding", 3, 3, 2.0),
        ("compositing", 3, 3, None),
    ]
    assert report.timings() == {
        "load": 3.0, "plan": 0.5, "encode": 1.0, "denoise": 6.0, "decode": 4.0, "composite": 0.25, "generate": 11.0,
    }  # fmt: skip
    assert report.decoding == 2.0  # it took two steps' time: the next job reckons with that


def test_several_pictures_are_reckoned_with_all_their_decodings() -> None:
    clock, sent = Clock(), []
    report = Reporter("0" * 32, 2, sent.append, lambda: False, 1.0, clock)
    left = []
    for stage, step, seconds in [
        ("denoising", 0, 2.0),
        ("denoising", 1, 1.0),  # 1 step and 2 decodings
        ("decoding", 0, 3.0),
        ("encoding", 0, 5.0),
        ("denoising", 1, 2.0),
        ("denoising", 2, 1.0),
        ("decoding", 0, 3.0),
    ]:
        report(stage, step, 2 if stage == "denoising" else 0)  # type: ignore[arg-type]
        clock.now += seconds
        message = decode(sent[-1])[0]
        assert isinstance(message, Progress)
        left.append(message.seconds_left)

    assert left == [None, 6.0, 6.0, 4.0, 4.0, 2.0, 2.0]
    assert report.timings()["denoise"] == 6.0
    assert report.decoding == 1.5


def test_a_picture_of_many_windows_takes_as_many_times_to_decode() -> None:
    """Else an upscale would say "0 s left" for a minute, and the fill after it four minutes too much."""
    clock, sent = Clock(), []
    report = Reporter("0" * 32, 1, sent.append, lambda: False, 1.5, clock)
    report("encoding", times=20.0)
    report("denoising", 0, 1)
    clock.now += 2.0
    report("denoising", 1, 1)
    report("decoding")
    assert decode(sent[-1])[0] == Progress("0" * 32, "decoding", 1, 1, 60.0)
    clock.now += 80.0
    report("compositing")
    assert report.decoding == 2.0


def test_pictures_that_were_denoised_together_are_decoded_one_by_one() -> None:
    clock, sent = Clock(), []
    report = Reporter("0" * 32, 3, sent.append, lambda: False, 1.0, clock)
    left = []
    for stage, step, seconds in [("denoising", 0, 2.0), ("denoising", 3, 0.0), *[("decoding", 0, 4.0)] * 3]:
        report(stage, step, 3 if stage == "denoising" else 0)  # type: ignore[arg-type]
        clock.now += seconds
        message = decode(sent[-1])[0]
        assert isinstance(message, Progress)
        left.append(message.seconds_left)
    assert left == pytest.approx([None, 2.0, 2.0, 4 / 3, 2 / 3])
    report("compositing")
    assert report.decoding == pytest.approx(6.0)


def test_reporter_does_not_count_the_way_to_the_first_step_as_a_step() -> None:
    clock, sent = Clock(), []
    report = Reporter("0" * 32, 1, sent.append, lambda: False, 0.0, clock)
    report("encoding")
    clock.now += 50
    report("denoising", 0, 2)
    clock.now += 1
    report("denoising", 1, 2)
    assert decode(sent[-1])[0] == Progress("0" * 32, "denoising", 1, 2, 1.0)
    report = Reporter("0" * 32, 1, sent.append, lambda: False, 0.0, clock)
    report("encoding")
    clock.now += 50
    report("denoising", 1, 2)
    assert decode(sent[-1])[0] == Progress("0" * 32, "denoising", 1, 2, None)


def test_previews_are_made_only_when_one_is_due() -> None:
    clock, sent, made = Clock(), [], []

    def preview() -> np.ndarray:
        made.append(clock.now)
        return np.full((3, 5, 3), 200, np.uint8)

    report = Reporter("0" * 32, 1, sent.append, lambda: False, 0.0, clock)
    for step in range(8):
        report("denoising", step, 8, preview)
        clock.now += 0.25

    assert made == [100.0, 100.5, 101.0, 101.5]
    (buffer,) = decode(sent[0])[1]
    assert (buffer.role, buffer.width, buffer.height, buffer.format) == ("preview", 5, 3, "rgba8")
    assert decode(sent[1])[1] == ()


def test_reporter_raises_cancelled_and_tells_nothing_more() -> None:
    sent: list[str | bytes] = []
    report = Reporter("0" * 32, 1, sent.append, lambda: True, 0.0)
    with pytest.raises(Cancelled):
        report("denoising", 1, 2)
    with pytest.raises(Cancelled):
        report.check()
    assert sent == []
    Reporter("0" * 32, 1, sent.append, lambda: False, 0.0).check()
    assert sent == []
