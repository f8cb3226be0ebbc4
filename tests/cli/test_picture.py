"""Pictures of every kind: what is read, what is kept, what is merged."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from scumble.cli.picture import METADATA, PictureDocument, left_out
from scumble.client.document import Edges, NewLayer
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest

REQUEST = EditRequest("fill", Size(16, 12), Bounds(0, 0, 16, 12), Bounds(4, 3, 6, 5), prompt="caf\u00e9 \u732b", seed=1)
MASK = Bounds(4, 3, 6, 5)


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(7).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def kinds() -> dict[str, Image.Image]:
    """Pictures of 16 x 12 in every mode that common files have."""
    colour = Image.fromarray(noise(12, 16, 3))
    translucent = Image.fromarray(noise(12, 16, 4))
    keyed = colour.convert("P", palette=Image.Palette.ADAPTIVE)
    keyed.info["transparency"] = 3
    return {
        "RGB": colour,
        "RGBA": translucent,
        "L": colour.convert("L"),
        "LA": translucent.convert("LA"),
        "1": colour.convert("1"),
        "P": colour.convert("P", palette=Image.Palette.ADAPTIVE),
        "P with a transparent colour": keyed,
        "I;16": Image.frombytes("I;16", (16, 12), noise(12, 16, dtype=np.uint16).tobytes()),
        "CMYK": Image.fromarray(noise(12, 16, 4), "CMYK"),
    }


def layer(bounds: Bounds, colour: tuple[int, int, int] = (200, 30, 90), alpha: Any = 255) -> NewLayer:
    pixels = np.empty((bounds.height, bounds.width, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = colour, alpha
    return NewLayer(bounds, pixels.tobytes(), "name", "0" * 32, 0, REQUEST, bounds.size)


def write(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", list(kinds()))
def test_not_one_pixel_outside_the_layer_changes(mode: str, tmp_path: Path) -> None:
    original = kinds()[mode]
    source = write(original, tmp_path / ("in.tif" if mode == "CMYK" else "in.png"))
    document = PictureDocument.open(source)
    before = document.read(Bounds(0, 0, 16, 12))
    alpha = np.zeros((12, 16), np.uint8)
    alpha[MASK.slices()] = noise(5, 6)
    alpha[3, 4] = 255
    document.insert_layer(layer(Bounds(0, 0, 16, 12), alpha=alpha))
    document.save(tmp_path / "out.png")
    after = PictureDocument.open(tmp_path / "out.png")
    outside = alpha == 0
    old, new = (np.frombuffer(data, np.uint8).reshape(12, 16, 4) for data in (before, after.read(Bounds(0, 0, 16, 12))))
    assert (old[outside] == new[outside]).all()
    assert (old != new).any()
    with Image.open(tmp_path / "out.png") as written:
        if mode in ("RGB", "RGBA", "L", "LA", "I;16"):
            assert written.mode == mode
            assert (np.asarray(written)[outside] == np.asarray(original)[outside]).all()
        if "L" not in mode and mode not in ("1", "I;16"):
            assert np.asarray(written.convert("RGB"))[3, 4].tolist() == [200, 30, 90]


def test_sixteen_bit_grey_keeps_its_depth(tmp_path: Path) -> None:
    document = PictureDocument.open(write(kinds()["I;16"], tmp_path / "in.png"))
    document.insert_layer(layer(MASK, (100, 100, 100)))
    document.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        values = np.asarray(written)
    assert set(values[MASK.slices()].ravel().tolist()) == {100 * 257}
    assert len(set(values.ravel().tolist())) > 100


def test_colours_cross_in_srgb_and_come_back_in_the_profile(tmp_path: Path) -> None:
    profile = _gamma_profile()
    image = Image.new("RGB", (16, 12), (100, 100, 100))
    document = PictureDocument.open(write(image, tmp_path / "in.png", icc_profile=profile))
    sent = document.read(Bounds(0, 0, 1, 1))
    assert sent[0] != 100
    document.insert_layer(layer(MASK, (sent[0], sent[1], sent[2])))
    document.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        assert written.info["icc_profile"] == profile
        assert np.abs(np.asarray(written).astype(int) - 100).max() <= 1


def _gamma_profile() -> bytes:
    """sRGB's primaries with a plain gamma of 1.0: an RGB profile that is clearly not sRGB. ICC.1:2010, parametric curve
    type 0, put in place of sRGB's own curves."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    for index in range(count):
        entry = 132 + 12 * index
        if data[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            offset = int.from_bytes(data[entry + 4 : entry + 8], "big")
            assert data[offset : offset + 4] == b"para"
            data[offset + 8 : offset + 16] = b"\0\0\0\0\0\1\0\0"
    return bytes(data)


def test_a_damaged_profile_counts_as_srgb(tmp_path: Path) -> None:
    document = PictureDocument.open(write(kinds()["RGB"], tmp_path / "in.png", icc_profile=b"not a profile" * 20))
    assert document.read(Bounds(0, 0, 1, 1))[:3] == kinds()["RGB"].tobytes()[:3]


def test_a_photo_that_lies_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    document = PictureDocument.open(write(Image.new("RGB", (16, 12)), tmp_path / "in.jpg", exif=exif))
    assert document.canvas == Size(12, 16)
    document.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        assert written.size == (12, 16)
        assert written.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("name", ["in.jpg", "in.webp", "in.tif", "in.png"])
def test_common_files_open(name: str, tmp_path: Path) -> None:
    assert PictureDocument.open(write(kinds()["RGB"], tmp_path / name)).canvas == Size(16, 12)


def test_the_request_is_written_into_the_picture(tmp_path: Path) -> None:
    document = PictureDocument.blank(Size(16, 12))
    document.insert_layer(layer(MASK))
    document.save(tmp_path / "out.png")
    document.save_layers(tmp_path / "layer.png")
    for name in ("out.png", "layer.png"):
        with Image.open(tmp_path / name) as written:
            request = json.loads(written.text[METADATA])  # type: ignore[attr-defined]
            assert (request["prompt"], request["seed"]) == ("caf\u00e9 \u732b", 1)


@pytest.mark.parametrize(("mode", "kept"), [("RGB", "RGB"), ("L", "L"), ("RGBA", "RGBA"), ("I;16", "I;16")])
def test_a_grown_picture_stays_opaque_where_it_is_filled(mode: str, kept: str, tmp_path: Path) -> None:
    original = kinds()[mode]
    document = PictureDocument.open(write(original, tmp_path / "in.png"))
    document.grow_canvas(Edges(left=3, bottom=2))
    for bounds in (Bounds(0, 0, 3, 14), Bounds(3, 12, 16, 2)):
        document.insert_layer(layer(bounds))
    document.save(tmp_path / "out.png")
    document.save_layers(tmp_path / "layer.png")
    with Image.open(tmp_path / "out.png") as written, Image.open(tmp_path / "layer.png") as alone:
        assert (written.mode, written.size, alone.size) == (kept, (19, 14), (19, 14))
        assert (np.asarray(written)[:12, 3:] == np.asarray(original)).all()
        alpha = np.asarray(alone)[..., 3]
        assert alpha[:12, 3:].max() == 0
        assert alpha[:, :3].min() == 255


def test_a_grown_picture_that_is_not_filled_is_transparent_there(tmp_path: Path) -> None:
    document = PictureDocument.open(write(kinds()["RGB"], tmp_path / "in.png"))
    document.grow_canvas(Edges(left=3))
    document.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "RGBA"
        assert np.asarray(written)[:, :3, 3].max() == 0


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "LA", "P", "I;16"])
def test_a_mask_of_any_kind_selects_what_is_white(mode: str, tmp_path: Path) -> None:
    mask = Image.new("L", (16, 12))
    mask.paste(255, (4, 3, 10, 8))
    if mode == "I;16":
        mask = Image.frombytes("I;16", (16, 12), (np.asarray(mask).astype("<u2") * 257).tobytes())
    path = write(mask.convert(mode), tmp_path / "mask.png")
    document = PictureDocument.open(write(kinds()["RGB"], tmp_path / "in.png"), path)
    assert document.selection() == (MASK, b"\xff" * MASK.area)


def test_a_transparent_mask_selects_nothing(tmp_path: Path) -> None:
    mask = write(Image.new("RGBA", (16, 12), (255, 255, 255, 0)), tmp_path / "mask.png")
    with pytest.raises(BadRequest, match="Nothing is selected"):
        PictureDocument.open(write(kinds()["RGB"], tmp_path / "in.png"), mask).selection()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    mask = write(Image.new("L", (16, 13)), tmp_path / "mask.png")
    with pytest.raises(BadRequest, match="16 x 13"):
        PictureDocument.open(write(kinds()["RGB"], tmp_path / "in.png"), mask)


def test_what_is_no_picture_is_refused_with_a_hint(tmp_path: Path) -> None:
    png = io.BytesIO()
    kinds()["RGB"].save(png, "PNG")
    for content in (b"", b"hello", png.getvalue()[:100]):
        path = tmp_path / "in.png"
        path.write_bytes(content)
        with pytest.raises(BadRequest) as caught:
            PictureDocument.open(path)
        assert caught.value.hint
    with pytest.raises(BadRequest, match="no file"):
        PictureDocument.open(tmp_path / "nowhere.png")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Image.new("1", (40000, 10)).save(path)
        with pytest.raises(BadRequest, match="more pixels"):
            PictureDocument.open(path)


def test_a_full_disk_leaves_the_picture_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-o` may name the very picture that was read."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (8, 8), "red").save(path)
    before = path.read_bytes()
    document = PictureDocument.open(path)

    def full(image: Image.Image, target: Path, *_: object, **__: object) -> None:
        Path(target).write_bytes(b"as far as it went")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(OSError, match="No space"):
            document.save(path)
    assert path.read_bytes() == before
    path.chmod(0o640)
    document.save(path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["photo.png"]


def deep_png() -> bytes:
    """Two pixels of 16-bit colour, which Pillow does not write."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(13))),
        (b"IEND", b""),
    ]
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_a_file_that_is_cut_off_is_told_in_words(tmp_path: Path) -> None:
    whole = write(Image.fromarray(noise(64, 64, 3)), tmp_path / "whole.tif").read_bytes()
    for length in (20, 200, len(whole) // 2, len(whole) - 100):
        (tmp_path / "cut.tif").write_bytes(whole[:length])
        with pytest.raises(BadRequest):
            PictureDocument.open(tmp_path / "cut.tif")


def test_odd_metadata_is_not_complained_about(tmp_path: Path) -> None:
    odd = b"Exif\0\0MM\0*\0\0\0\x08\0\x03\x01\x12\0\x03\0\0\0\x01"
    path = write(Image.new("RGB", (8, 8)), tmp_path / "odd.jpg", exif=odd)
    assert PictureDocument.open(path).canvas == Size(8, 8)


def test_what_is_not_taken_of_a_file_is_said(tmp_path: Path) -> None:
    for mode, image in kinds().items():
        if mode != "CMYK":
            assert left_out(write(image, tmp_path / "plain.png")) == []
    (tmp_path / "deep.png").write_bytes(deep_png())
    assert PictureDocument.open(tmp_path / "deep.png").canvas == Size(2, 1)
    assert left_out(tmp_path / "deep.png") == ["deep.png has 16 bits per channel; it is read and written with 8."]
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for name in ("moving.gif", "moving.webp", "pages.tif"):
        path = write(frames[0], tmp_path / name, save_all=True, append_images=frames[1:])
        assert left_out(path) == [f"{name} holds 3 pictures; this is the first one."]
    (tmp_path / "cut.tif").write_bytes((tmp_path / "pages.tif").read_bytes()[:-40])
    left_out(tmp_path / "cut.tif")  # the first page was read; what is damaged behind it is no error
    grey = Image.frombytes("I;16B", (4, 4), bytes(32))
    assert left_out(write(grey, tmp_path / "grey.tif")) == []
    phone = write(frames[0], tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert left_out(phone) == []
