"""A picture file as a Document, on Pillow.

What is kept: the mode where a PNG can hold it (8-bit grey and colour, with or without alpha, 16-bit grey), the ICC profile
of it, EXIF data and resolution; pixels without anything on top are the same in the written file, bit for bit. What is
not: palettes and bilevel pictures come out as grey or colour with the same values, CMYK, YCbCr and Lab as sRGB. Pillow
reads 16-bit colour at 8 bits.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

from ..client.document import Document, Edges, NewLayer
from ..protocol.errors import BadRequest
from ..protocol.geometry import MAX_SIDE, Bounds, Size
from ..protocol.messages import EditRequest, Limits
from ..protocol.schema import to_json

ALPHA = {"L": "LA", "RGB": "RGBA"}
OPAQUE = {"LA": "L", "RGBA": "RGB"}
DEEP = "I;16"
METADATA = "scumble"
"""Name of the PNG text that holds the request."""
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError)
"""What Pillow raises for damaged files."""


class PictureDocument(Document):
    """`image` in one of the modes L, LA, RGB, RGBA, I;16; `profile` is the ICC profile of its pixels, if any."""

    def __init__(self, image: Image.Image, profile: bytes | None = None, mask: Image.Image | None = None) -> None:
        super().__init__()
        if mask is not None and mask.size != image.size:
            raise BadRequest(
                f"The mask is {mask.width} x {mask.height} pixels and the picture {image.width} x {image.height}.",
                "Give a mask of the picture's size.",
            )
        self._identity = uuid.uuid4().hex
        self._image, self._profile, self._mask = image, profile, mask
        self._space = _Space(profile, image.mode)
        self._info: dict[str, Any] = {}
        self._layers: list[tuple[Bounds, Image.Image]] = []
        self._request: EditRequest | None = None

    @classmethod
    def open(cls, path: Path, mask: Path | None = None) -> PictureDocument:
        """Raises BadRequest for what is no picture, is too large, or does not fit its mask."""
        image = open_image(path)
        profile = image.info.get("icc_profile")
        info = {name: image.info[name] for name in ("exif", "dpi") if image.info.get(name)}
        image, profile = _to_kept_mode(image, profile if isinstance(profile, bytes) else None)
        document = cls(image, profile, None if mask is None else open_mask(mask))
        document._info = info
        return document

    @classmethod
    def blank(cls, size: Size) -> PictureDocument:
        """An empty, transparent document."""
        return cls(Image.new("RGBA", size))

    def copy(self) -> PictureDocument:
        """The same picture for another variant. (Nothing here changes an image's pixels in place.)"""
        document = PictureDocument(self._image, self._profile, self._mask)
        document._info = self._info
        return document

    def enlarged(self, factor: int) -> PictureDocument:
        """An empty picture of the same kind, `factor` times as large: where an upscale goes."""
        document = PictureDocument(
            Image.new(self._image.mode, (self._image.width * factor, self._image.height * factor)), self._profile
        )
        document._info = self._info
        return document

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def canvas(self) -> Size:
        return Size(*self._image.size)

    def selection(self) -> tuple[Bounds, bytes] | None:
        if self._mask is None:
            return None
        box = self._mask.getbbox()
        if box is None:
            raise BadRequest("Nothing is selected: the mask is black.", "Paint white what is to change.")
        return Bounds.from_edges(*box), self._mask.crop(box).tobytes()

    def read(self, bounds: Bounds) -> bytes:
        crop = self._image.crop((bounds.left, bounds.top, bounds.right, bounds.bottom))
        return self._space.to_wire(crop).tobytes()

    def read_layer(self, layer: str, bounds: Bounds) -> bytes:
        """`layer` is the file of a picture of the canvas's size."""
        other = PictureDocument.open(Path(layer))
        if other.canvas != self.canvas:
            raise BadRequest(
                f"The control is {other.canvas.width} x {other.canvas.height} pixels and the picture "
                f"{self.canvas.width} x {self.canvas.height}.",
                "Give a control of the picture's size.",
            )
        return other.read(bounds)

    def read_reference(self, layer: str | None) -> tuple[Size, bytes]:
        """`layer` is the file of a picture of any size."""
        other = self if layer is None else PictureDocument.open(Path(layer))
        return other.canvas, other.read(Bounds.of_size(other.canvas))

    def read_region(self, layer: str, bounds: Bounds) -> bytes:
        """`layer` is the file of a mask of the canvas's size."""
        mask = open_mask(Path(layer))
        if mask.size != self.canvas:
            raise BadRequest(
                f"The region is {mask.width} x {mask.height} pixels and the picture "
                f"{self.canvas.width} x {self.canvas.height}.",
                "Give a mask of the picture's size.",
            )
        return mask.crop((bounds.left, bounds.top, bounds.right, bounds.bottom)).tobytes()

    def resize_canvas(self, edges: Edges) -> None:
        size = (self.canvas.width + edges.left + edges.right, self.canvas.height + edges.top + edges.bottom)
        grown = Image.new(ALPHA.get(self._image.mode, self._image.mode), size)
        grown.paste(self._image.convert(grown.mode), (edges.left, edges.top))
        self._image = grown
        self._layers = [(bounds.translate(edges.left, edges.top), pixels) for bounds, pixels in self._layers]

    def insert_layer(self, layer: NewLayer) -> None:
        pixels = Image.frombytes("RGBA", layer.bounds.size, layer.pixels)
        frame = Bounds.of_size(self.canvas)
        bounds = layer.bounds.intersect(frame)
        inner = bounds.relative_to(layer.bounds)
        pixels = pixels.crop((inner.left, inner.top, inner.right, inner.bottom))
        self._layers.append((bounds, pixels))
        self._request = layer.request
        self._image = _merge(self._image, self._space.from_wire(pixels), bounds)

    def save(self, path: Path) -> None:
        """Writes the merged picture, with the request that made its newest layer. Raises OSError."""
        image = self._image
        if image.mode in OPAQUE and image.getextrema()[-1] == (255, 255):  # e.g. a grown canvas that is full again
            image = image.convert(OPAQUE[image.mode])
        _save_png(image, path, self._request, icc_profile=self._profile, **self._info)

    def save_layers(self, path: Path) -> None:
        """Writes the inserted layers alone, in sRGB, on a transparent canvas of the document's size. Raises OSError."""
        image = Image.new("RGBA", self.canvas)
        for bounds, pixels in self._layers:
            image.alpha_composite(pixels, (bounds.x, bounds.y))
        _save_png(image, path, self._request)


class _Space:
    """From a document's own colours to sRGB and back. A profile that is damaged or of another kind counts as sRGB."""

    def __init__(self, profile: bytes | None, mode: str) -> None:
        self._there: ImageCms.ImageCmsTransform | None = None
        self._back: ImageCms.ImageCmsTransform | None = None
        self._mode = OPAQUE.get(mode, mode)
        if profile is None or self._mode == DEEP:
            return
        try:
            own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            self._there = ImageCms.buildTransform(own, srgb, self._mode, "RGB")
            self._back = ImageCms.buildTransform(srgb, own, "RGB", self._mode)
        except (ImageCms.PyCMSError, OSError, ValueError):
            self._there = self._back = None

    def to_wire(self, image: Image.Image) -> Image.Image:
        """RGBA in sRGB."""
        if image.mode == DEEP:
            deep = np.asarray(image, np.uint32)
            return Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8)).convert("RGBA")
        if self._there is None:
            return image.convert("RGBA")
        alpha = image.getchannel("A") if image.mode in OPAQUE else None
        colour = self._there.apply(image.convert(self._mode)).convert("RGBA")
        if alpha is not None:
            colour.putalpha(alpha)
        return colour

    def from_wire(self, image: Image.Image) -> Image.Image:
        """RGBA or LA in the document's own colours, from RGBA in sRGB."""
        alpha = image.getchannel("A")
        colour = image.convert("RGB")
        if self._back is not None:
            colour = self._back.apply(colour)
        colour = colour.convert("RGBA" if self._mode == "RGB" else "LA")
        colour.putalpha(alpha)
        return colour


def _merge(image: Image.Image, layer: Image.Image, bounds: Bounds) -> Image.Image:
    """`layer` (RGBA or LA) over `image` at `bounds`; where its alpha is 0, nothing changes."""
    box = (bounds.left, bounds.top, bounds.right, bounds.bottom)
    alpha = layer.getchannel("A")
    merged = image.copy()
    if image.mode == DEEP:
        below = np.asarray(image.crop(box), np.uint32)
        weight = np.asarray(alpha, np.uint32)
        above = np.asarray(layer.getchannel("L"), np.uint32) * 257
        mixed = np.where(weight == 0, below, (below * (255 - weight) + above * weight + 127) // 255)
        merged.paste(Image.frombytes(DEEP, layer.size, mixed.astype("<u2").tobytes()), box)
    elif image.mode in OPAQUE:
        composed = Image.alpha_composite(image.crop(box).convert("RGBA"), layer.convert("RGBA")).convert(image.mode)
        merged.paste(composed, box, alpha.point(lambda value: 255 if value else 0))
    else:
        merged.paste(layer.convert(image.mode), box, alpha)
    return merged


def open_image(path: Path) -> Image.Image:
    """The file's picture, upright and wholly read. Raises BadRequest."""
    Image.MAX_IMAGE_PIXELS = None  # our own cap is below
    if path.is_dir():
        raise BadRequest(f"{path} is a folder.", "Name a picture in it.")
    try:
        with _quietly_opened(path) as file:
            if max(file.size) > MAX_SIDE or file.width * file.height > Limits().max_pixels:
                raise BadRequest(f"{path.name} has more pixels than Scumble takes.", "Scale it down first.")
            image = ImageOps.exif_transpose(file)
            image.load()
    except FileNotFoundError:
        raise BadRequest(f"There is no file {path}.", "Check its name.") from None
    except UnidentifiedImageError:
        raise BadRequest(f"{path.name} is not a picture.", "Give a PNG, JPEG, WebP or TIFF file.") from None
    except _DAMAGE:
        raise BadRequest(f"{path.name} cannot be read.", "Check that the file is whole and open to you.") from None
    return image


@contextlib.contextmanager
def _quietly_opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """What Pillow thinks of a camera's metadata is of no use to anybody."""
    with warnings.catch_warnings(action="ignore"), Image.open(path) as file:
        yield file


def left_out(path: Path) -> list[str]:
    """What a file that `open_image` has read holds beside that, in sentences."""
    losses = []
    with contextlib.suppress(*_DAMAGE), _quietly_opened(path) as file:
        if not file.mode.startswith("I") and any(";16" in str(tile.args) for tile in file.tile):
            losses.append(f"{path.name} has 16 bits per channel; it is read and written with 8.")
        pictures = getattr(file, "n_frames", 1)
        if pictures > 1 and file.format != "MPO":  # a photograph with its preview
            losses.append(f"{path.name} holds {pictures} pictures; this is the first one.")
    return losses


def open_mask(path: Path) -> Image.Image:
    """A mask file as 8-bit grey: white = change; transparent counts as black. Raises BadRequest."""
    image = open_image(path)
    if image.mode.startswith("I"):
        return _Space(None, DEEP).to_wire(_deep(image)).convert("L")
    if "A" in image.mode or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return image.convert("L")


def _to_kept_mode(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """The same picture in a mode that both PNG and this document know, and its profile as far as that still holds."""
    transparent = "transparency" in image.info
    if image.mode in ("L", "LA", "RGB", "RGBA") and not transparent:
        return image, profile
    if image.mode == "1":
        return image.convert("L"), profile
    if image.mode.startswith("I"):
        return _deep(image), profile
    if image.mode in ("L", "RGB", "P", "PA", "La", "RGBa", "RGBX"):
        return image.convert("RGBA" if transparent or image.mode in ("PA", "La", "RGBa") else "RGB"), profile
    if image.mode == "F":
        raise BadRequest("Pictures in floating point cannot be read here.", "Save it with 8 or 16 bits per channel.")
    if image.mode == "CMYK" and profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted, None
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged profile: as if there were none
    return image.convert("RGB"), None


def _deep(image: Image.Image) -> Image.Image:
    """16-bit grey in the machine's order; 32-bit values are cut to what 16 bits hold."""
    values = np.asarray(image)
    return Image.frombytes(DEEP, image.size, np.clip(values, 0, 65535).astype("<u2").tobytes())


def _save_png(image: Image.Image, path: Path, request: EditRequest | None, **info: Any) -> None:
    text = PngImagePlugin.PngInfo()
    if request is not None:
        text.add_itxt(METADATA, json.dumps(to_json(request), ensure_ascii=False))
    path = path.resolve()
    # Beside it first: a full disk must not cost the picture that is there, which may be the very one that was read.
    part = path.with_name(f".{path.name}.part")
    try:
        # Level 1: three times faster than the default for a tenth more bytes.
        image.save(
            part, "PNG", pnginfo=text, compress_level=1, **{name: value for name, value in info.items() if value}
        )
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
