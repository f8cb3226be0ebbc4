"""Which network that enlarges pictures a file holds, by the names of its tensors. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Container

_MARKS = (
    ("ESRGAN", ("body.0.rdb1.conv1.weight",)),
    ("ESRGAN", ("RRDB_trunk.0.RDB1.conv1.weight",)),
    ("ESRGAN", ("model.1.sub.0.RDB1.conv1.0.weight",)),
    ("HAT", ("layers.0.residual_group.overlap_attn.qkv.weight",)),
    ("ATD", ("layers.0.residual_group.td",)),
    ("Swin2SR", ("layers.0.residual_group.blocks.0.attn.logit_scale",)),
    ("SwinIR", ("layers.0.residual_group.blocks.0.attn.relative_position_index",)),
    ("DRCT", ("layers.0.swin1.attn.qkv.weight",)),
    ("RGT", ("layers.0.blocks.0.gamma", "layers.0.blocks.0.attn.qkv.weight")),
    ("DAT", ("layers.0.blocks.0.attn.attns.0.pos.pos_proj.weight",)),
    ("SPAN", ("block_1.c1_r.eval_conv.weight",)),
    ("OmniSR", ("residual_layer.0.residual_layer.0.layer.0.fn.0.weight",)),
    ("PLKSR", ("feats.1.lk.conv.weight",)),
    ("PLKSR", ("feats.1.lk.convs.0.weight",)),
    ("RCAN", ("body.0.body.0.body.3.conv_du.0.weight",)),
    ("MoSR", ("gblocks.1.fc1.weight",)),
    ("FDAT", ("groups.0.blocks.0.inter.cg.1.weight",)),
    ("SAFMN", ("feats.0.safm.mfr.0.weight",)),
    # Real-ESRGAN's small ones, a plain chain: last, as others count their layers in this way, too.
    ("Compact", ("body.0.weight", "body.1.weight", "body.2.weight")),
)
"""Networks of spandrel that artists pass upscalers around of, each with names that no other of them has."""


def upscaler(tensors: Container[str]) -> str | None:
    """What spandrel calls the network; None where it is none that is known to enlarge. The file may still hold a variant of
    it that does not, or does not fit: that shows when it is loaded."""
    return next((name for name, marks in _MARKS if all(mark in tensors for mark in marks)), None)
