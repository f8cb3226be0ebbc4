"""What the panel remembers."""

from __future__ import annotations

import os
from dataclasses import replace

from scumble.client.editor import EditSettings, ReferenceLayer, RegionLayer
from scumble.client.settings import update_settings
from scumble.home import Home
from scumble.protocol.messages import LoraUse
from scumble_gimp.asked import Placing, Upscaling
from scumble_gimp.panel.memory import (
    CHOICES,
    SESSION,
    VALUES,
    free_session,
    store_choices,
    store_session,
    store_values,
    stored_choices,
    stored_values,
)


def test_values_come_back(home: Home) -> None:
    assert stored_values(home) == {}
    loras = (LoraUse("ink", 0.8), LoraUse("wool", -0.2))
    told = EditSettings(
        prompt="a door", strength=0.4, steps=9, resolution=768, clip_skip=2, seed=4, context=0, loras=loras
    )
    layers = {"references": (ReferenceLayer("look", "7"),), "regions": (RegionLayer("a barn", "8"),)}
    store_values(home, replace(told, intent="add", transparent=True, **layers))
    values = stored_values(home)
    assert (values["prompt"], values["strength"], values["steps"]) == ("a door", 0.4, 9)
    assert (values["resolution"], values["clip_skip"], values["context"]) == (768, 2, 0)
    assert values["loras"] == loras
    assert (values["intent"], values["transparent"]) == ("add", True)
    # Another time the numbers of layers mean nothing.
    assert not {"seed", "controls", "references", "regions"} & set(values)
    update_settings(home, **{VALUES: {"prompt": "x", "of a newer version": 1, "loras": [["ink", 1], {"id": "wool"}]}})
    assert stored_values(home) == {"prompt": "x", "loras": (LoraUse("wool"),)}
    for intent in ("of a newer version", ["fill"], None):
        update_settings(home, **{VALUES: {"prompt": "x", "intent": intent}})
        assert stored_values(home) == {"prompt": "x"}


def test_choices_come_back(home: Home) -> None:
    for usual, chosen, damaged in (
        (Upscaling(), Upscaling(4, "photo", 0.5), [4, None, 0.5]),
        (Placing(), Placing(as_mask=True, at_once=False), [True]),
    ):
        assert stored_choices(home, usual) == usual
        store_choices(home, chosen)
        assert stored_choices(home, usual) == chosen
        update_settings(home, **{CHOICES[type(usual)]: damaged})
        assert stored_choices(home, usual) == usual


def test_session_is_taken_up_unless_another_panel_has_it(home: Home) -> None:
    assert free_session(home) is None
    store_session(home, "secret")
    assert free_session(home) == "secret"
    update_settings(home, **{SESSION: {"session": "secret", "pid": os.getppid()}})
    assert free_session(home) is None
    update_settings(home, **{SESSION: {"session": "secret", "pid": 2**22 + 1}})
    assert free_session(home) == "secret"
    update_settings(home, **{SESSION: "damaged"})
    assert free_session(home) is None
