"""What artists read in every program: the names of samplers, models and modes."""

from __future__ import annotations

import re

from ..protocol.messages import Looking, ModelInfo

_SAMPLERS = {
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "euler": "Euler",
    "euler_a": "Euler a",
    "ddim": "DDIM",
    "unipc": "UniPC",
    "lcm": "LCM",
}
"""As in the web UIs from which artists know them."""
_FAMILIES = {
    "sd1": "Stable Diffusion 1",
    "sd2": "Stable Diffusion 2",
    "sdxl": "Stable Diffusion XL",
    "flux2": "FLUX.2 klein",
    "z_image": "Z-Image",
    "migan": "MI-GAN",
}

_MODES = {
    "fill": "Fill",
    "refine": "Refine",
    "img2img": "Refine",
    "txt2img": "Generate",
    "outpaint": "Extend",
    "remove": "Remove",
    "upscale": "Upscale",
}
"""What layers without a prompt and steps of the undo history are called: as the panels' buttons, in short."""


def mode_name(mode: str) -> str:
    """What is done in a mode as requests name it."""
    return _MODES[mode]


def sampler_name(sampler: str) -> str:
    """Of a sampler as requests name it; itself where it is a newer backend's."""
    return _SAMPLERS.get(sampler, sampler)


def family_name(family: str) -> str:
    """Of a family as `ModelInfo` names it; itself where it is a newer backend's, or a network's (an upscaler's)."""
    return _FAMILIES.get(family, family)


def in_prompt(name: str) -> str:
    """The name of a textual inversion as a prompt has to write it: what its grammar has a meaning for stands for itself."""
    return re.sub(r"[\\()\[\]{}|<>#]|_(?=_)", r"\\\g<0>", name)


LONG_LIST = 12
"""More entries than these are searched by typing; so many are found by looking."""


def finding(typed: str) -> str:
    """A regular expression (Python's and PCRE's) that finds the names in which all words of `typed` are, in any order;
    letters are to be compared as in capitals or not. All names where nothing is typed."""
    return "^" + "".join(f"(?=.*{re.escape(word)})" for word in typed.split())


def size_name(count: int) -> str:
    """Of `count` bytes."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def describe(model: ModelInfo) -> str:
    """What a model is, how much room it takes, and its licence where that is known."""
    return ", ".join(filter(None, (family_name(model.family), size_name(model.bytes), model.licence)))


def looking_words(message: Looking) -> str:
    """Why the backend is not ready yet."""
    counted = f": {message.done:,} of {message.files:,}" if message.files else ""
    return f"Looking through the models{counted}"
