"""What an edit comes to that leaves its settings open."""

from __future__ import annotations

from typing import Any

import pytest
from scumble.client.suits import suits
from scumble.protocol.messages import AdapterInfo, LoraUse, ModelInfo

MODEL = ModelInfo("sd", "SD", "diffusion", "sd1", False, 512, 1, 20, 7.0, "dpmpp_2m_karras")
ADAPTERS = (
    AdapterInfo("ink", "Ink", "lora", "sd1", 1),
    AdapterInfo("hyper", "Hyper-SD15-8steps-lora", "lora", "sd1", 1, "", 8, 1.0, "euler"),
    AdapterInfo("lcm", "lcm-lora", "lora", "sd1", 1, "", 4, 1.0, "lcm"),
    AdapterInfo("other", "Hyper-SDXL-8steps-lora", "lora", "sdxl", 1, "", 8, 1.0, "euler"),
    AdapterInfo("kept", "Hyper-SD15-12steps-CFG-lora", "lora", "sd1", 1, "", 12, 0.0, "euler"),
)


def of(*loras: LoraUse, prompt: str = "a cat") -> Any:
    return suits(MODEL, loras, prompt, ADAPTERS)


def test_the_model_says_it() -> None:
    model = (20, 7.0, "dpmpp_2m_karras")
    assert of() == of(LoraUse("ink")) == of(LoraUse("gone")) == model
    assert of(LoraUse("hyper", 0.49)) == of(LoraUse("hyper", -1.0)) == model, "in use for something else"


def test_a_lora_of_few_steps_brings_its_own() -> None:
    assert of(LoraUse("ink"), LoraUse("hyper", 0.5)) == (8, 1.0, "euler")
    assert of(LoraUse("lcm"), LoraUse("hyper")) == (4, 1.0, "lcm"), "the first one"
    assert of(LoraUse("kept")) == (12, 7.0, "euler"), "with the guidance of the model"


def test_a_lora_for_other_models_counts_for_nothing() -> None:
    assert of(LoraUse("other")) == (20, 7.0, "dpmpp_2m_karras")
    assert of(LoraUse("other"), LoraUse("lcm")) == (4, 1.0, "lcm")


def test_one_that_the_prompt_names_brings_its_own_too() -> None:
    assert of(prompt="a cat <lora:lcm-LoRA:1>") == of(prompt="<lyco: lcm-lora >") == (4, 1.0, "lcm")
    assert of(LoraUse("ink"), prompt="<lora:Ink:1><lora:lcm-lora:.8>") == (4, 1.0, "lcm")
    assert of(LoraUse("hyper"), prompt="<lora:lcm-lora:1>") == (8, 1.0, "euler"), "chosen ones come first"
    plain = (20, 7.0, "dpmpp_2m_karras")
    assert (
        of(prompt="<lora:ink:0.8>") == of(prompt="<lora:lcm-lora:0.3>") == of(prompt="<lora:lcm-lora:1:0.2>") == plain
    )


@pytest.mark.parametrize(
    "prompt",
    [
        "<lora:unknown:1>",
        "# <lora:lcm-lora:1>",
        "<lora:lcm-lora:unet=1>",
        r"\<lora:lcm-lora:1>",
        "<lora:lcm-lora",
        "<lora:>",
    ],
)
def test_what_only_the_backend_can_read_says_nothing(prompt: str) -> None:
    assert of(prompt=prompt) == (0, 0.0, "")
