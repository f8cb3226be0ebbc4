"""What artists call the samplers."""

from __future__ import annotations

_CALLED = {
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "euler": "Euler",
    "euler_a": "Euler a",
    "ddim": "DDIM",
    "unipc": "UniPC",
    "lcm": "LCM",
}
"""As in the web UIs from which artists know them."""


def sampler_name(sampler: str) -> str:
    """Of a sampler as requests name it; itself where it is a newer backend's."""
    return _CALLED.get(sampler, sampler)
