"""Small random models of the Stable Diffusion 1.x architecture, made on the spot: every block of the real one, narrow.

Weights are random but fixed by `seed`; pictures are meaningless, numbers are exact. About 4.6 M parameters, made in well
under two seconds.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

State = dict[str, Tensor]

SCHEDULER: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
"""The scheduler configuration that Stable Diffusion 1.5 is published with."""

_START, _END, _VOCABULARY = 49406, 49407, 49408
_WIDTH = 32


def make_sd1_folder(path: Path, inpaint: bool = False, prediction: str = "epsilon", seed: int = 0) -> Path:
    """A model in the folder layout of diffusers: fp32 safetensors, a tokenizer of single bytes (the ids that CLIP's own
    tokenizer gives to them), the scheduler configuration of Stable Diffusion 1.5. Returns `path`."""
    unet, vae, text = _components(inpaint, seed)
    unet.save_pretrained(path / "unet")
    vae.save_pretrained(path / "vae")
    text.config.save_pretrained(path / "text_encoder")
    _save(_text_state(text), path / "text_encoder" / "model.safetensors")
    _write_tokenizer(path / "tokenizer")
    _write_json(path / "scheduler" / "scheduler_config.json", {**SCHEDULER, "prediction_type": prediction})
    _write_json(
        path / "model_index.json",
        {
            "_class_name": "StableDiffusionInpaintPipeline" if inpaint else "StableDiffusionPipeline",
            "_diffusers_version": "0.6.0",
            "feature_extractor": [None, None],
            "safety_checker": [None, None],
            "requires_safety_checker": False,
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return path


def make_sd1_single_file(path: Path, inpaint: bool = False, prediction: str = "epsilon", seed: int = 0) -> Path:
    """The very weights of `make_sd1_folder` with the same arguments as one file in the original layout. Returns `path`.

    The original layout has no field for the prediction type; "v_prediction" is told by the metadata of ModelSpec 1.0.
    """
    unet, vae, text = _components(inpaint, seed)
    state = {f"model.diffusion_model.{_unet_key(key)}": value for key, value in unet.state_dict().items()}
    for key, value in vae.state_dict().items():
        name = _vae_key(key)
        is_attention_matrix = ".attn_1." in name and value.ndim == 2  # a 1x1 convolution in the original
        state[f"first_stage_model.{name}"] = value[:, :, None, None] if is_attention_matrix else value
    state |= {f"cond_stage_model.transformer.{key}": value for key, value in _text_state(text).items()}
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    state |= {"betas": betas, "alphas_cumprod": torch.cumprod(1 - betas, 0)}
    metadata = {"modelspec.sai_model_spec": "1.0.0", "modelspec.prediction_type": "v"}
    _save(state, path, metadata if prediction == "v_prediction" else {})
    return path


def _components(inpaint: bool, seed: int) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=9 if inpaint else 4,
            block_out_channels=(32, 32, 64, 64),
            cross_attention_dim=_WIDTH,
            attention_head_dim=8,
        )
        vae = AutoencoderKL(
            sample_size=64,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(32, 32, 32, 32),
            layers_per_block=2,
        )
        config = CLIPTextConfig(
            vocab_size=_VOCABULARY,
            hidden_size=_WIDTH,
            intermediate_size=4 * _WIDTH,
            projection_dim=_WIDTH,
            num_attention_heads=4,
            num_hidden_layers=2,
            bos_token_id=_START,
            eos_token_id=_END,
        )
        text = CLIPTextModel(config)
        # Fresh weights of 0.02 make all prompts nearly alike; the tests need prompts that matter.
        text.get_input_embeddings().weight.data.mul_(50)
    return unet, vae, text


def _text_state(text: CLIPTextModel) -> State:
    # Published files have the prefix, transformers 5 has dropped it.
    return {f"text_model.{key.removeprefix('text_model.')}": value for key, value in text.state_dict().items()}


def _save(state: State, path: Path, metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in state.items()}
    save_file(state, path, metadata={"format": "pt", **(metadata or {})})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def _write_tokenizer(folder: Path) -> None:
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    units = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    vocabulary = {unit: i for i, unit in enumerate([*units, *(f"{unit}</w>" for unit in units)])}
    _write_json(folder / "vocab.json", {**vocabulary, "<|startoftext|>": _START, "<|endoftext|>": _END})
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": 77,
            "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "do_lower_case": True,
        },
    )


# ---- names: diffusers -> original latent diffusion -------------------------------------------------------------------

_UNET_BLOCKS = (
    (r"down_blocks\.(\d+)\.resnets\.(\d+)\.", lambda i, j: f"input_blocks.{1 + 3 * i + j}.0."),
    (r"down_blocks\.(\d+)\.attentions\.(\d+)\.", lambda i, j: f"input_blocks.{1 + 3 * i + j}.1."),
    (r"down_blocks\.(\d+)\.downsamplers\.(\d+)\.conv\.", lambda i, j: f"input_blocks.{3 * (i + 1)}.0.op."),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)\.", lambda i, j: f"output_blocks.{3 * i + j}.0."),
    (r"up_blocks\.(\d+)\.attentions\.(\d+)\.", lambda i, j: f"output_blocks.{3 * i + j}.1."),
    # The first up block has no attention, so its upsampler moves up one place.
    (r"up_blocks\.(\d+)\.upsamplers\.(\d+)\.", lambda i, j: f"output_blocks.{3 * i + 2}.{2 if i else 1}."),
    (r"mid_block\.resnets\.(\d+)\.()", lambda i, j: f"middle_block.{2 * i}."),
    (r"mid_block\.attentions\.(\d+)\.()", lambda i, j: "middle_block.1."),
)
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_BLOCKS = (
    (r"down_blocks\.(\d+)\.resnets\.(\d+)\.", lambda i, j: f"down.{i}.block.{j}."),
    (r"down_blocks\.(\d+)\.downsamplers\.(\d+)\.", lambda i, j: f"down.{i}.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)\.", lambda i, j: f"up.{3 - i}.block.{j}."),
    (r"up_blocks\.(\d+)\.upsamplers\.(\d+)\.", lambda i, j: f"up.{3 - i}.upsample."),
    (r"mid_block\.resnets\.(\d+)\.()", lambda i, j: f"mid.block_{i + 1}."),
    (r"mid_block\.attentions\.(\d+)\.()", lambda i, j: f"mid.attn_{i + 1}."),
)
_VAE_PARTS = {
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def _unet_key(key: str) -> str:
    for name, original in _UNET_ENDS.items():
        if key.startswith(f"{name}."):
            return original + key.removeprefix(name)
    head, tail = _block(key, _UNET_BLOCKS)
    return head + (_part(tail, _UNET_RESNET) if ".resnets." in key else tail)


def _vae_key(key: str) -> str:
    side, _, rest = key.partition(".")
    if side not in ("encoder", "decoder"):  # quant_conv, post_quant_conv
        return key
    head, tail = _block(rest, _VAE_BLOCKS) if "_block" in rest else ("", rest)
    return f"{side}.{head}{_part(tail, _VAE_PARTS)}"


def _block(key: str, rules: Any) -> tuple[str, str]:
    for pattern, target in rules:
        if match := re.match(pattern, key):
            return target(int(match[1]), int(match[2] or 0)), key[match.end() :]
    raise KeyError(key)


def _part(tail: str, names: dict[str, str]) -> str:
    name, dot, kind = tail.rpartition(".")
    return names.get(name, name) + dot + kind
