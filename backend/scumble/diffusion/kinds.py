"""What files are that are no model which Scumble can paint with: adapters, other architectures, parts of models.

Told by the names and shapes of tensors, which the programs that write such files agree on; metadata (of kohya's scripts,
and ModelSpec, https://github.com/Stability-AI/ModelSpec) only where these leave it open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from ..protocol.errors import ModelUnreadable
from ..protocol.messages import AdapterKind
from .families.base import Contents
from .upscaler_names import upscaler

What = Literal[
    "model", "upscaler", "LoRA", "DoRA", "LyCORIS", "OFT", "ControlNet", "Control-LoRA", "autoencoder", "embedding",
    "IP-Adapter", "IP-Adapter FaceID", "image encoder", "depth model",
]  # fmt: skip
Shapes = Mapping[str, tuple[int, ...]]

SD1, SD2, SDXL = "Stable Diffusion 1.x", "Stable Diffusion 2.x", "SDXL"
SD3, FLUX1, FLUX2 = "Stable Diffusion 3", "FLUX.1", "FLUX.2"
LUMINA2, Z_IMAGE, QWEN_IMAGE = "Lumina 2", "Z-Image", "Qwen-Image"
ELSE = "another architecture"


class Kind(NamedTuple):
    """`base` is the architecture that it is, or is made for; "" where the file does not say."""

    what: What
    base: str = ""

    def __str__(self) -> str:
        if self.what in ("model", "upscaler"):
            return f"{self.base} {self.what}".strip()
        return f"{self.what} for {self.base}" if self.base else self.what


_LORA = (
    ".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight", ".lora.down.weight", ".lora.up.weight",
    ".lora_linear_layer.down.weight", "_lora.down.weight",
)  # fmt: skip
_DOWN, _UP = (".lora_down.weight", ".lora_A.weight"), (".lora_up.weight", ".lora_B.weight")
DORA = (".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight")
_OFT = (".oft_blocks", ".oft_diag")
LYCORIS = (".hada_w1_a", ".lokr_w1", ".lokr_w1_a", *_OFT, ".w_norm")
_DIFFERENCE = ".diff"
_LEFT = ("lokr_w1", "lokr_w1_b")
_OF_UNETS = (SD1, SD2, SDXL, "")
"""What more than plain LoRAs can be put onto."""
_CONTROL_UNET = ("control_model.", "input_hint_block.", "controlnet_cond_embedding.")
_CONTROL = (*_CONTROL_UNET, "controlnet_x_embedder.")
_PROJECTIONS = ("image_proj.proj.weight", "image_proj.proj.3.weight", "image_proj.latents")
"""Of an IP-Adapter as first published, of a "full" one (every patch of the picture), of a "plus" one."""
FAMILY_OF = {SD1: "sd1", SD2: "sd2", SDXL: "sdxl", FLUX2: "flux2", Z_IMAGE: "z_image"}
"""The architectures that can be added to -> the names of their families."""
_AUTOENCODER = ("decoder.conv_in.weight", "decoder.layers.0.weight", "taesd_decoder.1.weight")
TINY = {"sd1": "taesd", "sd2": "taesd", "sdxl": "taesdxl"}
"""Family -> the folder among Scumble's models, in capitals or not, of the tiny autoencoder that previews its latents, as
`models pull` calls it. Nothing in their files tells the two apart."""
_LONGEST = 150
"""Tokens of a textual inversion; those that are used have up to 75, a matrix of a model has more rows."""
BY_WIDTH = {768: SD1, 1024: SD2, 2048: SDXL}
"""How wide the tokens are that the image attends to (CLIP ViT-L, OpenCLIP ViT-H, both of SDXL's encoders)."""
_ADDED = 2816
"""How wide it is what SDXL is told beside the prompt's tokens: the prompt as a whole, and sizes."""
FLUX_BLOCKS = ("double_blocks", "single_blocks")
"""As Black Forest Labs call them, in FLUX.1 and FLUX.2."""
TRANSFORMERS = (
    ("double_stream_modulation_img", FLUX2),
    ("to_qkv_mlp_proj", FLUX2),
    (".ff.linear_in.", FLUX2),
    ("single_transformer_blocks", FLUX1),
    *((name, FLUX1) for name in FLUX_BLOCKS),
    ("joint_blocks", SD3),
    ("txt_norm.weight", QWEN_IMAGE),
)
_REFINER = "noise_refiner."
"""Of Z-Image, and of Lumina 2."""
_STABLE_DIFFUSION = (
    "down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block", "lora_te", "text_encoder",
    "text_model",
)  # fmt: skip
"""What is in the names of layers of its UNet and text encoders, as every trainer calls them (lora_names)."""
_Z_IMAGE_WIDTH = 3840
"""What its layers take; those of Lumina 2, which have the same names, take 2304."""
_Z_IMAGE_LAYER = re.compile(r"layers[._]\d+[._](?:attention|feed_forward|adaLN_modulation)[._]")
FLUX_ROWS = {21504: FLUX1, 27648: FLUX2, 36864: FLUX2, 55296: FLUX2}
"""What the first matrix of a single block gives in FLUX.1, in FLUX.2 klein (4 and 9 billion parameters) and dev: seven, and
nine, times its width."""
_FLUX2_WIDTHS = ((4096,), (6144,))
"""Of the larger ones; the smallest is as wide as FLUX.1."""
_GGUF = {
    "sd1": SD1, "sdxl": SDXL, "sd3": SD3, "flux": FLUX1, "flux2": FLUX2, "lumina2": f"{Z_IMAGE} or {LUMINA2}",
    "qwen_image": QWEN_IMAGE, "aura": "AuraFlow", "hidream": "HiDream", "cosmos": "Cosmos", "wan": "Wan",
    "hyvid": "HunyuanVideo", "ltxv": "LTX-Video",
}  # fmt: skip
"""What a GGUF file calls its architecture, by the list of the loader that wrote most of them (ComfyUI-GGUF)."""
_PIPELINES = (
    ("StableDiffusionXL", SDXL),
    ("StableDiffusion3", SD3),
    ("StableDiffusion", SD1),  # 2.x by its width
    ("Flux2", FLUX2),
    ("Flux", FLUX1),
    ("ZImage", Z_IMAGE),
    ("QwenImage", QWEN_IMAGE),
    ("Lumina2", LUMINA2),
)
_CLAIMS = (
    ("stable-diffusion-xl", SDXL), ("sdxl", SDXL), ("stable-diffusion-v2", SD2), ("sd_v2", SD2), ("sd_2", SD2),
    ("stable-diffusion-v1", SD1), ("sd_v1", SD1), ("sd_1", SD1), ("stable-diffusion-3", SD3), ("sd3", SD3),
    ("flux-2", FLUX2), ("flux2", FLUX2), ("flux", FLUX1),
)  # fmt: skip


def recognise(contents: Contents) -> Kind | None:
    """What the contents are, whether or not Scumble can use it; None when they are of no kind that painters use."""
    if contents.layout == "diffusers":
        return _recognise_folder(contents)
    shapes = contents.tensors
    if any(name.startswith("image_proj.") for name in shapes):  # before LoRAs: FaceID brings some
        return _reference(shapes)
    if low_rank := _low_rank(shapes):
        base = _base(shapes) or _claimed(contents.metadata)
        return Kind(low_rank, base or ("" if _is_stable_diffusion(shapes) else ELSE))
    if "lora_controlnet" in shapes:  # what a network differs in from the UNet of the model that it is used with
        return Kind("Control-LoRA", _base(shapes) or _claimed(contents.metadata))
    if any(name.startswith(_CONTROL) for name in shapes):
        return Kind("ControlNet", _base(shapes) or _claimed(contents.metadata))
    if _is_embedding(shapes):
        return Kind("embedding", SDXL if "clip_g" in shapes else BY_WIDTH.get(next(iter(shapes.values()))[-1], ""))
    if _is_vision(shapes):
        return Kind("image encoder")
    if _is_depth(shapes):
        return Kind("depth model")
    if base := _denoiser(shapes):
        return Kind("model", base)
    if network := upscaler(shapes):
        return Kind("upscaler", network)
    if any(name.removeprefix("first_stage_model.") in _AUTOENCODER for name in shapes):
        return Kind("autoencoder", _autoencoder(shapes))
    return None


def adapter(contents: Contents) -> tuple[AdapterKind, str] | None:
    """Of what can be added to a model: what it is, and the name of the family of models that it is for, "" where the file
    does not say. None for everything else, also for what is added to models that Scumble does not run."""
    kind = recognise(contents)
    if kind is None or (kind.base and kind.base not in FAMILY_OF):
        return None
    family = FAMILY_OF.get(kind.base, "")
    if kind.what == "LoRA" or (kind.what in ("DoRA", "LyCORIS") and kind.base in _OF_UNETS):
        return "lora", family
    named: dict[What, AdapterKind] = {
        "embedding": "embedding", "IP-Adapter": "reference", "image encoder": "vision", "depth model": "depth",
    }  # fmt: skip
    if kind.what in named:
        return named[kind.what], family
    is_unet = kind.what == "ControlNet" and any(name.startswith(_CONTROL_UNET) for name in contents.tensors)
    return ("control", family) if is_unet else None


def recognise_gguf(path: Path) -> Kind:
    """A GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) by the architecture that it names first.

    Raises ModelUnreadable where it is none, or of no kind that painters use; OSError.
    """
    with path.open("rb") as file:
        start = file.read(256)
    # Magic, u32 version, u64 tensors, u64 values; then the first value: u64 length and name, u32 type (8: text), text.
    key = b"general.architecture"
    named = start.startswith(b"GGUF") and start[32:].startswith(key) and start[52:56] == b"\x08\0\0\0"
    length = int.from_bytes(start[56:64], "little")
    if not named or length > 64:
        raise ModelUnreadable("This is not a model file that Scumble knows, or it is damaged.")
    name = start[64 : 64 + length].decode("ascii", "replace")
    base = _GGUF.get(name)
    if base is None:
        raise ModelUnreadable(
            "This GGUF file is no image model that Scumble knows.", "It may be a text encoder, or of another program."
        )
    return Kind("model", f"GGUF {base}")


def _recognise_folder(contents: Contents) -> Kind | None:
    name = str(contents.configs["model_index"].get("_class_name", ""))
    base = next((base for start, base in _PIPELINES if name.startswith(start)), None)
    if base is None:
        known = name.endswith("Pipeline") and name.isidentifier() and len(name) < 80
        return Kind("model", name.removesuffix("Pipeline")) if known else None
    if base == SD1 and contents.configs.get("unet", {}).get("cross_attention_dim") == 1024:
        base = SD2
    return Kind("model", base)


def _low_rank(shapes: Shapes) -> Literal["LoRA", "DoRA", "LyCORIS", "OFT"] | None:
    """Which way of changing a model by small matrices this is. Of LyCORIS' ways, LoCon is a LoRA like others."""
    names = tuple(shapes)
    if any(name.endswith(_OFT) for name in names):
        return "OFT"
    if any(name.endswith(LYCORIS) for name in names):
        return "LyCORIS"
    if any(name.endswith(DORA) for name in names):
        return "DoRA"
    if any(name.endswith(_LORA) for name in names):
        return "LoRA"
    return "LyCORIS" if any(name.endswith(_DIFFERENCE) for name in names) else None


def _denoiser(shapes: Shapes) -> str:
    """The architecture of a whole model or of its denoiser alone; "" when there is none."""
    found = any(".input_blocks." in f".{name}" or ".down_blocks." in f".{name}" for name in shapes)
    is_unet = found and any(_is_cross_attention(name) for name in shapes)
    return _base(shapes) if is_unet or _transformer(shapes) else ""


def _base(shapes: Shapes) -> str:
    if base := _transformer(shapes):
        return base
    if any(name.startswith(("lora_te2_", "text_encoder_2.", "conditioner.embedders.1.")) for name in shapes):
        return SDXL
    if shapes.get("add_embedding.linear_1.weight", ())[1:] == (_ADDED,):  # its small control networks have no attention
        return SDXL
    for name, shape in shapes.items():
        # (out, in) of a matrix, or (rank, in) of a LoRA's first one; some write it as a 1x1 convolution.
        if _is_cross_attention(name) and len(shape) in (2, 4):
            width = shape[1] * _factor(name, shapes)
            if width in BY_WIDTH:
                return BY_WIDTH[width]
    return ""


def _factor(name: str, shapes: Shapes) -> int:
    """Of a Kronecker product's left matrix: how many times as much its product takes in."""
    stem, _, part = name.rpartition(".")
    if part not in _LEFT:
        return 1
    right = shapes.get(f"{stem}.lokr_w2") or shapes.get(f"{stem}.lokr_w2_b") or (0, 0)
    return right[1] if len(right) > 1 else 0


def _is_cross_attention(name: str) -> bool:
    """Whether this matrix is what takes a prompt's tokens in."""
    takes = "attn2.to_k." in name or "attn2_to_k." in name or "attn2.processor.to_k_lora." in name
    return takes and name.endswith(("to_k.weight", "down.weight", "lora_A.weight", ".hada_w1_b", ".diff", *_LEFT))


def _transformer(shapes: Shapes) -> str:
    names = "\n".join(shapes)  # thousands: one search in C
    if _REFINER in names or _Z_IMAGE_LAYER.search(names):
        return Z_IMAGE if any(shape[-1:] == (_Z_IMAGE_WIDTH,) for shape in shapes.values()) else LUMINA2
    mark, base = next(((mark, base) for mark, base in TRANSFORMERS if mark in names), ("", ""))
    return FLUX2 if mark in FLUX_BLOCKS and _is_flux2(shapes) else base


def _is_flux2(shapes: Shapes) -> bool:
    """Whether a LoRA under the names of Black Forest Labs is for FLUX.2, which calls its blocks as FLUX.1."""
    for name, shape in shapes.items():
        if name.endswith(_UP) and "linear1" in name and len(shape) == 2 and shape[0] in FLUX_ROWS:
            return FLUX_ROWS[shape[0]] == FLUX2
        if name.endswith(_DOWN) and ("linear1" in name or "qkv" in name) and shape[-1:] in _FLUX2_WIDTHS:
            return True
    return False


def _is_stable_diffusion(shapes: Shapes) -> bool:
    names = "\n".join(shapes)
    return any(mark in names for mark in _STABLE_DIFFUSION)


def _is_embedding(shapes: Shapes) -> bool:
    if set(shapes) == {"clip_l", "clip_g"}:
        return True
    if len(shapes) != 1:
        return False
    ((name, shape),) = shapes.items()
    if len(shape) not in (1, 2) or math.prod(shape[:-1]) > _LONGEST:
        return False
    # The web UI's name is nobody else's; diffusers calls its tensor as the word, so that only the width tells.
    return name == "emb_params" or (shape[-1] in (768, 1024) and "." not in name)


def _reference(shapes: Shapes) -> Kind | None:
    """Which IP-Adapter (Ye et al., 2023) this is. Those that know faces by a network of InsightFace are another thing."""
    widths = {shape[1] for name, shape in shapes.items() if name.endswith(".to_k_ip.weight") and len(shape) == 2}
    if len(widths) != 1:
        return None
    base = BY_WIDTH.get(widths.pop(), "")
    return Kind("IP-Adapter" if any(name in shapes for name in _PROJECTIONS) else "IP-Adapter FaceID", base)


def _is_vision(shapes: Shapes) -> bool:
    """Whether this is CLIP's image encoder in the layout of transformers, with its projection; its text encoder may lie
    beside."""
    return (
        len(shapes.get("visual_projection.weight", ())) == 2
        and "vision_model.embeddings.patch_embedding.weight" in shapes
    )


def _is_depth(shapes: Shapes) -> bool:
    """Whether this is a DPT or a Depth Anything in the layout of transformers, whose heads answer with one number for each
    pixel; those that name what they see have one for each name."""
    head = shapes.get("head.conv3.weight") or shapes.get("head.head.4.weight") or (0,)
    return head[0] == 1 and "neck.fusion_stage.layers.0.projection.weight" in shapes


def _autoencoder(shapes: Shapes) -> str:
    for name in _AUTOENCODER:
        shape = shapes.get(name) or shapes.get(f"first_stage_model.{name}") or ()
        if len(shape) == 4:  # (out, latent channels, 3, 3)
            return {4: "Stable Diffusion", 16: "FLUX.1 or Stable Diffusion 3", 32: FLUX2}.get(shape[1], "")
    return ""


def _claimed(metadata: Mapping[str, str]) -> str:
    claim = f"{metadata.get('modelspec.architecture', '')} {metadata.get('ss_base_model_version', '')}".lower()
    return next((base for words, base in _CLAIMS if words in claim), "")
