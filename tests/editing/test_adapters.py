"""Which of several adapters is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from scumble.editing.adapters import Adapter, by_name
from scumble.protocol.errors import BadRequest, ModelMissing
from scumble.protocol.messages import AdapterInfo


def lora(id: str, name: str, family: str = "sd1", alias: str = "") -> Adapter:
    return Adapter(AdapterInfo(id, name, "lora", family, 1), Path(f"/nowhere/{id}"), alias)


def test_of_one_name_the_one_for_this_model_is_meant_then_the_one_that_does_not_say():
    unsaid, other, fitting = lora("1", "Ink", ""), lora("2", "Ink", "sdxl"), lora("3", "Ink")
    assert by_name([unsaid, other, fitting], "lora", "ink", "sd1") is fitting
    assert by_name([other, unsaid], "lora", "ink", "sd1") is unsaid
    with pytest.raises(BadRequest, match="another kind"):
        by_name([other], "lora", "ink", "sd1")


def test_a_name_comes_before_what_a_file_was_called_in_training():
    trained, named = lora("1", "final-v2", alias="Ink"), lora("2", "INK")
    assert by_name([trained, named], "lora", "styles/ink.safetensors", "sd1") is named
    assert by_name([trained], "lora", "ink", "sd1") is trained
    with pytest.raises(ModelMissing, match="water"):
        by_name([trained, lora("3", "x")], "lora", "water", "sd1")
