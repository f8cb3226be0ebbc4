"""The wire format: golden bytes, round trips, and what damaged frames get."""

from __future__ import annotations

import json
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scumble.protocol import frames
from scumble.protocol.errors import BadRequest, ScumbleError, TooLarge, UnsupportedVersion
from scumble.protocol.frames import decode, encode, pack, unpack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Buffer, Cancel, Hello, LoraUse, Progress, Reference, Region, Submit, replace

from .examples import CONTROL, IMAGE, JOB, MASK, REQUEST, any_message, frames_with_buffers

GOLDEN_HEADER = (
    '{"type":"submit","job":"0123456789abcdef0123456789abcdef","request":{"mode":"fill","canvas":[64,48],'
    '"image":[0,0,4,3],"mask":[1,1,2,1],"model":null,"prompt":"a red circle","negative":"","strength":1.0,"steps":null,'
    '"guidance":null,"sampler":null,"seed":7,"count":1,"grow":0,"feather":0,"context":null,"resolution":null,"prefill":"auto",'
    '"color_match":true,"membrane":true,"clip_skip":1,"loras":[],"controls":[],"regions":[],"references":[],"transparent":false,"factor":2},"priority":0,"buffers":[{"role":"image","width":4,"height":3,"format":"rgba8",'
    '"encoding":"raw","bytes":48},{"role":"mask","width":2,"height":1,"format":"gray8","encoding":"raw","bytes":2}]}'
)


def test_golden_binary_frame() -> None:
    """Byte for byte what every release of protocol version 1 sends: a change here needs a new version."""
    head = GOLDEN_HEADER.encode()
    golden = b"SCM1" + struct.pack("<I", len(head)) + head + bytes(range(48)) + b"\xff\x80"
    assert encode(Submit(JOB, REQUEST), [IMAGE, MASK]) == golden
    assert decode(golden) == (Submit(JOB, REQUEST), (IMAGE, MASK))


def test_golden_loras_and_controls() -> None:
    """Each control has a buffer of its own, after the mask."""
    request = replace(REQUEST, loras=(LoraUse("f" * 16, 0.5),), controls=(CONTROL, CONTROL))
    buffer = pack("control", 2, 2, "rgba8", bytes(16))
    payload = encode(Submit(JOB, request), [IMAGE, MASK, buffer, buffer])
    assert (
        b'"loras":[{"id":"ffffffffffffffff","weight":0.5}],"controls":[{"id":"cccccccccccccccc","image":[0,0,2,2],'
        b'"preprocessor":"canny","weight":0.8,"start":0.0,"end":0.5},{"id"' in payload
    )
    assert decode(payload) == (Submit(JOB, request), (IMAGE, MASK, buffer, buffer))
    for wrong in ([IMAGE, MASK], [IMAGE, MASK, buffer], [IMAGE, buffer, MASK, buffer], [IMAGE, MASK, *[buffer] * 3]):
        with pytest.raises(BadRequest):
            decode(encode(Submit(JOB, request), wrong))


def test_golden_regions() -> None:
    """Each region has a mask of its own, after the controls."""
    request = replace(REQUEST, controls=(CONTROL,), regions=(Region("a star", Bounds(1, 0, 2, 2)),))
    control, region = pack("control", 2, 2, "rgba8", bytes(16)), pack("region", 2, 2, "gray8", b"\0\1\x80\xff")
    payload = encode(Submit(JOB, request), [IMAGE, MASK, control, region])
    assert b'"regions":[{"prompt":"a star","mask":[1,0,2,2]}]' in payload
    assert decode(payload) == (Submit(JOB, request), (IMAGE, MASK, control, region))
    for wrong in ([IMAGE, MASK, control], [IMAGE, MASK, region, control]):
        with pytest.raises(BadRequest):
            decode(encode(Submit(JOB, request), wrong))


def test_golden_references() -> None:
    """Each reference has a picture of its own, of any size, last."""
    request = replace(
        REQUEST,
        regions=(Region("a star", Bounds(1, 0, 2, 2)),),
        references=(Reference("d" * 16, Size(3, 1), 0.5, 0.25), Reference("d" * 16, Size(1, 1))),
    )
    region = pack("region", 2, 2, "gray8", b"\0\1\x80\xff")
    wide, dot = pack("reference", 3, 1, "rgba8", bytes(range(12))), pack("reference", 1, 1, "rgba8", bytes(4))
    payload = encode(Submit(JOB, request), [IMAGE, MASK, region, wide, dot])
    assert (
        b'"references":[{"id":"dddddddddddddddd","size":[3,1],"weight":0.5,"start":0.25,"end":1.0},'
        b'{"id":"dddddddddddddddd","size":[1,1],"weight":1.0,"start":0.0,"end":1.0}],"transparent":false,"factor":2'
        in payload
    )
    assert b'{"role":"reference","width":3,"height":1,"format":"rgba8","encoding":"raw","bytes":12}' in payload
    assert decode(payload) == (Submit(JOB, request), (IMAGE, MASK, region, wide, dot))
    for wrong in ([IMAGE, MASK, region, wide], [IMAGE, MASK, wide, dot, region], [IMAGE, MASK, region, wide, dot, dot]):
        with pytest.raises(BadRequest):
            decode(encode(Submit(JOB, request), wrong))


def test_golden_text_frames() -> None:
    assert encode(Cancel(JOB)) == '{"type":"cancel","job":"0123456789abcdef0123456789abcdef"}'
    assert encode(Hello(1, "krita", "secret")) == (
        '{"type":"hello","version":1,"client":"krita","token":"secret","session":null,"on_disconnect":"keep"}'
    )


@given(frames_with_buffers())
def test_any_message_survives_the_round_trip(frame: tuple) -> None:
    message, buffers = frame
    if not buffers and () not in frames.roles_of(message):
        return
    payload = encode(message, buffers)
    assert isinstance(payload, bytes if buffers else str)
    assert decode(payload) == (message, buffers)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_by_name(data: bytes) -> None:
    for payload in (data, b"SCM1" + data):
        with pytest.raises(ScumbleError):
            decode(payload)


@given(st.text(max_size=200))
def test_random_text_is_refused_by_name(data: str) -> None:
    with pytest.raises(ScumbleError):
        decode(data)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_frame_is_refused_or_still_well_formed(data: st.DataObject) -> None:
    """Cut short: always refused. With one byte changed: refused, or another valid message (a changed pixel is)."""
    payload = encode(Submit(JOB, REQUEST), [IMAGE, MASK])
    assert isinstance(payload, bytes)
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(ScumbleError):
        decode(payload[:cut])
    with pytest.raises(ScumbleError):
        decode(payload + b"\0")
    damaged = bytearray(payload)
    damaged[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        message, buffers = decode(bytes(damaged))
    except ScumbleError:
        return
    assert isinstance(message, Submit)
    assert [buffer.role for buffer in buffers] == ["image", "mask"]


@given(any_message)
def test_a_missing_or_unknown_field_is_refused(message: object) -> None:
    header = {"type": frames.NAMES[type(message)], **frames.to_json(message)}  # type: ignore[index]
    with pytest.raises(ScumbleError):
        decode(json.dumps({**header, "surprise": 1}))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[]", "object"),
        ("{", "JSON"),
        ('{"type":"dance"}', "dance"),
        ('{"type":["cancel"]}', "type"),
        ('{"type":"cancel"}', "missing"),
        ('{"type":"cancel","job":1}', "str"),
        ('{"type":"history","limit":true}', "int"),
        ('{"type":"history","limit":1.5}', "int"),
        ('{"type":"history","before":NaN}', "JSON"),
        ('{"type":"history","before":1e999}', "finite"),
        ('{"type":"history","limit":99999999999999999999999}', "range"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_malformed_text_names_what_is_wrong(text: str, word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        decode(text)


@pytest.mark.parametrize("name", ["hello", "welcome"])
def test_version_is_looked_at_before_any_other_field(name: str) -> None:
    with pytest.raises(UnsupportedVersion):
        decode('{"type":"' + name + '","version":2,"entirely":"different"}')
    with pytest.raises(UnsupportedVersion):
        decode('{"type":"' + name + '"}')


def test_buffers_must_be_those_of_the_message() -> None:
    for buffers in ([IMAGE], [MASK, IMAGE], [IMAGE, MASK, MASK]):
        with pytest.raises(BadRequest, match="buffers"):
            decode(encode(Submit(JOB, REQUEST), buffers))
    with pytest.raises(BadRequest, match="buffers"):
        decode(encode(Submit(JOB, REQUEST)))
    with pytest.raises(BadRequest, match="buffers"):
        decode(encode(Progress(JOB, "denoising", 1, 2), [MASK]))


def _frame(**changes: object) -> bytes:
    entry = {"role": "preview", "width": 2, "height": 2, "format": "rgba8", "encoding": "raw", "bytes": 16, **changes}
    message = {"type": "progress", "job": JOB, "stage": "denoising", "step": 1, "steps": 2, "buffers": [entry]}
    head = json.dumps(message).encode()
    return b"SCM1" + struct.pack("<I", len(head)) + head + bytes(16)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"width": 0, "bytes": 0}, BadRequest),
        ({"width": -1}, BadRequest),
        ({"width": 200_000, "encoding": "png"}, TooLarge),
        ({"height": 2**40, "encoding": "zlib"}, TooLarge),
        ({"width": "2"}, BadRequest),
        ({"width": True}, BadRequest),
        ({"width": 2.0}, BadRequest),
        ({"role": "virus"}, BadRequest),
        ({"role": []}, BadRequest),
        ({"format": "rgb24"}, BadRequest),
        ({"encoding": "bmp"}, BadRequest),
        ({"bytes": 15}, BadRequest),
        ({"bytes": 17}, BadRequest),
        ({"bytes": True, "encoding": "png"}, BadRequest),
        ({"more": 1}, BadRequest),
    ],
)
def test_a_wrong_buffer_description_is_refused(changes: dict, error: type) -> None:
    assert decode(_frame())[1][0].width == 2, "only the description is wrong"
    with pytest.raises(error, match=r"A (raw )?buffer"):
        decode(_frame(**changes))


def test_an_endless_header_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        decode(b"SCM1" + struct.pack("<I", frames.MAX_HEADER + 1))
    with pytest.raises(TooLarge):
        decode("x" * (frames.MAX_HEADER + 1))
    with pytest.raises(TooLarge, match="8 MiB"):
        decode("x" * (frames.MAX_LISTS + 1), frames.MAX_LISTS)
    with pytest.raises(TooLarge):  # of one with pixels it is the same however long a text may be
        decode(b"SCM1" + struct.pack("<I", frames.MAX_HEADER + 1), frames.MAX_LISTS)


def test_unpack_never_gives_more_than_the_size_says() -> None:
    bomb = Buffer("image", 1, 1, "rgba8", "zlib", zlib.compress(bytes(50_000_000)))
    with pytest.raises(BadRequest, match="too long"):
        unpack(bomb)
    with pytest.raises(BadRequest, match="length"):
        unpack(Buffer("image", 2, 1, "rgba8", "zlib", zlib.compress(bytes(4))))
    with pytest.raises(BadRequest, match="damaged"):
        unpack(Buffer("image", 2, 1, "rgba8", "zlib", b"not zlib"))
    with pytest.raises(BadRequest, match="incomplete"):
        unpack(Buffer("image", 1, 1, "rgba8", "zlib", zlib.compress(bytes(4))[:-2]))
    with pytest.raises(BadRequest, match="png"):
        unpack(Buffer("image", 1, 1, "rgba8", "png", b""))


@pytest.mark.parametrize("encoding", ["raw", "zlib"])
def test_pack_and_unpack_are_inverse(encoding: str) -> None:
    pixels = bytes(range(24))
    assert unpack(pack("layer", 3, 2, "rgba8", pixels, encoding)) == pixels


@pytest.mark.parametrize("pixels", [bytes(1 << 22), b"\x01\x02\x03\x04" * (1 << 20), bytes(range(256)) * 5000, b"abcd"])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_zlib_data_of_any_length_is_unpacked_piece_by_piece(pixels: bytes, level: int) -> None:
    data = zlib.compress(pixels, level)
    assert unpack(Buffer("layer", len(pixels) // 4, 1, "rgba8", "zlib", data)) == pixels
    for damaged in (data[:-1], data[:-5], data + b"x", data + data):
        with pytest.raises(BadRequest):
            unpack(Buffer("layer", len(pixels) // 4, 1, "rgba8", "zlib", damaged))
    with pytest.raises(BadRequest):
        unpack(Buffer("layer", len(pixels) // 4 + 1, 1, "rgba8", "zlib", data))
