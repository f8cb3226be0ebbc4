"""The models that Scumble suggests: a short list, each of a kind that it can use, under a licence that is named."""

from __future__ import annotations

from dataclasses import dataclass

_RAIL = ("CreativeML Open RAIL-M", "https://huggingface.co/spaces/CompVis/stable-diffusion-license")


@dataclass(frozen=True)
class Entry:
    """`id` is what the user types, `name` what the model is called; `revision` is a branch or the exact commit; `bytes`
    is about what is fetched."""

    id: str
    name: str
    purpose: str
    repository: str
    revision: str
    licence: str
    licence_url: str
    bytes: int


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
        id="taesd",
        name="TAESD",
        purpose="a tiny autoencoder for Stable Diffusion, a part of a model",
        repository="madebyollin/taesd",
        revision="main",
        licence="MIT",
        licence_url="https://github.com/madebyollin/taesd/blob/main/LICENSE",
        bytes=10_000_000,
    ),
)


def find_entry(id: str) -> Entry | None:
    """By its id, or by the repository that it is from."""
    return next((entry for entry in CATALOGUE if id.lower() in (entry.id, entry.repository.lower())), None)
