"""The models that Scumble suggests: a short list, each of a kind that it can use, under a licence that is named."""

from __future__ import annotations

from dataclasses import dataclass

_RAIL_XL = (
    "CreativeML Open RAIL++-M",
    "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
)
_RAIL = ("CreativeML Open RAIL-M", "https://huggingface.co/spaces/CompVis/stable-diffusion-license")


@dataclass(frozen=True)
class Entry:
    """`id` is what the user types, `name` what the model is called; `revision` is a branch or the exact commit; `bytes`
    is about what is fetched; `file` is the one to fetch of a repository that holds several models."""

    id: str
    name: str
    purpose: str
    repository: str
    revision: str
    licence: str
    licence_url: str
    bytes: int
    file: str = ""


FILL = Entry(
    id="migan",
    name="MI-GAN",
    purpose="removes and extends without words",
    repository="andraniksargsyan/migan",
    revision="main",
    licence="MIT",
    licence_url="https://github.com/Picsart-AI-Research/MI-GAN/blob/main/LICENSE",
    bytes=28_000_000,
)


def _control(id: str, name: str, purpose: str, file: str) -> Entry:
    """A network of ControlNet 1.1 (Zhang et al.) for Stable Diffusion 1.5, as ComfyUI's makers publish it."""
    return Entry(
        id=id,
        name=name,
        purpose=f"makes Stable Diffusion 1.5 follow {purpose}",
        repository="comfyanonymous/ControlNet-v1-1_fp16_safetensors",
        revision="main",
        licence=_RAIL[0],
        licence_url=_RAIL[1],
        bytes=723_000_000,
        file=file,
    )


def _reference(id: str, name: str, purpose: str, file: str, size: int) -> Entry:
    """Of IP-Adapter (Ye et al.), as its makers publish it."""
    return Entry(
        id=id,
        name=name,
        purpose=purpose,
        repository="h94/IP-Adapter",
        revision="main",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/h94/IP-Adapter",
        bytes=size,
        file=file,
    )


CATALOGUE = (
    FILL,
    Entry(
        id="sd15",
        name="Stable Diffusion 1.5",
        purpose="paints what words say; quick, also without a graphics card",
        repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        licence=_RAIL[0],
        licence_url=_RAIL[1],
        bytes=2_130_000_000,
    ),
    Entry(
        id="sd15-inpainting",
        name="Stable Diffusion 1.5 Inpainting",
        purpose="the same, trained to fill selections",
        repository="stable-diffusion-v1-5/stable-diffusion-inpainting",
        revision="8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
        licence=_RAIL[0],
        licence_url=_RAIL[1],
        bytes=2_130_000_000,
    ),
    Entry(
        id="lcm",
        name="LCM Dreamshaper v7",
        purpose="Stable Diffusion 1.5 in 4 steps: the quickest without a graphics card",
        repository="SimianLuo/LCM_Dreamshaper_v7",
        revision="main",
        licence="MIT",
        licence_url="https://huggingface.co/SimianLuo/LCM_Dreamshaper_v7",
        bytes=4_270_000_000,
    ),
    Entry(
        id="sdxl",
        name="SDXL 1.0",
        purpose="larger pictures, better composed; for graphics cards of 8 GB",
        repository="stabilityai/stable-diffusion-xl-base-1.0",
        revision="462165984030d82259a11f4367a4eed129e94a7b",
        licence=_RAIL_XL[0],
        licence_url=_RAIL_XL[1],
        bytes=6_940_000_000,
    ),
    Entry(
        id="sdxl-inpainting",
        name="SDXL 1.0 Inpainting",
        purpose="the same, trained to fill selections",
        repository="diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
        revision="115134f363124c53c7d878647567d04daf26e41e",
        licence=_RAIL_XL[0],
        licence_url=_RAIL_XL[1],
        bytes=6_940_000_000,
    ),
    Entry(
        id="sdxl-lightning",
        name="SDXL Lightning",
        purpose="SDXL in 4 steps",
        repository="ByteDance/SDXL-Lightning",
        revision="main",
        licence=_RAIL_XL[0],
        licence_url=_RAIL_XL[1],
        bytes=6_940_000_000,
        file="sdxl_lightning_4step.safetensors",
    ),
    Entry(
        id="flux2-klein",
        name="FLUX.2 klein 4B",
        purpose="the newest, in 4 steps; for graphics cards of 24 GB",
        repository="black-forest-labs/FLUX.2-klein-4B",
        revision="e7b7dc27f91deacad38e78976d1f2b499d76a294",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/black-forest-labs/FLUX.2-klein-4B/blob/main/LICENSE.md",
        bytes=16_000_000_000,
    ),
    _control("sd15-canny", "ControlNet Canny", "edges", "control_v11p_sd15_canny_fp16.safetensors"),
    _control("sd15-softedge", "ControlNet Soft Edge", "soft edges", "control_v11p_sd15_softedge_fp16.safetensors"),
    _control("sd15-lineart", "ControlNet Line Art", "strokes", "control_v11p_sd15_lineart_fp16.safetensors"),
    _control("sd15-tile", "ControlNet Tile", "a blurred picture", "control_v11f1e_sd15_tile_fp16.safetensors"),
    _reference(
        "sd15-reference",
        "IP-Adapter Plus for SD 1.5",
        "makes Stable Diffusion 1.5 take up a picture",
        "models/ip-adapter-plus_sd15.safetensors",
        98_000_000,
    ),
    _reference(
        "sdxl-reference",
        "IP-Adapter Plus for SDXL",
        "makes SDXL take up a picture",
        "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
        848_000_000,
    ),
    _reference(
        "image-encoder",
        "CLIP ViT-H image encoder",
        "what both of these see with",
        "models/image_encoder/model.safetensors",
        2_530_000_000,
    ),
    Entry(
        id="depth-anything",
        name="Depth Anything V2 Small",
        purpose="estimates the depth of a picture, for controls that follow it",
        repository="depth-anything/Depth-Anything-V2-Small-hf",
        revision="main",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/depth-anything/Depth-Anything-V2-Small-hf",
        bytes=99_000_000,
    ),
    Entry(
        id="taesd",
        name="TAESD",
        purpose="a tiny autoencoder: sharper previews with Stable Diffusion 1.x and 2.x",
        repository="madebyollin/taesd",
        revision="main",
        licence="MIT",
        licence_url="https://github.com/madebyollin/taesd/blob/main/LICENSE",
        bytes=10_000_000,
    ),
    Entry(
        id="taesdxl",
        name="TAESDXL",
        purpose="the same for SDXL",
        repository="madebyollin/taesdxl",
        revision="main",
        licence="MIT",
        licence_url="https://github.com/madebyollin/taesd/blob/main/LICENSE",
        bytes=10_000_000,
    ),
)


def find_entry(id: str) -> Entry | None:
    """By its id, or by the repository that it is from."""
    return next((entry for entry in CATALOGUE if id.lower() in (entry.id, entry.repository.lower())), None)
