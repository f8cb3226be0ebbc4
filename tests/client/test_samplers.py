"""What artists call the samplers."""

from __future__ import annotations

from scumble.client.samplers import sampler_name
from scumble.diffusion.samplers import SAMPLERS


def test_every_sampler_is_called_by_its_proper_name() -> None:
    names = ["DPM++ 2M Karras", "Euler", "Euler a", "DDIM", "UniPC", "LCM"]
    assert [sampler_name(sampler) for sampler in SAMPLERS] == names
    assert sampler_name("heun_of_tomorrow") == "heun_of_tomorrow"
