"""Control networks for several kinds of pictures in one ("union", https://github.com/xinsir6/ControlNetPlus): they are told
the kind of what they are shown. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..editing.plan import Pixels
from ..protocol.messages import Preprocessor

KINDS = "task_embedding"
"""The tensor that such networks alone have, with a row for each kind."""
POSE, DEPTH, SOFT_LINES, LINES, SEGMENTS, TILE = 0, 1, 2, 3, 5, 6
"""As published, without 4 (normals). The first six are known to each; seven and eight ("promax") to the later ones."""
_KINDS: Mapping[Preprocessor, int] = {
    "depth": DEPTH, "soft_edges": SOFT_LINES, "canny": LINES, "lineart": LINES, "invert": LINES, "blur": TILE,
}  # fmt: skip
_DARK, _COLOURFUL = 32, 32  # of 255
_FEW, _MOST = 0.1, 0.5  # shares of the pixels


def union_config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the network's class in diffusers must be told beside what it shares with others; {} for others."""
    shape = shapes.get(KINDS, ())
    if len(shape) != 2:
        return {}
    kinds, width = shape
    layers = {name.split(".")[1] for name in shapes if name.startswith("transformer_layes.")}
    return {
        "num_control_type": kinds,
        "num_trans_channel": width,
        "num_proj_channel": width,
        "num_trans_layer": len(layers),
    }


def kind_shown(preprocessor: Preprocessor, image: Pixels, kinds: int) -> int:
    """Which of a network's `kinds` the (h, w, 3) picture is of: what the preprocessor makes, else what it looks like. Where
    none is for colours in detail, one is for areas of them."""
    kind = _KINDS[preprocessor] if preprocessor in _KINDS else _looks_like(image)
    return min(kind if kind < kinds else SEGMENTS, kinds - 1)


def _looks_like(image: Pixels) -> int:
    """Of a picture that another program has made: poses are coloured and lines grey, on black; depth has no colours."""
    strongest = image.max(axis=2)
    lit = strongest >= _DARK
    colourful = lit & (strongest - image.min(axis=2) >= _COLOURFUL)
    on_black = lit.mean() < _MOST
    if colourful.sum() > _FEW * lit.sum():
        return POSE if on_black else TILE
    return LINES if on_black else DEPTH
