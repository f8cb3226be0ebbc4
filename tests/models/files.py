"""Files of models, small and without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def write_single_file(path: Path, channels: int = 9, seed: int = 0) -> Path:
    """The parts of a Stable Diffusion 1.x file in the original layout by which its header is known; random numbers."""
    shapes = {
        "model.diffusion_model.input_blocks.0.0.weight": (320, channels, 3, 3),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,),
    }
    random = np.random.default_rng(seed)
    save_file({name: random.random(shape, dtype=np.float32) for name, shape in shapes.items()}, path)
    return path


def write_flux2_lora(path: Path) -> Path:
    """For the narrow model of tests.diffusion.tiny_flow."""
    name = "transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj"
    matrices = {f"{name}.lora_A.weight": np.ones((4, 32)), f"{name}.lora_B.weight": np.ones((288, 4)) / 8}
    save_file({key: matrix.astype(np.float16) for key, matrix in matrices.items()}, path)
    return path


def write_control(path: Path, width: int = 768) -> Path:
    """What diffusers writes of a ControlNet, of two tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = {
        "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": (16, width),
    }
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, path)
    (path.parent / "config.json").write_text('{"_class_name": "ControlNetModel"}', encoding="ascii")
    return path


def write_embedding(path: Path, **tensors: int) -> Path:
    """A textual inversion of two tokens: the names of its tensors and how wide each is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.zeros((2, width), np.float16) for name, width in tensors.items()}, path)
    return path


def write_lora(path: Path, width: int = 768, metadata: dict[str, str] | None = None, layers: int = 1) -> Path:
    """What kohya's scripts write, of `layers` layers (336: a real one of version 1 with its text encoder); `width` of the
    tokens tells what it is for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"lora_unet_mid_block_a_attn2_to_k.lora_down.weight": np.zeros((4, width), np.float16)}
    for number in range(1, layers):
        name = f"lora_unet_down_blocks_{number}_attentions_0_transformer_blocks_0_attn1_to_q"
        tensors[f"{name}.alpha"] = np.zeros((), np.float16)
        tensors[f"{name}.lora_down.weight"] = tensors[f"{name}.lora_up.weight"] = np.zeros((4, 4), np.float16)
    save_file(tensors, path, metadata)
    return path
