"""How the layers of a UNet and of text encoders are called in files of LoRAs. Pure; imports no torch.

Every trainer writes the dotted name of the layer, with underscores or with dots, behind a prefix for the part of the model:

    kohya's scripts     lora_unet_down_blocks_0_..._to_q.lora_down.weight, .lora_up.weight, .lora_mid.weight, .alpha
                        lora_te_text_model_..., lora_te1_... and lora_te2_... with two text encoders; blocks of SDXL and
                        of LyCORIS also by their names in the original layout (input_blocks_4_1_...)
    LyCORIS             lycoris_down_blocks_0_..._to_q.lora_down.weight, or after kohya's prefixes; instead of a pair
                        .hada_w1_a, .hada_w1_b, .hada_w2_a, .hada_w2_b (LoHa), .lokr_w1, .lokr_w2_a, .lokr_w2_b, ... (LoKr),
                        .diff, .diff_b; .w_norm, .b_norm of norms; beside one .dora_scale
    ComfyUI             diffusion_model.input_blocks.4.1....lora_down.weight; text_encoders.clip_l.transformer....
    diffusers, PEFT     unet.down_blocks.0...to_q.lora_A.weight, .lora_B.weight; text_encoder...., text_encoder_2....
    earlier diffusers   ...to_q.lora.down.weight, ...processor.to_q_lora.down.weight, ...q_proj.lora_linear_layer.up.weight
    PEFT by itself      base_model.model.down_blocks.0...to_q.lora_A.weight
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, get_args

Part = Literal[
    "down", "up", "mid", "alpha", "diff", "diff_b", "dora_scale", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b",
    "hada_t1", "hada_t2", "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
    "lora_magnitude_vector",
]  # fmt: skip

_PARTS: dict[str, Part] = {
    **{part: part for part in get_args(Part)},
    "A": "down", "B": "up", "w_norm": "diff", "b_norm": "diff_b",
}  # fmt: skip
_KEY = re.compile(
    r"(?P<layer>.+?)(?:\.(?P<plain>alpha|diff|diff_b|[wb]_norm|dora_scale|hada_(?:w[12]_[ab]|t[12])"
    r"|lokr_(?:w[12](?:_[ab])?|t2)|lora_magnitude_vector)(?:\.default)?(?:\.weight)?"
    r"|(?:\.lora_(?P<kohya>down|up|mid|A|B)(?:\.default)?|[._]lora\.(?P<early>down|up)|\.lora_linear_layer\.(?P<text>down|up))"
    r"\.weight)"
)
_PREFIXES = (
    ("base_model_model_", "unet"),
    ("lora_unet_", "unet"),
    ("lycoris_", "unet"),
    ("unet_", "unet"),
    ("transformer_", "transformer"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"),
    ("diffusion_model_", "unet"),
    ("text_encoders_clip_l_transformer_", "text_encoder"),
    ("text_encoders_clip_h_transformer_", "text_encoder"),
    ("text_encoders_clip_g_transformer_", "text_encoder_2"),
    ("text_encoder_2_", "text_encoder_2"),
    ("text_encoder_", "text_encoder"),
)
_EARLY_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "norm2": "out_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


class Place(NamedTuple):
    """A layer of a model: the part that it is in ("unet", "text_encoder", ...) and its dotted name there."""

    part: str
    layer: str


def split_key(key: str) -> tuple[str, Part] | None:
    """The file's own name of a layer, and which tensor of it this is; None for what belongs to no LoRA that is known."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    part = match["plain"] or match["kohya"] or match["early"] or match["text"]
    return match["layer"], _PARTS[part]


def find_place(name: str, places: Mapping[tuple[str, str], Place]) -> Place | None:
    """Which layer a file means by `name`; `places` as `all_places` gives them."""
    flat = name.replace(".", "_").replace("_processor_", "_")
    for prefix, part in _PREFIXES:
        if flat.startswith(prefix):
            return places.get((part, flat.removeprefix(prefix)))
    return places.get(("unet", flat))


def all_places(part: str, layers: Iterable[str], layers_per_block: int = 2) -> dict[tuple[str, str], Place]:
    """(part, name with underscores) -> the layer, with each of the names that it may have in a file.

    `layers` are the dotted names of all layers of the part; `layers_per_block` is that of the UNet.
    """
    names = list(layers)
    places = {}
    for layer in names:
        place = Place(part, layer)
        for alias in _aliases(part, layer, names, layers_per_block):
            places[part, alias.replace(".", "_")] = place
    return places


def _aliases(part: str, layer: str, layers: list[str], layers_per_block: int) -> list[str]:
    if part == "unet":
        return _unet_names(layer, layers, layers_per_block)
    return _text_names(layer) if part.startswith("text_encoder") else [layer]


def _unet_names(layer: str, layers: list[str], layers_per_block: int) -> list[str]:
    early = [layer.removesuffix(".0")] if layer.endswith("to_out.0") else []
    return [layer, *early, _original(layer, layers, layers_per_block)]


def _text_names(layer: str) -> list[str]:
    """With and without the prefix that transformers has dropped in its version 5, and with the attention's early names."""
    bare = layer.removeprefix("text_model.")
    early = [bare.replace(new, old) for old, new in _EARLY_TEXT.items() if bare.endswith(f"self_attn.{new}")]
    return [name for each in (bare, *early) for name in (each, f"text_model.{each}")]


def _original(layer: str, layers: list[str], layers_per_block: int) -> str:
    """The name in the original layout of latent diffusion."""
    for name, original in _ENDS.items():
        if layer == name:
            return original
    head, tail = _block(layer, layers, layers_per_block)
    return f"{head}.{_RESNET.get(tail, tail)}" if tail else head


def _block(layer: str, layers: list[str], layers_per_block: int) -> tuple[str, str]:
    """The block's original name, and the layer's name in it."""
    step = layers_per_block + 1
    if match := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.", layer):
        first = 1 if match[1] == "down" else 0
        side = "input" if match[1] == "down" else "output"
        number = first + step * int(match[2]) + int(match[4])
        return f"{side}_blocks.{number}.{int(match[3] == 'attentions')}", layer[match.end() :]
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.", layer):
        return f"middle_block.{1 if match[1] == 'attentions' else 2 * int(match[2])}", layer[match.end() :]
    if match := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", layer):
        return f"input_blocks.{step * (int(match[1]) + 1)}.0.op", ""
    if match := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", layer):
        attends = any(name.startswith(f"up_blocks.{match[1]}.attentions.") for name in layers)
        return f"output_blocks.{step * int(match[1]) + layers_per_block}.{1 + attends}.conv", ""
    return layer, ""
