"""Messages to websocket payloads and back; no I/O here.

A message without pixels is a text payload: the JSON object of its dataclass plus ``"type"``. A message with pixels is a
binary payload: ``b"SCM1"``, the header's length as u32 little-endian, the same JSON object as UTF-8 with ``"buffers"``
added, and the buffers' bytes in the header's order, nothing after them. Each entry of ``buffers`` has role, width,
height, format, encoding and bytes (the coded length).
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any, Dict, List, Sequence, Tuple, Union

from .errors import BadRequest, TooLarge, UnsupportedVersion
from .geometry import MAX_SIDE
from .messages import MESSAGES, NAMES, PROTOCOL_VERSION, Buffer, Hello, Message, Welcome, roles_of
from .schema import from_json, to_json

MAGIC = b"SCM1"
MAX_HEADER = 1 << 20
"""Longest JSON header in bytes; also the longest text message, but for the lists of a server."""
MAX_LISTS = 8 << 20
"""Longest text message in bytes that a client takes from its server: all of an artist's thousands of models and LoRAs."""
_PIECE = 1 << 20
_COMPRESSED_PIECE = 1 << 16
BYTES_PER_PIXEL = {"rgba8": 4, "rgba16": 8, "gray8": 1}

_BUFFER_FIELDS = ("role", "width", "height", "format", "encoding", "bytes")
_CHOICES = {
    "role": ("image", "mask", "control", "region", "reference", "layer", "preview"),
    "format": tuple(BYTES_PER_PIXEL),
    "encoding": ("raw", "zlib", "png", "webp"),
}


def encode(message: Message, buffers: Sequence[Buffer] = ()) -> Union[str, bytes]:
    """The payload: text when there are no buffers, binary otherwise."""
    if buffers:
        return b"".join(encode_parts(message, buffers))
    return _dumps({"type": NAMES[type(message)], **to_json(message)})


def encode_parts(message: Message, buffers: Sequence[Buffer]) -> List[bytes]:
    """A binary payload in pieces, for a sender that need not put them together: joining 64 MiB takes long."""
    header: Dict[str, Any] = {"type": NAMES[type(message)], **to_json(message)}
    header["buffers"] = [
        {
            "role": buffer.role,
            "width": buffer.width,
            "height": buffer.height,
            "format": buffer.format,
            "encoding": buffer.encoding,
            "bytes": len(buffer.data),
        }
        for buffer in buffers
    ]
    head = _dumps(header).encode()
    return [MAGIC + struct.pack("<I", len(head)) + head, *(buffer.data for buffer in buffers)]


def _dumps(header: Dict[str, Any]) -> str:
    return json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode(payload: Union[str, bytes], longest: int = MAX_HEADER) -> Tuple[Message, Tuple[Buffer, ...]]:
    """Message and buffers of a payload; `longest` is the most that a text may have. The buffers' contents stay coded
    (`unpack` and the backend decode them).

    Raises BadRequest for anything malformed, UnsupportedVersion for a hello or welcome of another protocol version
    (looked at before any other field), TooLarge for a header or side above the protocol's caps.
    """
    if isinstance(payload, str):
        if len(payload) > longest:
            raise TooLarge(f"A text message is longer than {longest >> 20} MiB.")
        return _message(_json_object(payload), ()), ()
    if len(payload) < 8 or payload[:4] != MAGIC:
        raise BadRequest("A binary message does not begin with SCM1.")
    (length,) = struct.unpack_from("<I", payload, 4)
    if length > MAX_HEADER:
        raise TooLarge("A message header is longer than 1 MiB.")
    if 8 + length > len(payload):
        raise BadRequest("A binary message ends inside its header.")
    try:
        text = payload[8 : 8 + length].decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("A message header is not UTF-8.") from None
    header = _json_object(text)
    buffers = _buffers(header.pop("buffers", None), payload, 8 + length)
    return _message(header, buffers), buffers


def _json_object(text: str) -> Dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequest("A message is not valid JSON.") from None
    if not isinstance(value, dict):
        raise BadRequest("A message is not a JSON object.")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON (RFC 8259, section 6)


def _message(header: Dict[str, Any], buffers: Tuple[Buffer, ...]) -> Message:
    name = header.pop("type", None)
    kind = MESSAGES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadRequest(f"There is no message type {str(name)[:40]!r}.")
    if kind in (Hello, Welcome) and header.get("version") != PROTOCOL_VERSION:
        raise UnsupportedVersion(f"This side speaks version {PROTOCOL_VERSION} of the protocol, the other does not.")
    message: Message = from_json(kind, header, str(name))
    if tuple(buffer.role for buffer in buffers) not in roles_of(message):
        raise BadRequest(f"{name} came with the wrong buffers.")
    return message


def _buffers(entries: Any, payload: bytes, offset: int) -> Tuple[Buffer, ...]:
    if not isinstance(entries, list) or not entries:
        raise BadRequest("A binary message names no buffers.")
    buffers: List[Buffer] = []
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != set(_BUFFER_FIELDS):
            raise BadRequest("A buffer's description is incomplete.")
        for name, choices in _CHOICES.items():
            if entry[name] not in choices:
                raise BadRequest(f"A buffer's {name} is unknown.")
        for name in ("width", "height", "bytes"):
            if type(entry[name]) is not int or entry[name] < 0:
                raise BadRequest(f"A buffer's {name} is not a whole number.")
        width, height, length = entry["width"], entry["height"], entry["bytes"]
        if width < 1 or height < 1:
            raise BadRequest("A buffer has no pixels.")
        if width > MAX_SIDE or height > MAX_SIDE:
            raise TooLarge(f"A buffer is longer than {MAX_SIDE} pixels on a side.")
        if entry["encoding"] == "raw" and length != width * height * BYTES_PER_PIXEL[entry["format"]]:
            raise BadRequest("A raw buffer's length does not fit its size.")
        if offset + length > len(payload):
            raise BadRequest("A binary message ends inside a buffer.")
        data = payload[offset : offset + length]
        offset += length
        buffers.append(Buffer(entry["role"], width, height, entry["format"], entry["encoding"], data))
    if offset != len(payload):
        raise BadRequest("A binary message has bytes after its buffers.")
    return tuple(buffers)


def pack(role: str, width: int, height: int, format: str, pixels: bytes, encoding: str = "raw") -> Buffer:
    """A buffer from raw pixels (rows without padding), coded as "raw" or "zlib"."""
    data = _deflate(pixels) if encoding == "zlib" else bytes(pixels)
    return Buffer(role, width, height, format, encoding, data)  # type: ignore[arg-type]


def _deflate(pixels: bytes) -> bytes:
    """By runs only: twice as quick as level 1 on pictures, which hold little else that repeats (3 to 30 % larger)."""
    coder = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return coder.compress(pixels) + coder.flush()


def unpack(buffer: Buffer) -> bytes:
    """The raw pixels of a raw or zlib buffer, never more than its size says (a zlib bomb stops there).

    Raises BadRequest when the content does not fit the description or needs an image library (png, webp).
    """
    expected = buffer.width * buffer.height * BYTES_PER_PIXEL[buffer.format]
    if buffer.encoding == "raw":
        pixels = buffer.data
    elif buffer.encoding == "zlib":
        pixels = _inflate(buffer.data, expected)
    else:
        raise BadRequest(f"The encoding {buffer.encoding} cannot be read here.")
    if len(pixels) != expected:
        raise BadRequest("A buffer's length does not fit its size.")
    return pixels


def _inflate(data: bytes, expected: int) -> bytes:
    """The `expected` bytes that zlib data holds. Works in small pieces, each put where it belongs: to join 64 MiB in one
    go would hold the interpreter lock, and with it a painting program's window, for a fifth of a second."""
    decoder = zlib.decompressobj()
    pixels = io.BytesIO(bytes(expected))  # the bytes have no other owner, so that writing and reading copy nothing
    written = 0
    for start in range(0, len(data), _COMPRESSED_PIECE):
        piece, more = data[start : start + _COMPRESSED_PIECE], True
        while more:
            try:
                part = decoder.decompress(piece, _PIECE)
            except zlib.error:
                raise BadRequest("A buffer's zlib data is damaged.") from None
            written += len(part)
            if written > expected:
                raise BadRequest("A buffer's zlib data is too long.")
            pixels.write(part)
            piece = decoder.unconsumed_tail
            more = not decoder.eof and (bool(piece) or len(part) == _PIECE)
    if not decoder.eof or decoder.unused_data:
        raise BadRequest("A buffer's zlib data is incomplete or too long.")
    if written != expected:
        raise BadRequest("A buffer's length does not fit its size.")
    return pixels.getvalue()
