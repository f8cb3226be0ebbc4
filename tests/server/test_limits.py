"""What is refused before any pixel is decoded."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from scumble.protocol.errors import BadRequest, ScumbleError, TooLarge
from scumble.protocol.frames import pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Buffer, EditRequest, Limits, Reference, Region
from scumble.server.limits import check_submit

LIMITS = Limits(max_pixels=1000, max_side=100, max_prompt=20, max_regions=1, max_references=1)
IMAGE = pack("image", 20, 10, "rgba8", bytes(800))
MASK = pack("mask", 4, 2, "gray8", bytes(8))


def request(**changes: Any) -> EditRequest:
    return EditRequest(**{"mode": "upscale", "canvas": Size(20, 10), "image": Bounds(0, 0, 20, 10), **changes})


def region(prompt: str = "a star", side: int = 2) -> tuple[Region, Buffer]:
    return Region(prompt, Bounds(0, 0, side, side)), pack("region", 2, 2, "gray8", bytes(4))


def test_an_upscale_that_fits_is_taken() -> None:
    check_submit(request(factor=2), [IMAGE], LIMITS)


@pytest.mark.parametrize(
    ("changes", "buffers", "error"),
    [
        ({"factor": 4}, [IMAGE], TooLarge),  # 3200 px
        ({"canvas": Size(60, 1), "image": Bounds(0, 0, 20, 10), "factor": 2}, [IMAGE], TooLarge),  # 120 px a side
        ({"mask": Bounds(0, 0, 4, 2)}, [IMAGE, MASK], BadRequest),
    ],
)
def test_an_upscale_that_cannot_be_is_refused(changes: Any, buffers: list[Buffer], error: type[ScumbleError]) -> None:
    with pytest.raises(error) as caught:
        check_submit(request(**changes), buffers, LIMITS)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"mode": "txt2img", "canvas": Size(50, 20)}, True),
        ({"mode": "txt2img", "canvas": Size(50, 21)}, False),  # whatever is sent of it
        ({"mode": "img2img", "count": 5}, True),
        ({"mode": "img2img", "count": 6}, False),
        ({"mode": "upscale", "factor": 2, "count": 2}, False),
        ({"mode": "fill", "canvas": Size(90, 90), "mask": Bounds(0, 0, 4, 2), "count": 6}, True),
        ({"mode": "fill", "canvas": Size(90, 90), "mask": Bounds(0, 0, 4, 2), "count": 6, "grow": 16}, False),
    ],
)
def test_no_result_is_begun_that_could_not_be_sent(changes: Any, fits: bool) -> None:
    buffers = [IMAGE, MASK] if "mask" in changes else [IMAGE]
    with contextlib.nullcontext() if fits else pytest.raises(TooLarge, match="more than can be sent"):
        check_submit(request(**changes), buffers, Limits(max_frame_bytes=4000))


def test_references_are_checked_as_all_else() -> None:
    one, buffer = Reference("r", Size(2, 2)), pack("reference", 2, 2, "rgba8", bytes(16))
    check_submit(request(mode="img2img", references=(one,)), [IMAGE, buffer], LIMITS)
    for references, buffers, words in (
        ((one, one), [buffer, buffer], "at most 1"),
        ((Reference("r", Size(90, 90)),), [buffer], "covers more"),
        ((Reference("r", Size(3, 2)),), [buffer], "of the size"),
        ((one,), [pack("reference", 2, 2, "gray8", bytes(4))], "format"),
    ):
        with pytest.raises((TooLarge, BadRequest), match=words):
            check_submit(request(mode="img2img", references=references), [IMAGE, *buffers], LIMITS)


def test_regions_are_checked_as_all_else() -> None:
    one, buffer = region()
    check_submit(request(mode="img2img", regions=(one,)), [IMAGE, buffer], LIMITS)
    for regions, buffers, words in (
        ((one, one), [buffer, buffer], "at most 1"),
        ((region("a star " * 9)[0],), [buffer], "prompt is longer"),
        ((region(side=90)[0],), [buffer], "covers more"),
        ((region(side=3)[0],), [buffer], "of the size"),
        ((one,), [pack("region", 2, 2, "rgba8", bytes(16))], "format"),
    ):
        with pytest.raises((TooLarge, BadRequest), match=words):
            check_submit(request(mode="img2img", regions=regions), [IMAGE, *buffers], LIMITS)
