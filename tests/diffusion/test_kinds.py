"""What is told apart by content: files as the programs write them that painters use, by the names in their headers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scumble.diffusion.contents import read_raw_header
from scumble.diffusion.families.base import Contents
from scumble.diffusion.glance import glance
from scumble.diffusion.kinds import FLUX1, FLUX2, SD1, SD2, SD3, SDXL, Kind, adapter, recognise, recognise_gguf
from scumble.protocol.errors import ModelUnreadable

Shapes = dict[str, tuple[int, ...]]
BLOCK = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
KOHYA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


K_IP = "ip_adapter.1.to_k_ip.weight"
VISION: Shapes = {
    "vision_model.embeddings.patch_embedding.weight": (1280, 3, 14, 14), "visual_projection.weight": (1024, 1280)
}  # fmt: skip


def single(shapes: Shapes, **metadata: str) -> Contents:
    return Contents("single", shapes, {}, metadata)


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        pytest.param(
            {f"model.diffusion_model.{BLOCK}": (640, 2048), "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)},
            Kind("model", "SDXL"),
            id="SDXL checkpoint",
        ),
        pytest.param({f"model.diffusion_model.{BLOCK}": (640, 1024)}, Kind("model", "Stable Diffusion 2.x"), id="SD 2"),
        pytest.param(
            {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, 2048)},
            Kind("model", "SDXL"),
            id="SDXL denoiser of diffusers",
        ),
        pytest.param({"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, Kind("model", "FLUX.1"), id="FLUX.1"),
        pytest.param(
            {"double_blocks.0.img_attn.qkv.weight": (9216, 3072), "double_stream_modulation_img.lin.weight": (6, 3)},
            Kind("model", "FLUX.2"),
            id="FLUX.2",
        ),
        pytest.param(
            {
                "model.diffusion_model.cap_embedder.1.weight": (3840, 2560),
                "model.diffusion_model.noise_refiner.0.attention.qkv.weight": (11520, 3840),
                "model.diffusion_model.layers.0.attention.qkv.weight": (11520, 3840),
            },
            Kind("model", "Z-Image"),
            id="Z-Image of ComfyUI",
        ),
        pytest.param(
            {"cap_embedder.1.weight": (2304, 2304), "noise_refiner.0.attention.qkv.weight": (3840, 2304)},
            Kind("model", "Lumina 2"),
            id="Lumina 2",
        ),
        pytest.param(
            {"txt_norm.weight": (3584,), "transformer_blocks.0.attn.add_q_proj.weight": (3072, 3072)},
            Kind("model", "Qwen-Image"),
            id="Qwen-Image",
        ),
        pytest.param(
            {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (1, 1)},
            Kind("model", "Stable Diffusion 3"),
            id="SD 3",
        ),
        pytest.param(
            {f"{KOHYA}.lora_down.weight": (16, 768), f"{KOHYA}.lora_up.weight": (320, 16), f"{KOHYA}.alpha": ()},
            Kind("LoRA", "Stable Diffusion 1.x"),
            id="kohya LoRA",
        ),
        pytest.param(
            {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 2048)},
            Kind("LoRA", "SDXL"),
            id="PEFT LoRA",
        ),
        pytest.param(
            {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": (4, 768)},
            Kind("LoRA", "Stable Diffusion 1.x"),
            id="LoRA of early diffusers",
        ),
        pytest.param({"lora_te2_text_model_a.lora_down.weight": (4, 1280)}, Kind("LoRA", "SDXL"), id="second encoder"),
        pytest.param({f"{KOHYA}.hada_w1_a": (640, 8)}, Kind("LyCORIS"), id="LoHa whose base nobody tells"),
        pytest.param(
            {f"{KOHYA}.hada_w1_a": (640, 8), f"{KOHYA}.hada_w1_b": (8, 2048)}, Kind("LyCORIS", "SDXL"), id="LoHa"
        ),
        pytest.param(
            {f"{KOHYA}.lokr_w1": (8, 8), f"{KOHYA}.lokr_w2_a": (40, 4), f"{KOHYA}.lokr_w2_b": (4, 96)},
            Kind("LyCORIS", "Stable Diffusion 1.x"),
            id="LoKr",
        ),
        pytest.param(
            {f"{KOHYA}.lokr_w1_a": (8, 2), f"{KOHYA}.lokr_w1_b": (2, 8), f"{KOHYA}.lokr_w2": (40, 256)},
            Kind("LyCORIS", "SDXL"),
            id="LoKr in other pieces",
        ),
        pytest.param({f"{KOHYA}.diff": (640, 768)}, Kind("LyCORIS", "Stable Diffusion 1.x"), id="difference"),
        pytest.param(
            {f"{KOHYA}.lora_down.weight": (4, 768), f"{KOHYA}.oft_blocks": (4, 8, 8)},
            Kind("OFT", "Stable Diffusion 1.x"),
            id="OFT",
        ),
        pytest.param(
            {f"{KOHYA}.lora_down.weight": (4, 768), f"{KOHYA}.dora_scale": (320, 1)},
            Kind("DoRA", "Stable Diffusion 1.x"),
            id="DoRA",
        ),
        pytest.param(
            {"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": (16, 3072)},
            Kind("LoRA", "FLUX.1"),
            id="FLUX LoRA",
        ),
        pytest.param(
            {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (16, 3072)},
            Kind("LoRA", "FLUX.1"),
            id="FLUX LoRA of kohya",
        ),
        pytest.param(
            {"diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight": (16, 4096)},
            Kind("LoRA", "FLUX.2"),
            id="FLUX.2 LoRA, wide",
        ),
        pytest.param(
            {"transformer.transformer_blocks.0.ff.linear_in.lora_A.weight": (16, 3072)},
            Kind("LoRA", "FLUX.2"),
            id="FLUX.2 LoRA of diffusers",
        ),
        pytest.param(
            {"diffusion_model.layers.0.attention.to_q.lora_A.weight": (16, 3840)},
            Kind("LoRA", "Z-Image"),
            id="Z-Image LoRA",
        ),
        pytest.param(
            {"lora_unet_layers_29_feed_forward_w1.lora_down.weight": (16, 3840)},
            Kind("LoRA", "Z-Image"),
            id="Z-Image LoRA of kohya",
        ),
        pytest.param(
            {"diffusion_model.layers.0.attention.qkv.lora_A.weight": (16, 2304)},
            Kind("LoRA", "Lumina 2"),
            id="Lumina 2 LoRA",
        ),
        pytest.param(
            {f"control_model.{BLOCK}": (640, 768), "control_model.zero_convs.0.0.weight": (1, 1, 1, 1)},
            Kind("ControlNet", "Stable Diffusion 1.x"),
            id="ControlNet",
        ),
        pytest.param(
            {
                "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
                "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": (1280, 2048),
            },
            Kind("ControlNet", "SDXL"),
            id="ControlNet of diffusers",
        ),
        pytest.param(
            {"lora_controlnet": (0,), "input_hint_block.0.weight": (16, 3, 3, 3), "time_embed.0.up": (1280, 128)},
            Kind("Control-LoRA"),
            id="Control-LoRA",
        ),
        pytest.param(
            {"decoder.conv_in.weight": (512, 16, 3, 3)},
            Kind("autoencoder", "FLUX.1 or Stable Diffusion 3"),
            id="autoencoder",
        ),
        pytest.param(
            {"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)},
            Kind("autoencoder", "Stable Diffusion"),
            id="autoencoder in the original layout",
        ),
        pytest.param({"emb_params": (8, 768)}, Kind("embedding", "Stable Diffusion 1.x"), id="embedding"),
        pytest.param({"<cat-toy>": (1024,)}, Kind("embedding", "Stable Diffusion 2.x"), id="embedding of diffusers"),
        pytest.param({"clip_l": (2, 768), "clip_g": (2, 1280)}, Kind("embedding", "SDXL"), id="embedding of SDXL"),
        pytest.param(
            {"image_proj.norm.weight": (768,), K_IP: (320, 768)},
            Kind("IP-Adapter FaceID", "Stable Diffusion 1.x"),
            id="IP-Adapter for faces",
        ),
        pytest.param({"model.layers.0.self_attn.k_proj.weight": (1024, 1024)}, None, id="language model"),
        pytest.param({"weight": (3, 3)}, None, id="a single tensor"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_single_files(shapes: Shapes, kind: Kind | None) -> None:
    assert recognise(single(shapes)) == kind


@pytest.mark.parametrize(
    ("claim", "base"),
    [
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"),
        ({"ss_base_model_version": "sd_v1"}, "Stable Diffusion 1.x"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "FLUX.1"),
        ({"modelspec.architecture": "something"}, ""),
    ],
)
def test_claims_count_where_shapes_are_silent(claim: dict[str, str], base: str) -> None:
    assert recognise(single({"lora_unet_mid_block_x.lora_up.weight": (640, 8)}, **claim)) == Kind("LoRA", base)
    assert recognise(single({f"{KOHYA}.lora_down.weight": (4, 768)}, **claim)) == Kind("LoRA", "Stable Diffusion 1.x")


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({f"{KOHYA}.lora_down.weight": (4, 768)}, ("lora", "sd1")),
        ({f"{KOHYA}.lora_down.weight": (4, 1024)}, ("lora", "sd2")),
        ({f"{KOHYA}.lora_down.weight": (4, 2048)}, ("lora", "sdxl")),
        ({"lora_unet_mid_block_x.lora_down.weight": (4, 640)}, ("lora", "")),
        ({"lora_te_text_model_x.lora_down.weight": (4, 768)}, ("lora", "")),
        ({"diffusion_model.blocks.0.cross_attn.k.lora_A.weight": (16, 5120)}, None),
        ({f"{KOHYA}.hada_w1_b": (4, 768), f"{KOHYA}.hada_w1_a": (640, 4)}, ("lora", "sd1")),
        ({f"{KOHYA}.lora_down.weight": (4, 2048), f"{KOHYA}.dora_scale": (640, 1)}, ("lora", "sdxl")),
        ({f"{KOHYA}.oft_blocks": (4, 8, 8)}, None),
        ({"diffusion_model.double_blocks.0.img_attn.qkv.lokr_w1": (16, 16)}, None),
        ({"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": (16, 3072)}, None),
        ({"transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj.lora_A.weight": (16, 3072)}, ("lora", "flux2")),
        ({"diffusion_model.layers.0.attention.to_q.lora_A.weight": (16, 3840)}, ("lora", "z_image")),
        ({f"control_model.{BLOCK}": (640, 768)}, ("control", "sd1")),
        ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, ("control", "")),
        (
            {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "add_embedding.linear_1.weight": (1280, 2816)},
            ("control", "sdxl"),  # a small one, without attention
        ),
        ({"controlnet_x_embedder.weight": (3072, 64)}, None),
        ({"lora_controlnet": (0,), "input_hint_block.0.weight": (16, 3, 3, 3), "time_embed.0.up": (1280, 128)}, None),
        ({"emb_params": (8, 768)}, ("embedding", "sd1")),
        ({"<cat-toy>": (1024,)}, ("embedding", "sd2")),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, ("embedding", "sdxl")),
        ({"emb_params": (8, 16)}, ("embedding", "")),
        ({"*": (8, 16)}, None),
        ({"visual_projection": (512, 768)}, None),
        ({"weight": (3, 3)}, None),
        ({"image_proj.proj.weight": (3072, 1024), K_IP: (320, 768)}, ("reference", "sd1")),
        ({"image_proj.latents": (1, 16, 1280), K_IP: (640, 2048)}, ("reference", "sdxl")),
        ({"image_proj.proj.3.weight": (768,), K_IP: (320, 768)}, ("reference", "sd1")),
        (
            {"image_proj.proj.0.weight": (1024, 512), K_IP: (320, 768), "ip_adapter.0.to_q_lora.down.weight": (4, 320)},
            None,
        ),
        ({"image_proj.perceiver_resampler.proj_in.weight": (768, 1280), K_IP: (320, 768)}, None),
        ({"image_proj.proj.weight": (3072, 1024)}, None),
        (VISION, ("vision", "")),
        ({**VISION, "text_model.final_layer_norm.weight": (768,), "logit_scale": ()}, ("vision", "")),
        ({"visual_projection.weight": (1024, 1280)}, None),
    ],
)
def test_what_can_be_added_to_models(shapes: Shapes, found: tuple[str, str] | None) -> None:
    assert adapter(single(shapes)) == found


def written(tmp_path: Path, shapes: Shapes, **metadata: str) -> tuple[bytes, int]:
    file = tmp_path / "file.safetensors"
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, file, metadata)
    return read_raw_header(file)


@pytest.mark.parametrize(
    ("shapes", "base"),
    [
        ({f"{KOHYA}.alpha": (), f"{KOHYA}.lora_down.weight": (4, 768), f"{KOHYA}.lora_up.weight": (320, 4)}, SD1),
        ({"lora_te_a.lora_down.weight": (4, 768), f"{KOHYA}.lora_down.weight": (4, 1024)}, SD2),
        ({f"{KOHYA}.lora_down.weight": (4, 2048, 1, 1)}, SDXL),
        ({"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 2048)}, SDXL),
        ({"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight": (4, 768)}, SD1),
        ({"unet.mid_block.attn2.processor.to_k_lora.down.weight": (4, 768)}, SD1),
        ({"lora_unet_single_blocks_0_linear1.lora_down.weight": (4, 3072)}, None),
        (
            {
                "lora_unet_single_blocks_0_linear1.lora_down.weight": (4, 3072),
                "lora_unet_single_blocks_0_linear1.lora_up.weight": (21504, 4),
            },
            FLUX1,
        ),
        (
            {
                "diffusion_model.single_blocks.0.linear1.lora_A.weight": (4, 3072),
                "diffusion_model.single_blocks.0.linear1.lora_B.weight": (27648, 4),
            },
            FLUX2,
        ),
        ({"transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj.lora_A.weight": (4, 3072)}, FLUX2),
        ({"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": (4, 3072)}, FLUX1),
        ({"lora_unet_double_stream_modulation_img_lin.lora_down.weight": (4, 4096)}, FLUX2),
        ({"lora_unet_joint_blocks_0_x.lora_down.weight": (4, 1536)}, SD3),
        ({"diffusion_model.noise_refiner.0.attention.qkv.lora_A.weight": (4, 3840)}, None),
        ({"diffusion_model.blocks.0.cross_attn.k.lora_A.weight": (16, 5120)}, None),
        ({f"{KOHYA}.lora_down.weight": (4, 4096)}, None),
        ({f"{KOHYA}.lora_down.weight": (4, 768), "lora_unet_x.dora_scale": (320, 1)}, None),
        ({f"{KOHYA}.lora_down.weight": (4, 768), f"{KOHYA}.lora_magnitude_vector": (320, 1)}, None),
        ({f"{KOHYA}.lora_down.weight": (4, 768), "lora_unet_x.hada_w1_a": (4, 1)}, None),
        ({f"{KOHYA}.lora_down.weight": (4, 768), "lora_unet_x.lokr_w1": (4, 1)}, None),
        ({f"{KOHYA}.lora_down.weight": (4, 768), "lora_unet_x.oft_blocks": (4, 1)}, None),
        ({f"{KOHYA}.lora_down.weight": (4, 768), "lora_unet_x.w_norm": (4, 1)}, None),
        ({"lora_unet_x.lora_down.weight": (4, 640)}, None),
        ({f"control_model.{BLOCK}": (640, 768)}, None),
        ({f"model.diffusion_model.{BLOCK}": (640, 768)}, None),
        ({"double_blocks.0.img_attn.qkv.weight": (64, 8)}, None),
    ],
)
def test_a_glance_settles_what_a_plain_lora_is_for(tmp_path: Path, shapes: Shapes, base: str | None) -> None:
    found = Kind("LoRA", base) if base else None
    assert found is None or recognise(single(shapes)) == found
    header, size = written(tmp_path, shapes)
    assert glance(header, size) == found
    assert glance(json.dumps(json.loads(header)).encode(), size) == found  # with spaces
    # What the file tells of itself is no name of a tensor.
    fake = f'"{KOHYA}.lora_down.weight":{{"dtype":"F16","shape":[4,768],".hada_"'
    assert glance(*written(tmp_path, shapes, ss_tags=fake)) == found


def test_a_glance_leaves_damaged_files_alone(tmp_path: Path) -> None:
    header, size = written(tmp_path, {f"{KOHYA}.lora_down.weight": (4, 768)})
    assert glance(header, size) == Kind("LoRA", SD1)
    assert glance(header, size - 1) is None
    assert glance(header, size + 1) is None
    assert glance(header.rstrip()[:-1], size) is None


@pytest.mark.parametrize(
    ("name", "width", "kind"),
    [
        ("StableDiffusionXLPipeline", 2048, Kind("model", "SDXL")),
        ("StableDiffusionXLInpaintPipeline", 2048, Kind("model", "SDXL")),
        ("StableDiffusionPipeline", 1024, Kind("model", "Stable Diffusion 2.x")),
        ("StableDiffusion3Pipeline", None, Kind("model", "Stable Diffusion 3")),
        ("FluxPipeline", None, Kind("model", "FLUX.1")),
        ("Flux2KleinPipeline", None, Kind("model", "FLUX.2")),
        ("ZImagePipeline", None, Kind("model", "Z-Image")),
        ("QwenImageEditPipeline", None, Kind("model", "Qwen-Image")),
        ("SanaPipeline", None, Kind("model", "Sana")),
        ("\x1b[2J not a name Pipeline", None, None),
        ("", None, None),
    ],
)
def test_folders(name: str, width: int | None, kind: Kind | None) -> None:
    configs = {"model_index": {"_class_name": name}, "unet": {"cross_attention_dim": width}}
    assert recognise(Contents("diffusers", {}, configs, {})) == kind


def gguf(architecture: bytes) -> bytes:
    key = b"general.architecture"
    head = b"GGUF" + struct.pack("<IQQ", 3, 700, 5)
    return (
        head + struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(architecture)) + architecture + bytes(99)
    )


def test_gguf(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    for name, kind in (
        (b"flux", "GGUF FLUX.1 model"),
        (b"lumina2", "GGUF Z-Image or Lumina 2 model"),
        (b"qwen_image", "GGUF Qwen-Image model"),
        (b"wan", "GGUF Wan model"),
    ):
        file.write_bytes(gguf(name))
        assert str(recognise_gguf(file)) == kind
    for data in (gguf(b"llama"), gguf(b"flux")[:30], b"", b"GGUF" + bytes(200), gguf(b"x" * 200)):
        file.write_bytes(data)
        with pytest.raises(ModelUnreadable):
            recognise_gguf(file)
