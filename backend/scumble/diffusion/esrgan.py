"""What the tensors of an ESRGAN are called and what they say of it. Importing this does not import torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Shapes = Mapping[str, Sequence[int]]

_BLOCK = re.compile(r"(?:model\.1\.sub|RRDB_trunk|body)\.(\d+)\.(?:RDB|rdb)([123])\.conv([1-5])(?:\.0)?\.(weight|bias)")
_NAMES = {"trunk_conv": "conv_body", "upconv1": "conv_up1", "upconv2": "conv_up2", "HRconv": "conv_hr"}
_ENDS = ("conv_first", "conv_body", "conv_hr", "conv_last")


class Layout(NamedTuple):
    """width of the features, growth of a dense block, number of blocks, number of times that the sides are doubled, and by
    how much they are first folded into channels (1 = not at all)."""

    width: int
    growth: int
    blocks: int
    doublings: int
    folding: int

    @property
    def factor(self) -> int:
        return (1 << self.doublings) // self.folding


def new_names(names: Iterable[str]) -> dict[str, str]:
    """The names of an ESRGAN's tensors, in any of their three spellings, to those of Real-ESRGAN; without unknown ones."""
    names = list(names)
    inner = next(
        (int(match[1]) for name in names if (match := re.fullmatch(r"model\.1\.sub\.(\d+)\.weight", name))), -1
    )
    outer = sorted({int(match[1]) for name in names if (match := re.fullmatch(r"model\.(\d+)\.weight", name))})
    numbered = {f"model.1.sub.{inner}": "conv_body"}
    if len(outer) >= 3:
        ups = {f"model.{place}": f"conv_up{index}" for index, place in enumerate(outer[1:-2], start=1)}
        ends = {"model.0": "conv_first", f"model.{outer[-2]}": "conv_hr", f"model.{outer[-1]}": "conv_last"}
        numbered |= ups | ends
    found = {}
    for name in names:
        if match := _BLOCK.fullmatch(name):
            found[name] = f"body.{match[1]}.rdb{match[2]}.conv{match[3]}.{match[4]}"
            continue
        head, _, kind = name.rpartition(".")
        head = numbered.get(head) or _NAMES.get(head, head)
        if head in _ENDS or re.fullmatch(r"conv_up\d", head):
            found[name] = f"{head}.{kind}"
    return found


def find_layout(shapes: Shapes) -> Layout | None:
    """What the shapes say, in any of the spellings; None where they are not of such a network for colour pictures, or hold
    more than it does (the variants of ESRGAN+)."""
    names = new_names(shapes)
    if len(names) < len(shapes):
        return None
    shapes = {names[name]: shape for name, shape in shapes.items()}
    first, dense, last = (shapes.get(f"{name}.weight", ()) for name in ("conv_first", "body.0.rdb1.conv1", "conv_last"))
    if not (len(first) == len(dense) == len(last) == 4) or last[0] != 3 or first[1] not in (3, 12, 48):
        return None
    blocks = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("body."))
    doublings = sum(bool(re.fullmatch(r"conv_up\d\.weight", name)) for name in shapes)
    folding = {3: 1, 12: 2, 48: 4}[first[1]]
    layout = Layout(first[0], dense[0], blocks, doublings, folding)
    return layout if 2 <= layout.factor <= 8 and 2**doublings % folding == 0 else None
