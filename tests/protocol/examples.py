"""One example of every message, and hypothesis strategies that make any."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from scumble.protocol import messages
from scumble.protocol.frames import pack
from scumble.protocol.geometry import MAX_SIDE, Bounds, Size
from scumble.protocol.messages import Buffer, Control, EditRequest, LoraUse, Reference, Region

JOB = "0123456789abcdef0123456789abcdef"
REQUEST = EditRequest("fill", Size(64, 48), Bounds(0, 0, 4, 3), Bounds(1, 1, 2, 1), prompt="a red circle", seed=7)
CONTROL = Control("c" * 16, Bounds(0, 0, 2, 2), "canny", 0.8, 0.0, 0.5)
IMAGE = pack("image", 4, 3, "rgba8", bytes(range(48)))
MASK = pack("mask", 2, 1, "gray8", b"\xff\x80")

text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
sides = st.integers(1, MAX_SIDE)
offsets = st.integers(-MAX_SIDE, MAX_SIDE)
job_ids = st.text("0123456789abcdef", min_size=32, max_size=32)
numbers = st.floats(allow_nan=False, allow_infinity=False)
bounds = st.builds(Bounds, offsets, offsets, sides, sides)

requests = st.builds(
    EditRequest,
    mode=st.sampled_from(get_args(messages.Mode)),
    canvas=st.builds(Size, sides, sides),
    image=bounds,
    mask=bounds,
    model=st.none() | text,
    prompt=text,
    negative=text,
    strength=st.floats(0, 1),
    steps=st.none() | st.integers(1, 1000),
    guidance=st.none() | st.floats(0, 100),
    sampler=st.none() | text,
    seed=st.none() | st.integers(0, messages.MAX_SEED),
    count=st.integers(1, 64),
    grow=st.integers(0, 4096),
    feather=st.integers(0, 4096),
    context=st.none() | st.integers(0, MAX_SIDE),
    resolution=st.none() | st.integers(64, 4096),
    prefill=st.sampled_from(get_args(messages.Prefill)),
    color_match=st.booleans(),
    membrane=st.booleans(),
    clip_skip=st.integers(1, 32),
    loras=st.lists(st.builds(LoraUse, text, st.floats(-10, 10)), max_size=2).map(tuple),
    controls=st.lists(
        st.builds(
            Control,
            text,
            bounds,
            st.sampled_from(get_args(messages.Preprocessor)),
            st.floats(0, 10),
            st.floats(0, 0.4),
            st.floats(0.5, 1),
        ),
        max_size=2,
    ).map(tuple),
    regions=st.lists(st.builds(Region, text, bounds), max_size=2).map(tuple),
    references=st.lists(
        st.builds(
            Reference, text, st.builds(Size, sides, sides), st.floats(0, 10), st.floats(0, 0.4), st.floats(0.5, 1)
        ),
        max_size=2,
    ).map(tuple),
    transparent=st.booleans(),
    factor=st.integers(2, 4),
)


def _values(hint: Any) -> Any:
    """A strategy for a field's type."""
    origin = get_origin(hint)
    if hint is EditRequest:
        return requests
    if hint is Bounds:
        return bounds
    if dataclasses.is_dataclass(hint):
        return any_of(hint)  # type: ignore[arg-type]
    if origin is Union:
        return st.none() | _values(get_args(hint)[0])
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is tuple:
        return st.lists(_values(get_args(hint)[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(text, _values(get_args(hint)[1]), max_size=3)
    simple: dict[Any, Any] = {
        bool: st.booleans(),
        int: st.integers(-(2**62), 2**62),
        float: numbers,
        str: text,
    }
    return simple[hint]


SPECIAL: dict[tuple[type, str], Any] = {
    (messages.Hello, "version"): st.just(messages.PROTOCOL_VERSION),
    (messages.Welcome, "version"): st.just(messages.PROTOCOL_VERSION),
    (messages.Submit, "priority"): st.integers(-10, 10),
    (messages.Submit, "job"): job_ids,
    (messages.History, "limit"): st.integers(1, 1000),
}


def any_of(kind: type) -> Any:
    """A strategy for instances of a message."""
    hints = get_type_hints(kind)
    fields = {
        field.name: SPECIAL.get((kind, field.name), _values(hints[field.name]))
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
    }
    return st.builds(kind, **fields)


any_message = st.one_of([any_of(kind) for kind in messages.MESSAGES.values()])


@st.composite
def frames_with_buffers(draw: Any) -> tuple[messages.Message, tuple[Buffer, ...]]:
    """Any message with buffers that may go with it."""
    message = draw(any_message)
    roles = draw(st.sampled_from(messages.roles_of(message)))
    buffers = []
    for role in roles:
        width, height = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        layout, size = (
            ("gray8", 1) if role in ("mask", "region") else draw(st.sampled_from([("rgba8", 4), ("rgba16", 8)]))
        )
        pixels = draw(st.binary(min_size=width * height * size, max_size=width * height * size))
        buffers.append(pack(role, width, height, layout, pixels, draw(st.sampled_from(["raw", "zlib"]))))
    return message, tuple(buffers)
