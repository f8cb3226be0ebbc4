"""Models of one architecture told from each other: by the names and shapes that the published files have, by what their
configurations and metadata say, and by their names only where those are silent."""

from __future__ import annotations

from typing import Any

import pytest
from scumble.diffusion.families import find_family, identify
from scumble.diffusion.families.base import Contents, Defaults, Identity
from scumble.diffusion.families.variants import hastened
from scumble.protocol.errors import ModelUnreadable

Shapes = dict[str, tuple[int, ...]]
DENOISER = "model.diffusion_model."
KERNEL = f"{DENOISER}input_blocks.0.0.weight"
SD2: Shapes = {
    KERNEL: (320, 4, 3, 3),
    f"{DENOISER}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "cond_stage_model.model.ln_final.weight": (1024,),
}
SDXL: Shapes = {
    KERNEL: (320, 4, 3, 3),
    f"{DENOISER}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    f"{DENOISER}middle_block.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
    f"{DENOISER}label_emb.0.0.weight": (1280, 2816),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
}
REFINER: Shapes = {
    KERNEL: (384, 4, 3, 3),
    f"{DENOISER}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (768, 1280),
    f"{DENOISER}label_emb.0.0.weight": (1536, 2560),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "conditioner.embedders.0.model.ln_final.weight": (1280,),
}
FEW = Defaults(4, 1.0, "euler")


def single(shapes: Shapes, name: str = "", metadata: dict[str, str] | None = None, **changes: Any) -> Contents:
    tensors = {key: shape for key, shape in {**shapes, **changes}.items() if shape is not None}
    return Contents("single", tensors, {}, metadata or {}, name)


def folder(kind: str, scheduler: dict[str, Any], unet: dict[str, Any] | None = None, name: str = "") -> Contents:
    """As the published folders describe themselves."""
    two = kind == "sdxl"
    parts = {
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        **({"text_encoder_2": "CLIPTextModelWithProjection"} if two else {}),
    }
    widths = {"sd1": 768, "sd2": 1024, "sdxl": 2048}
    configs: dict[str, Any] = {
        "model_index": {**{part: ["", cls] for part, cls in parts.items()}, "scheduler": ["diffusers", "X"]},
        "unet": {
            "in_channels": 4,
            "sample_size": 128 if two else 64,
            "cross_attention_dim": widths[kind],
            "use_linear_projection": kind != "sd1",
            "addition_embed_type": "text_time" if two else None,
            **(unet or {}),
        },
        "vae": {"block_out_channels": [128, 256, 512, 512]},
        "text_encoder": {"hidden_size": 1024 if kind == "sd2" else 768},
        "scheduler": {"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon", **scheduler},
        **({"text_encoder_2": {"hidden_size": 1280}} if two else {}),
    }
    return Contents("diffusers", {}, configs, {}, name)


# ---- architectures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "identity"),
    [
        pytest.param(single(SD2), Identity("sd2", "single", False, "v_prediction", 768), id="768-v"),
        pytest.param(
            single(SD2, "v2-1_512-ema-pruned"), Identity("sd2", "single", False, "epsilon", 512), id="512 by name"
        ),
        pytest.param(
            single(SD2, metadata={"modelspec.resolution": "512x512"}),
            Identity("sd2", "single", False, "epsilon", 512),
            id="512 by metadata",
        ),
        pytest.param(
            single(SD2, "my-512-style", metadata={"modelspec.resolution": "768x768"}),
            Identity("sd2", "single", False, "v_prediction", 768),
            id="metadata before name",
        ),
        pytest.param(
            single(SD2, metadata={"modelspec.prediction_type": "epsilon"}),
            Identity("sd2", "single", False, "epsilon", 768),
            id="noise at 768",
        ),
        pytest.param(
            single(SD2, **{KERNEL: (320, 9, 3, 3)}), Identity("sd2", "single", True, "epsilon", 512), id="SD 2 inpaint"
        ),
        pytest.param(single(SDXL), Identity("sdxl", "single", False, "epsilon", 1024), id="SDXL"),
        pytest.param(
            single(SDXL, **{KERNEL: (320, 9, 3, 3)}), Identity("sdxl", "single", True, "epsilon", 1024), id="XL inpaint"
        ),
        pytest.param(
            single(SDXL, "sd_xl_turbo_1.0_fp16"),
            Identity("sdxl", "single", False, "epsilon", 512, trailing=True, suits=FEW),
            id="SDXL-Turbo as published",
        ),
        pytest.param(folder("sd2", {}), Identity("sd2", "diffusers", False, "epsilon", 512), id="SD 2 folder"),
        pytest.param(
            folder("sd2", {"prediction_type": "v_prediction"}, {"sample_size": 96}),
            Identity("sd2", "diffusers", False, "v_prediction", 768),
            id="SD 2 folder at 768",
        ),
        pytest.param(
            folder("sdxl", {}, {"in_channels": 9}), Identity("sdxl", "diffusers", True, "epsilon", 1024), id="XL folder"
        ),
    ],
)
def test_architectures(contents: Contents, identity: Identity) -> None:
    assert identify(contents) == identity


@pytest.mark.parametrize("part", [key for key in SDXL if not key.startswith(DENOISER)])
def test_a_file_of_sdxl_without_all_parts_is_refused_by_name(part: str) -> None:
    with pytest.raises(ModelUnreadable, match=r"an SDXL model without its (autoencoder|first text|second text)"):
        identify(single(SDXL, **{part: None}))


def test_the_refiner_is_refused_in_plain_words() -> None:
    refiner = folder("sdxl", {}, {"cross_attention_dim": 1280})
    refiner.configs["model_index"]["text_encoder"] = [None, None]  # type: ignore[index]
    for contents in (single(REFINER), refiner):
        with pytest.raises(ModelUnreadable, match="refiner"):
            identify(contents)


@pytest.mark.parametrize(
    "contents",
    [
        single(SDXL, **{f"{DENOISER}middle_block.1.transformer_blocks.9.attn2.to_k.weight": None}),  # SSD-1B
        single(SDXL, **{KERNEL: (320, 8, 3, 3)}),
        single(SD2, **{KERNEL: (320, 5, 3, 3)}),
        folder("sdxl", {}, {"addition_embed_type": "image"}),
        folder("sdxl", {}, {"cross_attention_dim": 2049}),
    ],
)
def test_relatives_are_not_taken(contents: Contents) -> None:
    assert identify(contents) is None


@pytest.mark.parametrize(
    "contents",
    [
        pytest.param(single(SDXL, edm_mean=(1, 4, 1, 1), edm_std=(1, 4, 1, 1)), id="Playground 2.5"),
        pytest.param(single(SDXL, v_pred=(0,), **{"edm_vpred.sigma_max": (), "edm_vpred.sigma_min": ()}), id="CosXL"),
        pytest.param(folder("sdxl", {"_class_name": "EDMDPMSolverMultistepScheduler"}), id="Playground 2.5 folder"),
    ],
)
def test_noise_levels_of_another_kind_are_refused(contents: Contents) -> None:
    """They have every name and shape of SDXL, and would paint nothing but noise."""
    with pytest.raises(ModelUnreadable, match="predicts something that Scumble cannot use"):
        identify(contents)


# ---- variants --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "trailing", "suits"),
    [
        pytest.param(
            folder("sd1", {"_class_name": "LCMScheduler"}, {"time_cond_proj_dim": 256}),
            False,
            Defaults(4, 8.0, "lcm"),
            id="LCM that is told its guidance",
        ),
        pytest.param(
            folder("sdxl", {"_class_name": "LCMScheduler"}), False, Defaults(4, 1.0, "lcm"), id="LCM by its scheduler"
        ),
        pytest.param(
            folder("sdxl", {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"}),
            True,
            Defaults(4, 1.0, "euler_a"),
            id="SDXL-Turbo",
        ),
        pytest.param(folder("sd2", {"timestep_spacing": "trailing"}), True, FEW, id="SD-Turbo"),
        pytest.param(folder("sdxl", {}, name="my-lightning"), True, FEW, id="a folder, by its name"),
        pytest.param(single(SDXL, "sdxl_lightning_8step"), True, Defaults(8, 1.0, "euler"), id="Lightning"),
        pytest.param(single(SDXL, "DreamShaperXL_Turbo_v2_1"), True, FEW, id="Turbo by name"),
        pytest.param(single(SDXL, "dreamshaperXL_v21TurboDPMSDE"), True, FEW, id="no sign between words"),
        pytest.param(single(SDXL, "Hyper-SDXL-4steps"), True, FEW, id="Hyper"),
        pytest.param(single(SDXL, "turbovisionxlSuperFast"), True, FEW, id="Turbo in a longer word"),
        pytest.param(single(SDXL, "realisticVisionV60B1_v51HyperVAE"), True, FEW, id="Hyper at the end"),
        pytest.param(single(SDXL, "dmd2_sdxl_4step"), False, Defaults(4, 1.0, "lcm"), id="DMD2"),
        pytest.param(single(SDXL, "my-lcm-mix"), False, Defaults(4, 1.0, "lcm"), id="LCM by name"),
        pytest.param(single(SDXL, "illustriousXL_v01"), False, Defaults(24, 5.0, "euler_a"), id="Illustrious"),
        pytest.param(single(SDXL, "ponyDiffusionV6XL"), False, None, id="Pony"),
        *(
            pytest.param(single(SDXL, name), False, None, id=name)  # full steps: the word is a part of another
            for name in (
                "hyperrealism_v3",
                "hyperRealism_30",
                "hyper_realistic_v2",
                "HyperRealistic",
                "photon_hyperReal",
                "hyper3d_render",
                "hyper_3d",
                "LightningArt",
            )
        ),
        pytest.param(single(SDXL, "portraits-30steps"), False, None, id="steps alone say nothing"),
    ],
)
def test_the_settings_that_a_variant_asks_for(contents: Contents, trailing: bool, suits: Defaults | None) -> None:
    identity = identify(contents)
    assert identity is not None
    assert (identity.trailing, identity.zero_snr, identity.suits) == (trailing, False, suits)


@pytest.mark.parametrize(
    ("name", "suits"),
    [
        ("Hyper-SDXL-8steps-lora", Defaults(8, 1.0, "euler")),
        ("Hyper-SD15-12steps-CFG-lora", Defaults(12, 6.5, "euler")),
        ("sdxl_lightning_2step_lora", Defaults(2, 1.0, "euler")),
        ("sd_xl_turbo_lora_v1", FEW),
        ("lcm-lora-sdxl", Defaults(4, 1.0, "lcm")),
        ("LCM_LoRA_Weights_SD15", Defaults(4, 1.0, "lcm")),
        ("dmd2_sdxl_4step_lora_fp16", Defaults(4, 1.0, "lcm")),
        ("TCD-SDXL-LoRA", FEW),
        ("pcm_sdxl_smallcfg_2step_converted", Defaults(2, 1.0, "euler")),
        ("pcm_sd15_normalcfg_8step_converted", Defaults(8, 3.0, "euler")),
        ("pcm_sdxl_lcmlike_lora_converted", Defaults(4, 1.0, "lcm")),
        ("black_lightning_effect", None),
        ("Lightning_Bolts_v2", None),
        ("turbo_car", None),
        ("hyper_detail_xl", None),
        ("ink", None),
    ],
)
def test_loras_that_make_models_paint_in_few_steps(name: str, suits: Defaults | None) -> None:
    assert hastened(name, 1.0, 6.5, "sdxl") == hastened(name, 0.5, 6.5, "sdxl") == suits
    assert hastened(name, 0.4, 6.5, "sdxl") is hastened(name, -1.0, 6.5, "sdxl") is None
    assert hastened(name, 1.0, 1.0, "z_image") is None


@pytest.mark.parametrize(
    "contents",
    [
        single(SDXL, "noobaiXLNAIXL_vPred10", v_pred=(0,), ztsnr=(0,)),
        single(SDXL, v_pred=(0,), metadata={"ss_zero_terminal_snr": "True"}),
        folder(
            "sdxl", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
        ),
    ],
    ids=["NoobAI", "kohya", "folder"],
)
def test_zero_terminal_snr(contents: Contents) -> None:
    identity = identify(contents)
    assert identity is not None
    assert (identity.prediction, identity.trailing, identity.zero_snr) == ("v_prediction", True, True)
    assert identity.suits == Defaults(28, 5.0, "euler")


def test_every_default_names_a_sampler_that_there_is() -> None:
    from scumble.diffusion.samplers import SAMPLERS

    for name in ("sd1", "sd2", "sdxl"):
        assert find_family(name).defaults.sampler in SAMPLERS
