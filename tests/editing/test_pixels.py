from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import PngImagePlugin, WebPImagePlugin
from scumble.editing.pixels import as_bytes, decode, encode, resize
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Size
from scumble.protocol.messages import Buffer

from .pictures import photo

ENCODINGS = ("raw", "zlib", "png", "webp")


@given(
    st.sampled_from(ENCODINGS),
    st.sampled_from([(), (3,), (4,)]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_pixels_survive_every_encoding(encoding, channels, width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    buffer = encode(pixels, "image", encoding)
    back = decode(buffer)
    assert (buffer.width, buffer.height) == (width, height)
    if channels == (3,):
        assert (back[..., 3] == 255).all()
        back = back[..., :3]
    np.testing.assert_array_equal(back, pixels)


def test_sixteen_bits_are_rounded_to_eight():
    values = np.arange(65536, dtype="<u2").reshape(128, 128, 4)
    pixels = decode(Buffer("image", 128, 128, "rgba16", "raw", values.tobytes()))
    exact = values.astype(float) / 65535 * 255
    assert np.abs(pixels - exact).max() <= 0.5


def test_values_are_rounded_to_the_nearest_byte():
    assert as_bytes(np.array([-3, 0.4, 0.6, 254.4, 254.6, 300])).tolist() == [0, 0, 1, 254, 255, 255]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_damage_is_a_bad_request(encoding):
    whole = encode(photo(30, 20), "image", encoding)
    for data in (b"", whole.data[: len(whole.data) // 2], b"\x00" * 50, whole.data[:20] + b"\xff" * 60):
        with pytest.raises(BadRequest):
            decode(Buffer("image", 30, 20, "rgba8", encoding, data))


@pytest.mark.parametrize("reader", [PngImagePlugin.PngImageFile, WebPImagePlugin.WebPImageFile])
@pytest.mark.parametrize("named", [(4, 4), (40, 4), (4, 40)])
def test_a_picture_larger_than_named_is_refused_unread(reader, named, monkeypatch):
    buffer = encode(photo(40, 40), "image", "png" if reader is PngImagePlugin.PngImageFile else "webp")
    monkeypatch.setattr(reader, "load", lambda self: pytest.fail("its pixels were read"))
    with pytest.raises(BadRequest, match="another size"):
        decode(Buffer("image", *named, "rgba8", buffer.encoding, buffer.data))


def test_one_format_does_not_pass_for_another():
    png = encode(photo(8, 8), "image", "png")
    with pytest.raises(BadRequest):
        decode(Buffer("image", 8, 8, "rgba8", "webp", png.data))


def test_resize_keeps_corners_and_is_exact_at_scale_one():
    picture = photo(60, 40)
    assert resize(picture, Size(60, 40)) is not None
    np.testing.assert_array_equal(resize(picture, Size(60, 40)), picture)
    np.testing.assert_array_equal(resize(picture, Size(20, 10), (5, 6, 25, 16)), picture[6:16, 5:25])
    whole = resize(picture, Size(120, 80))
    part = resize(picture, Size(40, 20), (10, 10, 30, 20))
    assert np.abs(whole[20:40, 20:60].astype(int) - part).max() <= 1
