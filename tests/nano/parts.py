"""The architectures of the nano models: Stable Diffusion's parts, narrow. Widths are set here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scumble.diffusion.families as families
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from .drawing import GLIMPSE

CLIP = Path(families.__file__).parent / "sd1_files" / "tokenizer"
START, END, VOCABULARY = 49406, 49407, 49408
TOKENS = 77

LATENTS = 4
LEVELS = (16, 32, 48, 64)
"""Widths of the autoencoder; each but the last halves the sides."""
WIDTH, WIDTH_2 = 48, 24
"""Of a token, in nano-sd's text encoder and in nano-sdxl's second one."""
SEEN = 64
"""How wide is what the image encoder says of a picture as a whole."""

SCHEDULER: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}
"""v-prediction, because with eps-prediction the text's share of the loss is so small that nothing was learnt of it."""


def autoencoder() -> AutoencoderKL:
    """128 x 128 px to 4 x 16 x 16 latents."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(LEVELS),
        up_block_types=("UpDecoderBlock2D",) * len(LEVELS),
        block_out_channels=LEVELS,
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
        sample_size=128,
    )


def text_encoder(vocabulary: int = VOCABULARY) -> CLIPTextModel:
    """With a smaller vocabulary ids are to be compact (`Vocabulary`)."""
    return CLIPTextModel(_text_config(vocabulary, WIDTH))


def second_encoder(vocabulary: int = VOCABULARY) -> CLIPTextModelWithProjection:
    """That of nano-sdxl, whose projected end token stands for the prompt as a whole."""
    return CLIPTextModelWithProjection(_text_config(vocabulary, WIDTH_2))


def _text_config(vocabulary: int, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_act="quick_gelu",
        bos_token_id=min(START, vocabulary - 2),
        eos_token_id=min(END, vocabulary - 1),
        pad_token_id=1,
    )


def image_encoder() -> CLIPVisionModelWithProjection:
    """By which references are seen."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=256,
            projection_dim=SEEN,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=GLIMPSE,
            patch_size=4,
            hidden_act="quick_gelu",
        )
    )


def unet(channels: int = LATENTS) -> UNet2DConditionModel:
    return UNet2DConditionModel(**_unet_config(), in_channels=channels, cross_attention_dim=WIDTH)


def wide_unet() -> UNet2DConditionModel:
    """That of nano-sdxl, which is told the prompt as a whole and six numbers that say sizes."""
    told = 8  # width of each number
    return UNet2DConditionModel(
        **_unet_config(),
        in_channels=LATENTS,
        cross_attention_dim=WIDTH + WIDTH_2,
        addition_embed_type="text_time",
        addition_time_embed_dim=told,
        projection_class_embeddings_input_dim=WIDTH_2 + 6 * told,
    )


def _unet_config() -> dict[str, Any]:
    return {
        "sample_size": 16,
        "out_channels": LATENTS,
        "block_out_channels": (48, 80, 112),
        "layers_per_block": 1,
        "norm_num_groups": 16,
        "attention_head_dim": 4,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3,
        "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    }


def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(str(CLIP), local_files_only=True)


def pixels(images: list[Any]) -> Tensor:
    """(n, 3, h, w) in -1..1 of pictures of one size."""
    import numpy as np

    stacked = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    return stacked.permute(0, 3, 1, 2).float().div(127.5).sub(1)
