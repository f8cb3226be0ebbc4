"""Small random models of the architectures of Stable Diffusion, made on the spot: every block of the real ones, narrow.

Weights are random but fixed by `seed`; pictures are meaningless, numbers are exact. About 5 M parameters, made in well
under two seconds.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

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

SDXL_SCHEDULER: dict[str, Any] = {
    **{key: value for key, value in SCHEDULER.items() if key != "skip_prk_steps"},
    "_class_name": "EulerDiscreteScheduler",
    "interpolation_type": "linear",
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}
"""The scheduler configuration that SDXL 1.0 is published with."""

_START, _END, _VOCABULARY = 49406, 49407, 49408
_WIDTH, _WIDTH_2 = 32, 64
_CLASSES = {
    "scheduler": ("diffusers", ""),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "tokenizer_2": ("transformers", "CLIPTokenizer"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}


def make_sd1_folder(path: Path, inpaint: bool = False, prediction: str = "epsilon", seed: int = 0, **unet: Any) -> Path:
    """A model in the folder layout of diffusers: fp32 safetensors, a tokenizer of single bytes (the ids that CLIP's own
    tokenizer gives to them), the scheduler configuration of Stable Diffusion 1.5. `unet` changes its UNet. Returns
    `path`."""
    name = "StableDiffusionInpaintPipeline" if inpaint else "StableDiffusionPipeline"
    return _write_folder(path, name, _sd1(inpaint, seed, **unet), {**SCHEDULER, "prediction_type": prediction})


def make_sd2_folder(path: Path, inpaint: bool = False, prediction: str = "v_prediction", seed: int = 0) -> Path:
    """As make_sd1_folder, of Stable Diffusion 2.x."""
    name = "StableDiffusionInpaintPipeline" if inpaint else "StableDiffusionPipeline"
    return _write_folder(path, name, _sd2(inpaint, seed), {**SCHEDULER, "prediction_type": prediction}, pads=("!",))


def make_sdxl_folder(
    path: Path, inpaint: bool = False, prediction: str = "epsilon", seed: int = 0, **scheduler: Any
) -> Path:
    """As make_sd1_folder, of SDXL. `scheduler` changes its scheduler's configuration."""
    name = "StableDiffusionXLInpaintPipeline" if inpaint else "StableDiffusionXLPipeline"
    config = {**SDXL_SCHEDULER, "prediction_type": prediction, **scheduler}
    return _write_folder(path, name, _sdxl(inpaint, seed), config, pads=("<|endoftext|>", "!"))


def make_sd1_single_file(path: Path, inpaint: bool = False, prediction: str = "epsilon", seed: int = 0) -> Path:
    """The very weights of `make_sd1_folder` with the same arguments as one file in the original layout. Returns `path`.

    The original layout has no field for the prediction type; it is told by the metadata of ModelSpec 1.0, and not at
    all where `prediction` is "".
    """
    return _write_single(path, original_state("sd1", _sd1(inpaint, seed)), prediction)


def make_sd2_single_file(path: Path, inpaint: bool = False, prediction: str = "v_prediction", seed: int = 0) -> Path:
    """The very weights of `make_sd2_folder` as one file, which holds the text encoder's last layer too, as the published
    ones do: nothing uses it."""
    return _write_single(path, original_state("sd2", _sd2(inpaint, seed)), prediction)


def make_sdxl_single_file(path: Path, inpaint: bool = False, prediction: str = "epsilon", seed: int = 0) -> Path:
    """The very weights of `make_sdxl_folder` as one file."""
    return _write_single(path, original_state("sdxl", _sdxl(inpaint, seed)), prediction)


def original_state(family: str, parts: dict[str, Any]) -> State:
    """The weights of a model's components under the names of the original layout, in the shapes that they have there."""
    unet, text = parts["unet"], parts["text_encoder"]
    # An upsampler is one place further where the up block has attention.
    places = [1 + kind.startswith("CrossAttn") for kind in unet.config.up_block_types]
    state = {f"model.diffusion_model.{_unet_key(key, places)}": value for key, value in unet.state_dict().items()}
    for key, value in parts["vae"].state_dict().items():
        name = _vae_key(key)
        is_attention_matrix = ".attn_1." in name and value.ndim == 2  # a 1x1 convolution in the original
        state[f"first_stage_model.{name}"] = value[:, :, None, None] if is_attention_matrix else value
    if family == "sd2":
        return state | _sd2_text(text)
    prefix = "conditioner.embedders.0.transformer." if family == "sdxl" else "cond_stage_model.transformer."
    state |= {f"{prefix}{key}": value for key, value in _text_state(text).items()}
    if family == "sdxl":
        state |= _open_clip_state(parts["text_encoder_2"], "conditioner.embedders.1.model.")
    return state


def _sd1(inpaint: bool, seed: int, **unet: Any) -> dict[str, Any]:
    with _seeded(seed):
        return {
            "unet": _unet(inpaint, **{"cross_attention_dim": _WIDTH, "attention_head_dim": 8, **unet}),
            "vae": _vae(),
            "text_encoder": _text(CLIPTextModel, _WIDTH),
        }


def _sd2(inpaint: bool, seed: int) -> dict[str, Any]:
    with _seeded(seed):
        return {
            "unet": _unet(
                inpaint, cross_attention_dim=_WIDTH_2, attention_head_dim=(2, 2, 4, 4), use_linear_projection=True
            ),
            "vae": _vae(),
            "text_encoder": _text(CLIPTextModel, _WIDTH_2, hidden_act="gelu"),
        }


def _sdxl(inpaint: bool, seed: int) -> dict[str, Any]:
    with _seeded(seed):
        return {
            "unet": _unet(
                inpaint,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                block_out_channels=(32, 64, 64),
                transformer_layers_per_block=(1, 1, 2),
                attention_head_dim=(2, 4, 4),
                cross_attention_dim=_WIDTH + _WIDTH_2,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + _WIDTH_2,
            ),
            "vae": _vae(scaling_factor=0.13025),
            "text_encoder": _text(CLIPTextModel, _WIDTH, layers=3),
            "text_encoder_2": _text(CLIPTextModelWithProjection, _WIDTH_2, layers=3, hidden_act="gelu"),
        }


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _unet(inpaint: bool, **config: Any) -> UNet2DConditionModel:
    channels = {"block_out_channels": (32, 32, 64, 64), "in_channels": 9 if inpaint else 4}
    return UNet2DConditionModel(sample_size=8, **{**channels, **config})


def _vae(**config: Any) -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=2,
        **config,
    )


def _text(kind: Any, width: int, layers: int = 2, **config: Any) -> Any:
    text = kind(
        CLIPTextConfig(
            vocab_size=_VOCABULARY,
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_attention_heads=4,
            num_hidden_layers=layers,
            bos_token_id=_START,
            eos_token_id=_END,
            **config,
        )
    )
    # Fresh weights of 0.02 make all prompts nearly alike; the tests need prompts that matter.
    text.get_input_embeddings().weight.data.mul_(50)
    return text


def _text_state(text: Any) -> State:
    # Published files have the prefix, transformers 5 has dropped it where there is no projection.
    prefix = "" if isinstance(text, CLIPTextModelWithProjection) else "text_model."
    return {f"{prefix}{key}": value for key, value in text.state_dict().items()}


def _write_folder(
    path: Path, name: str, parts: dict[str, Any], scheduler: dict[str, Any], pads: tuple[str, ...] = ("<|endoftext|>",)
) -> Path:
    index: dict[str, Any] = {"_class_name": name, "_diffusers_version": "0.6.0", "feature_extractor": [None, None]}
    if "text_encoder_2" not in parts:
        index |= {"safety_checker": [None, None], "requires_safety_checker": False}
    for part, module in parts.items():
        if part.startswith("text_encoder"):
            module.config.save_pretrained(path / part)
            _save(_text_state(module), path / part / "model.safetensors")
        else:
            module.save_pretrained(path / part)
    tokenizers = [f"tokenizer{suffix}" for suffix in ("", "_2")[: len(pads)]]
    for tokenizer, pad in zip(tokenizers, pads, strict=True):
        _write_tokenizer(path / tokenizer, pad)
    _write_json(path / "scheduler" / "scheduler_config.json", scheduler)
    index |= {component: _CLASSES[component] for component in (*parts, *tokenizers)}
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    _write_json(path / "model_index.json", index)
    return path


def _write_single(path: Path, state: State, prediction: str) -> Path:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    state |= {"betas": betas, "alphas_cumprod": torch.cumprod(1 - betas, 0)}
    said = {"epsilon": "epsilon", "v_prediction": "v"}.get(prediction)
    metadata = {"modelspec.sai_model_spec": "1.0.0", "modelspec.prediction_type": said} if said else {}
    _save(state, path, metadata)
    return path


def _sd2_text(text: Any) -> State:
    prefix = "cond_stage_model.model."
    state = _open_clip_state(text, prefix)
    first = {key: value for key, value in state.items() if f"{prefix}transformer.resblocks.0." in key}
    state |= {key.replace("resblocks.0.", "resblocks.23."): value + 1 for key, value in first.items()}
    width = text.config.hidden_size
    return {**state, f"{prefix}text_projection": torch.zeros(width, width)}


def _open_clip_state(text: Any, prefix: str) -> State:
    """Under the names of OpenCLIP, queries, keys and values in one matrix."""
    state: State = {f"{prefix}logit_scale": torch.tensor(1.0)}
    source = {key.removeprefix("text_model."): value for key, value in text.state_dict().items()}
    for key, value in source.items():
        if match := re.match(r"encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", key):
            three = [source[key.replace("q_proj", f"{name}_proj")] for name in "qkv"]
            state[f"{prefix}transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}"] = torch.cat(three)
        elif not re.search(r"self_attn\.[kv]_proj", key):
            name = functools.reduce(lambda name, pair: name.replace(*pair), _OPEN_CLIP, key)
            state[f"{prefix}{name}"] = value.T if key == "text_projection.weight" else value
    return state


def _save(state: State, path: Path, metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in state.items()}
    save_file(state, path, metadata={"format": "pt", **(metadata or {})})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def _write_tokenizer(folder: Path, pad: str) -> None:
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
            "pad_token": pad,
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
    (r"mid_block\.resnets\.(\d+)\.()", lambda i, j: f"middle_block.{2 * i}."),
    (r"mid_block\.attentions\.(\d+)\.()", lambda i, j: "middle_block.1."),
)
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
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
_OPEN_CLIP = (
    ("encoder.layers.", "transformer.resblocks."),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("self_attn", "attn"),
    ("final_layer_norm", "ln_final"),
    ("embeddings.token_embedding", "token_embedding"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("text_projection.weight", "text_projection"),
)
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


def _unet_key(key: str, upsamplers: Sequence[int] = (1, 2, 2, 2)) -> str:
    for name, original in _UNET_ENDS.items():
        if key.startswith(f"{name}."):
            return original + key.removeprefix(name)
    if match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.", key):
        block = int(match[1])
        return f"output_blocks.{3 * block + 2}.{upsamplers[block]}.{key[match.end() :]}"
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
