"""Small random LoRAs, ControlNets and IP-Adapters for the models of tiny.py, in the layouts of those who publish them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import ControlNetModel, ControlNetUnionModel
from safetensors.torch import save_file
from scumble.editing.adapters import Adapter
from scumble.protocol.messages import AdapterInfo, AdapterKind
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from .tiny import _unet_key

Layout = Literal["kohya", "original", "diffusers", "early", "peft"]
RANK = 4
SEEN_AS_WHOLE, SEEN_BY_PATCH = 24, 48
"""How wide it is what the image encoder sees."""
_KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}
_SDXL_UPSAMPLERS = (2, 2)
_NAMES: dict[Layout, tuple[str, str]] = {
    "kohya": ("lora_down", "lora_up"),
    "original": ("lora_down", "lora_up"),
    "diffusers": ("lora_A", "lora_B"),
    "early": ("lora.down", "lora.up"),
    "peft": ("lora_A", "lora_B"),
}


def attention_layers(part: nn.Module) -> list[str]:
    """What trainers of LoRAs choose: the matrices of the attention."""
    ends = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")
    return [name for name, layer in part.named_modules() if isinstance(layer, nn.Linear) and name.endswith(ends)]


def all_layers(part: nn.Module) -> list[str]:
    """What LoCon changes beside: convolutions too."""
    return [name for name, layer in part.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]


def lora_tensors(
    parts: Mapping[str, nn.Module],
    layout: Layout = "kohya",
    alpha: float | None = None,
    convolutions: bool = False,
    seed: int = 0,
    size: float = 0.1,
) -> dict[str, Tensor]:
    """A random LoRA of rank RANK for these modules ("unet", "text_encoder"), under the names of the layout."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for part, module in parts.items():
        layers: dict[str, Any] = dict(module.named_modules())
        for name in all_layers(module) if convolutions else attention_layers(module):
            out, *inputs = layers[name].weight.shape
            stem = _stem(part, name, layout, sdxl="text_encoder_2" in parts)
            down, up = _NAMES[layout]
            if layout == "early" and part != "unet":
                down, up = "lora_linear_layer.down", "lora_linear_layer.up"
            tensors[f"{stem}.{down}.weight"] = torch.randn(RANK, *inputs, generator=generator) * size
            tensors[f"{stem}.{up}.weight"] = (
                torch.randn(out, RANK, *[1] * (len(inputs) - 1), generator=generator) * size
            )
            if alpha is not None:
                tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    return tensors


def _stem(part: str, name: str, layout: Layout, sdxl: bool) -> str:
    if part != "unet":
        name = f"text_model.{name.removeprefix('text_model.')}"  # transformers 5 has dropped it, files have not
    elif layout == "original":
        key = _unet_key(f"{name}.weight", _SDXL_UPSAMPLERS) if sdxl else _unet_key(f"{name}.weight")
        name = key.removesuffix(".weight")
    if layout in ("kohya", "original"):
        prefix = "lora_te1_" if sdxl and part == "text_encoder" else _KOHYA[part]
        return prefix + name.replace(".", "_")
    return f"base_model.model.{name}" if layout == "peft" else f"{part}.{name}"


def make_control(unet: Any, seed: int = 0) -> Any:
    """A ControlNet to the measure of a UNet. Fresh ones end in zeros and add nothing; all of this one is random, and as
    strong as makes hint and weight matter most: stronger ones drown what they are added to."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        network.register_to_config(in_channels=4)  # inpaint denoisers have nine
        network = ControlNetModel.from_config(network.config)
        for name, parameter in network.named_parameters():
            if "controlnet_" in name and parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.1)
    return network.eval()


def make_union(unet: Any, kinds: int, seed: int = 0) -> Any:
    """As make_control, for several kinds of pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = ControlNetModel.from_unet(unet, load_weights_from_unet=False).config
        width = config["block_out_channels"][0]
        network = ControlNetUnionModel.from_config(
            {**config, "num_control_type": kinds, "num_trans_channel": width, "num_proj_channel": width}
        )
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1 and name.startswith(("controlnet_", "spatial_", "control_add_")):
                nn.init.normal_(parameter, std=0.1)
    return network.eval()


def write_control(folder: Path, network: Any, family: str = "") -> Adapter:
    """In the folder layout of diffusers."""
    network.save_pretrained(folder)
    path = folder / "diffusion_pytorch_model.safetensors"
    return Adapter(AdapterInfo(f"control-{folder.name}", folder.name, "control", family, path.stat().st_size), path)


def original_control(network: Any) -> dict[str, Tensor]:
    """Its weights under the names of the original layout, as in control_v11p_sd15_canny.pth."""
    return {f"control_model.{_control_key(key)}": tensor for key, tensor in network.state_dict().items()}


def _control_key(key: str) -> str:
    name, kind = key.rsplit(".", 1)
    part, _, rest = name.partition(".")
    if part == "controlnet_down_blocks":
        return f"zero_convs.{rest}.0.{kind}"
    if part == "controlnet_mid_block":
        return f"middle_block_out.0.{kind}"
    if part == "controlnet_cond_embedding":
        place = {"conv_in": 0, "conv_out": 14}.get(rest)
        return f"input_hint_block.{2 + 2 * int(rest.split('.')[1]) if place is None else place}.{kind}"
    return _unet_key(key)


def write_adapter(
    path: Path,
    tensors: Mapping[str, Tensor],
    kind: AdapterKind = "lora",
    family: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Adapter:
    """The file, and what the store would say of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, {"format": "pt", **header})
    info = AdapterInfo(f"{kind}-{path.stem}", path.stem, kind, family, path.stat().st_size)
    return Adapter(info, path)


def make_vision(folder: Path, seed: int = 0) -> Adapter:
    """A random image encoder of CLIP's architecture in the folder layout of transformers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=SEEN_BY_PATCH,
                intermediate_size=96,
                projection_dim=SEEN_AS_WHOLE,
                num_hidden_layers=3,
                num_attention_heads=4,
                image_size=32,
                patch_size=8,
            )
        )
        for parameter in encoder.parameters():
            nn.init.normal_(parameter, std=0.2)
    encoder.save_pretrained(folder)
    path = folder / "model.safetensors"
    return Adapter(AdapterInfo(f"vision-{seed}", folder.name, "vision", "", path.stat().st_size), path)


def reference_tensors(unet: Any, plus: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """A random IP-Adapter for a UNet in the layout of h94/IP-Adapter: as first published, or a "plus" one."""
    generator = torch.Generator().manual_seed(seed)
    width = unet.config.cross_attention_dim

    def matrix(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.2

    tensors = {
        f"image_proj.{name}": tensor for name, tensor in (_resampler if plus else _linear)(matrix, width).items()
    }
    crosses = [name for name in unet.attn_processors if "attn2" in name]
    for index, name in enumerate(crosses):
        hidden = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
        for part in "kv":
            tensors[f"ip_adapter.{2 * index + 1}.to_{part}_ip.weight"] = matrix(hidden, width)
    return tensors


def _linear(matrix: Any, width: int) -> dict[str, Tensor]:
    return {
        "proj.weight": matrix(4 * width, SEEN_AS_WHOLE),
        "proj.bias": matrix(4 * width),
        "norm.weight": matrix(width) + 1,
        "norm.bias": matrix(width),
    }


def _resampler(matrix: Any, width: int, hidden: int = 16, head: int = 64) -> dict[str, Tensor]:
    tensors = {
        "latents": matrix(1, 6, hidden),
        "proj_in.weight": matrix(hidden, SEEN_BY_PATCH),
        "proj_in.bias": matrix(hidden),
        "proj_out.weight": matrix(width, hidden),
        "proj_out.bias": matrix(width),
        "norm_out.weight": matrix(width) + 1,
        "norm_out.bias": matrix(width),
    }
    for layer in range(4):
        for name in ("0.norm1", "0.norm2", "1.0"):
            tensors[f"layers.{layer}.{name}.weight"] = matrix(hidden) + 1
            tensors[f"layers.{layer}.{name}.bias"] = matrix(hidden)
        tensors[f"layers.{layer}.0.to_q.weight"] = matrix(head, hidden)
        tensors[f"layers.{layer}.0.to_kv.weight"] = matrix(2 * head, hidden)
        tensors[f"layers.{layer}.0.to_out.weight"] = matrix(hidden, head)
        tensors[f"layers.{layer}.1.1.weight"] = matrix(4 * hidden, hidden)
        tensors[f"layers.{layer}.1.3.weight"] = matrix(hidden, 4 * hidden)
    return tensors
