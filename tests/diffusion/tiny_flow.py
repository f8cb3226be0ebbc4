"""Small random models of flow matching, as folders of diffusers: every kind of block of the real ones, narrow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

_WIDTH, _LATENTS = 16, 4
_BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (32,) * 4,
    "layers_per_block": 1,
    "latent_channels": _LATENTS,
}
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""What the template of Qwen 3 makes of one question."""


def make_flux2_folder(path: Path, distilled: bool = True) -> Path:
    """FLUX.2 klein; its language model has as many layers as prompts are read off."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = Flux2Transformer2DModel(
            in_channels=4 * _LATENTS,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * _WIDTH,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        )
        vae = AutoencoderKLFlux2(**_BLOCKS)
        vae.bn.running_mean.normal_()
        vae.bn.running_var.uniform_(0.5, 2)
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
        text = Qwen3ForCausalLM(_language_model(28))
        _make_prompts_matter(text.model)
        tokenizer = _write_tokenizer(path / "tokenizer")
        Flux2KleinPipeline(scheduler, vae, text, tokenizer, transformer, distilled).save_pretrained(path)
    return path


def make_z_image_folder(path: Path) -> Path:
    """Z-Image Turbo."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = ZImageTransformer2DModel(
            in_channels=_LATENTS,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=_WIDTH,
            axes_dims=[4, 6, 6],
        )
        for name, values in transformer.named_parameters():
            if "pad_token" in name:  # made without values
                values.data.normal_()
        vae = AutoencoderKL(**_BLOCKS, scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False)
        text = Qwen3Model(_language_model(3))
        _make_prompts_matter(text)
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        tokenizer = _write_tokenizer(path / "tokenizer")
        ZImagePipeline(scheduler, vae, text, tokenizer, transformer).save_pretrained(path)
    return path


def _language_model(layers: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=256 + len(_SPECIAL),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        tie_word_embeddings=True,
    )


def _make_prompts_matter(text: Any) -> None:
    text.get_input_embeddings().weight.data.mul_(50)


def _write_tokenizer(folder: Path) -> Any:
    """One of single bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    units = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    folder.mkdir(parents=True)
    vocabulary = {unit: i for i, unit in enumerate([*units, *_SPECIAL])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "additional_special_tokens": list(_SPECIAL[1:]),
        "chat_template": _TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return Qwen2Tokenizer.from_pretrained(str(folder), local_files_only=True)
