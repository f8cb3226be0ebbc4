"""What follows from the chosen model."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from scumble.client.editor import ControlLayer, EditSettings, ReferenceLayer, RegionLayer
from scumble.protocol.messages import AdapterInfo, Capability, LoraUse, ModelInfo
from scumble_gimp.models import TAKES, fits, left_open, samplers_of, suited, why_not, why_one

ALL: tuple[Capability, ...] = get_args(Capability)
SD = ModelInfo("sd", "SD", "diffusion", "sd1", False, 512, 1, samplers=("euler", "euler_a"), capabilities=ALL)
FLOW = ModelInfo(
    "flow", "Flow", "diffusion", "flux2", False, 1024, 1, samplers=("euler",), capabilities=("negative", "regions")
)
FILL = ModelInfo("fill", "MI-GAN", "fill", "migan", True, 512, 1)
SETTINGS = EditSettings(
    prompt="a door",
    negative="fog",
    steps=9,
    count=3,
    sampler="euler_a",
    clip_skip=2,
    loras=(LoraUse("ink"),),
    controls=(ControlLayer("edges", "7"),),
    references=(ReferenceLayer("look", "8"),),
    regions=(RegionLayer("a barn", "9"),),
)


def test_a_model_gets_what_it_takes() -> None:
    assert suited(SETTINGS, None) == suited(SETTINGS, SD) == SETTINGS
    left = replace(SETTINGS, sampler=None, clip_skip=1, loras=(), controls=(), references=())
    assert suited(SETTINGS, FLOW) == left
    assert suited(replace(SETTINGS, sampler="euler"), FLOW).sampler == "euler"
    assert suited(SETTINGS, FILL) == replace(left, negative="", regions=(), count=1)


def test_what_is_left_open_is_told_of_the_edit_as_the_model_takes_it() -> None:
    model = replace(SD, steps=20, guidance=7.0, sampler="euler")
    hasty = (AdapterInfo("ink", "Hyper-SD15-8steps", "lora", "sd1", 1, "", 8, 1.0, "euler_a"),)
    assert left_open(SETTINGS, model, hasty) == (8, 1.0, "euler_a")
    assert left_open(SETTINGS, replace(model, capabilities=()), hasty) == (20, 7.0, "euler"), "it takes no LoRAs"
    assert left_open(replace(SETTINGS, prompt="a <lora:ink:1> door"), model, ()) == (0, 0.0, "")
    assert left_open(SETTINGS, None, hasty) == (0, 0.0, "")


def test_what_it_does_not_take_has_its_words() -> None:
    assert set(TAKES) == set(ALL) - {"weights"}  # which no field is for
    assert {why_not(model, each) for model in (None, SD) for each in TAKES} == {""}
    assert why_not(FLOW, "loras") == "This model takes no LoRAs."
    assert why_not(FLOW, "negative") == ""
    assert why_not(FILL, "negative") == "This model takes no negative prompt."
    assert why_one(FILL) == "This model makes one picture: nothing is left to chance in it."
    assert {why_one(model) for model in (None, SD, FLOW)} == {""}


def test_samplers_are_those_of_the_model() -> None:
    known = ("euler", "euler_a", "lcm")
    assert samplers_of(None, known) == known
    assert samplers_of(FLOW, known) == ("euler",)


def test_adapters_fit_that_are_made_for_the_model_or_do_not_say() -> None:
    ink, gloss, other = (AdapterInfo(of, of, "lora", of, 1) for of in ("sd1", "sdxl", ""))
    assert [fits(each, SD) for each in (ink, gloss, other)] == [True, False, True]
    assert all(fits(each, None) for each in (ink, gloss, other))
