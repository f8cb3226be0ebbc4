"""What models of one architecture differ in: what they predict, over which timesteps, and the settings that suit them.

Told by what configurations, tensors and metadata say. Where they are silent, as with most single files, the model's name
counts: few-step models and the styles that ask for other settings are named for it (`sdxl_lightning_4step`). A wrong guess
costs a setting that the user can change; so nothing but settings hangs on a name.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ...protocol.messages import HASTENS
from .base import Contents, Defaults

_SAMPLERS = {
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_a",
    "LCMScheduler": "lcm",
    "DDIMScheduler": "ddim",
}
"""The samplers that few-step models are published with; others run as Euler."""
_FEW_STEPS = 4
_FLOW = ("flux2", "z_image")
_MADE_FOR = r"(?=[ _-]*(?:sd|xl|\d+[ _-]?steps?))"
_FAST = re.compile(
    r"(?<![a-z])(?:(?P<lcm>lcm(?:like)?|dmd2?)(?![a-z])|tcd(?![a-z])|pcm(?![a-z]|.*lcmlike)"
    r"|turbo(?:vision)?(?:xl)?(?![a-z])"
    # "Lightning Art" and "hyperrealism" are styles: at the end of a name the words are meant.
    rf"|lightning{_MADE_FOR}|(?<=.)lightning(?![a-z])"
    rf"|hyper{_MADE_FOR}|(?<=.)hyper(?=[ _-]*(?:vae|baked|fp\d|v?\d+(?![a-z\d])|$)))"
)
"""What models of few steps are called: Latent Consistency, Distribution Matching Distillation, Trajectory and Phased
Consistency (those of the last that are "lcmlike" paint as the first), ADD (Turbo), ..."""
_LORA = re.compile(
    rf"(?<![a-z])(?:(?:lcm|dmd2?|tcd|pcm)(?![a-z])|hyper{_MADE_FOR}|turbo[ _-]*(?:sd|xl)|(?:sd|xl)[ _-]*turbo)"
)
"""Of LoRAs, which are named for what they show more often, only these or a number of steps beside."""
_NORMAL = 3.0
"""What Phased Consistency (Wang et al., 2024) publishes for its "normalcfg" at four steps: 2.5 to 3.5."""
_STEPS = re.compile(r"(?<!\d)([1-9]|1[0-6])[ _-]?steps?(?![a-z])")
_ANIME = re.compile("illustrious|noobai")
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where a word begins without a sign before it: v21TurboDPMSDE."""
_EDM = ("edm_mean", "edm_vpred.sigma_max")
"""In files of models with other noise levels and scales (Karras et al., 2022, Elucidating the Design Space of
Diffusion-Based Generative Models): Playground 2.5, CosXL."""
_RESOLUTION = re.compile(r"(\d{3,4})x(\d{3,4})")

ZERO_SNR = Defaults(steps=28, guidance=5.0, sampler="euler")
"""Karras' spacing would spend half of its steps on noise that shows nothing yet."""
_ANIME_SUITS = Defaults(steps=24, guidance=5.0, sampler="euler_a")
_TOLD_GUIDANCE = 8.0  # as published with LCM (Luo et al., 2023); such a denoiser is told it


class Variant(NamedTuple):
    """See Identity, whose words these are."""

    trailing: bool = False
    zero_snr: bool = False
    suits: Defaults | None = None


def variant(contents: Contents, family: Defaults) -> Variant:
    """How the model differs from its family."""
    scheduler, unet = contents.configs.get("scheduler", {}), contents.configs.get("unet", {})
    name = _words(contents.name)
    if unet.get("time_cond_proj_dim"):  # a consistency model that is told its guidance
        return Variant(suits=Defaults(_FEW_STEPS, _TOLD_GUIDANCE, "lcm"))
    if _is_zero_snr(contents):
        return Variant(trailing=True, zero_snr=True, suits=ZERO_SNR)
    kind = _SAMPLERS.get(str(scheduler.get("_class_name")), "euler")
    trailing = scheduler.get("timestep_spacing") == "trailing"
    fast = _FAST.search(name)
    if kind == "lcm" or trailing or fast:
        steps = _STEPS.search(name)
        sampler = kind if kind == "lcm" or trailing else "lcm" if fast and fast["lcm"] else "euler"
        return Variant(trailing=sampler != "lcm", suits=Defaults(int(steps[1]) if steps else _FEW_STEPS, 1.0, sampler))
    if _ANIME.search(contents.name.lower()) and family.guidance > _ANIME_SUITS.guidance:
        return Variant(suits=_ANIME_SUITS)
    return Variant()


def hastened(lora: str, weight: float, guidance: float, family: str) -> Defaults | None:
    """The settings that a LoRA asks for which makes models paint in few steps. Its name tells it, as nothing else does.
    None for any other, and for one with less than half of its strength.

    guidance  that of the model, which some (Hyper-SD's "CFG") leave as it is
    family    of the model, or that the LoRA is made for by its file; "" where that does not say. LoRAs for models of flow
              matching are named after Turbo ones that they are made for
    """
    if weight < HASTENS or family in _FLOW:
        return None
    name = _words(lora)
    fast, steps = _FAST.search(name), _STEPS.search(name)
    if fast is None or not (steps or _LORA.search(name)):
        return None
    kept = guidance if re.search("(?<![a-z])cfg(?![a-z])", name) else 1.0
    if "normalcfg" in name:
        kept = _NORMAL
    return Defaults(int(steps[1]) if steps else _FEW_STEPS, kept, "lcm" if fast["lcm"] else "euler")


def prediction(contents: Contents) -> str | None:
    """What the model says that it predicts, in the words of diffusers; None where it says nothing."""
    if contents.layout == "diffusers":
        scheduler = contents.configs["scheduler"]
        of_edm = str(scheduler.get("_class_name")).startswith("EDM")
        return "edm" if of_edm else str(scheduler.get("prediction_type", "epsilon"))
    if any(name in contents.tensors for name in _EDM):
        return "edm"
    # ModelSpec 1.0 writes it into the metadata; trainers and NoobAI leave an empty tensor of that name.
    if contents.metadata.get("modelspec.prediction_type") in ("v", "v_prediction") or "v_pred" in contents.tensors:
        return "v_prediction"
    return "epsilon" if contents.metadata.get("modelspec.prediction_type") in ("epsilon", "eps") else None


def resolution(contents: Contents) -> int | None:
    """The side in px that a single file names in its metadata (ModelSpec); None where it says nothing."""
    said = _RESOLUTION.fullmatch(contents.metadata.get("modelspec.resolution", ""))
    return round((int(said[1]) * int(said[2])) ** 0.5 / 64) * 64 if said else None


def _words(name: str) -> str:
    """In small letters, with a sign between all words."""
    return _CAPITAL.sub("_", name).lower()


def _is_zero_snr(contents: Contents) -> bool:
    said = contents.configs.get("scheduler", {}).get("rescale_betas_zero_snr")
    # NoobAI's files hold an empty tensor of that name; kohya's scripts write the option that was trained with.
    return bool(said) or "ztsnr" in contents.tensors or contents.metadata.get("ss_zero_terminal_snr") == "True"
