"""What a plain LoRA is for, told by the bytes of its header. What this leaves open is for `kinds.recognise`."""

from __future__ import annotations

import re

from .kinds import BY_WIDTH, DORA, FLUX_BLOCKS, FLUX_ROWS, LYCORIS, TRANSFORMERS, Kind

_GLANCED = (
    (b'.lora_down.weight"', b'attn2_to_k.lora_down.weight"', b'_linear1.lora_up.weight"'),
    (b'.lora_A.weight"', b'attn2.to_k.lora_A.weight"', b'.linear1.lora_B.weight"'),
    (b'.lora.down.weight"', b'attn2.to_k.lora.down.weight"', b'.linear1.lora.up.weight"'),
    (b'.processor.to_k_lora.down.weight"', b'attn2.processor.to_k_lora.down.weight"', b""),
)
"""How names of LoRAs' tensors end, by each kind of trainer; that of a matrix that takes a prompt's tokens in, and that of
FLUX's that tells its versions apart."""
_NOT_PLAIN = re.compile(b"|".join(re.escape(mark.encode()) for mark in (*DORA, *LYCORIS)))
_FIRST_TENSOR = re.compile(rb'"\s*:\s*\{\s*"dtype"\s*:')
_WIDTH = re.compile(rb'\s*:\s*\{\s*"dtype"\s*:\s*"\w+"\s*,\s*"shape"\s*:\s*\[\s*\d+\s*,\s*(\d+)\s*[,\]]')
_ROWS = re.compile(rb'\s*:\s*\{\s*"dtype"\s*:\s*"\w+"\s*,\s*"shape"\s*:\s*\[\s*(\d+)\s*,')
_LAST_END = re.compile(rb'"data_offsets"\s*:\s*\[\s*\d+\s*,\s*(\d+)\s*\]\s*\}\s*\}\s*\Z')


def glance(header: bytes, size: int) -> Kind | None:
    """What a plain LoRA is for: from the JSON of its header as it stands, before `size` bytes of tensors. Several times
    quicker than reading a thousand names and shapes, and there may be thousands of such files. None for everything that
    this does not settle, and for one that tells its licence, which is worth reading."""
    end = _LAST_END.search(header, max(len(header) - 300, 0))
    start = _FIRST_TENSOR.search(header)
    if end is None or int(end[1]) != size or start is None:
        return None
    first = header.rfind(b'"', 0, start.start())  # where the names of tensors begin
    if header.find(b'"modelspec.license"', 0, first) >= 0 or _NOT_PLAIN.search(header, first):
        return None

    def find(mark: bytes) -> int:
        return header.find(mark, first)

    takes, single = next(((takes, single) for end, takes, single in _GLANCED if find(end) >= 0), (b"", b""))
    if not takes:
        return None
    if (at := find(takes)) >= 0:
        width = _WIDTH.match(header, at + len(takes))
        base = BY_WIDTH.get(int(width[1])) if width else None
        return Kind("LoRA", base) if base else None
    mark, base = next(((mark, base) for mark, base in TRANSFORMERS if find(mark.encode()) >= 0), ("", None))
    if mark in FLUX_BLOCKS:
        rows = _ROWS.match(header, find(single) + len(single)) if single and find(single) >= 0 else None
        base = FLUX_ROWS.get(int(rows[1])) if rows else None
    return Kind("LoRA", base) if base else None
