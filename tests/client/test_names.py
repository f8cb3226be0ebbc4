"""What artists call samplers, models and modes."""

from __future__ import annotations

import re
from random import Random
from typing import get_args

import pytest
from scumble.client.names import describe, family_name, finding, in_prompt, mode_name, sampler_name
from scumble.diffusion.families import FAMILIES
from scumble.diffusion.prompts import Fragment, parse
from scumble.diffusion.samplers import SAMPLERS
from scumble.diffusion.wildcards import draw
from scumble.protocol.messages import Mode, ModelInfo


def test_every_sampler_is_called_by_its_proper_name() -> None:
    names = ["DPM++ 2M Karras", "Euler", "Euler a", "DDIM", "UniPC", "LCM"]
    assert [sampler_name(sampler) for sampler in SAMPLERS] == names
    assert sampler_name("heun_of_tomorrow") == "heun_of_tomorrow"


def test_every_mode_is_called_as_on_the_panels_buttons() -> None:
    names = {"Fill", "Refine", "Generate", "Extend", "Remove", "Upscale"}
    assert {mode_name(mode) for mode in get_args(Mode)} == names


@pytest.mark.parametrize(
    "name", ["EasyNegative (1)", "bad[v2]", "{a|b}", "by #1", "__ink__", r"a\(b", "<x>", "bad-hands_v1.5"]
)
def test_a_name_can_be_put_into_a_prompt(name: str) -> None:
    written = draw(f"a ({in_prompt(name)}:1.2)", Random(0), lambda list_: ["drawn"])
    assert parse(written).sections == ((Fragment("a "), Fragment(name, 1.2)),)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", ["Ink (sdxl)", "style/soft_ink v1.1", "inc", "Größe [v1x1]"]),
        ("INK", ["Ink (sdxl)", "style/soft_ink v1.1"]),
        (" v1.1  soft ", ["style/soft_ink v1.1"]),
        ("GRÖSSE", []),
        ("größe", ["Größe [v1x1]"]),
        ("(", ["Ink (sdxl)"]),
        ("[v", ["Größe [v1x1]"]),
        ("style\\", []),
        ("ink nothing", []),
    ],
)
def test_names_are_found_by_their_words_in_any_order(typed: str, found: list[str]) -> None:
    names = ["Ink (sdxl)", "style/soft_ink v1.1", "inc", "Größe [v1x1]"]
    assert [name for name in names if re.search(finding(typed), name, re.IGNORECASE)] == found


def test_every_family_has_a_name_for_artists() -> None:
    names = ["Stable Diffusion 1", "Stable Diffusion 2", "Stable Diffusion XL", "FLUX.2 klein", "Z-Image"]
    assert sorted(family_name(family.name) for family in FAMILIES) == sorted(names)


@pytest.mark.parametrize(
    ("family", "count", "licence", "expected"),
    [
        ("sdxl", 6_938_000_000, "CreativeML Open RAIL++-M", "Stable Diffusion XL, 6.9 GB, CreativeML Open RAIL++-M"),
        ("migan", 28_079_181, "MIT", "MI-GAN, 28 MB, MIT"),
        ("esrgan", 400_000, "", "esrgan, 400 kB"),
    ],
)
def test_a_model_says_what_it_is(family: str, count: int, licence: str, expected: str) -> None:
    model = ModelInfo("id", "name", "diffusion", family, False, 512, count, licence=licence)
    assert describe(model) == expected
