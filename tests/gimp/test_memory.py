"""What the panel remembers."""

from __future__ import annotations

import os

from scumble.client.editor import EditSettings
from scumble.client.settings import update_settings
from scumble.home import Home
from scumble.protocol.messages import LoraUse
from scumble_gimp.panel.memory import (
    ENLARGEMENT,
    SESSION,
    VALUES,
    free_session,
    store_enlargement,
    store_session,
    store_values,
    stored_enlargement,
    stored_values,
)
from scumble_gimp.settings import Enlargement


def test_values_come_back(home: Home) -> None:
    assert stored_values(home) == {}
    loras = (LoraUse("ink", 0.8), LoraUse("wool", -0.2))
    told = EditSettings(prompt="a door", strength=0.4, steps=9, resolution=768, clip_skip=2, seed=4, loras=loras)
    store_values(home, told)
    values = stored_values(home)
    assert (values["prompt"], values["strength"], values["steps"]) == ("a door", 0.4, 9)
    assert (values["resolution"], values["clip_skip"]) == (768, 2)
    assert values["loras"] == loras
    assert "seed" not in values
    update_settings(home, **{VALUES: {"prompt": "x", "of a newer version": 1, "loras": [["ink", 1], {"id": "wool"}]}})
    assert stored_values(home) == {"prompt": "x", "loras": (LoraUse("wool"),)}


def test_how_pictures_are_enlarged_comes_back(home: Home) -> None:
    assert stored_enlargement(home) == Enlargement()
    store_enlargement(home, Enlargement(4, "photo", 0.5))
    assert stored_enlargement(home) == Enlargement(4, "photo", 0.5)
    update_settings(home, **{ENLARGEMENT: [4, None, 0.5]})
    assert stored_enlargement(home) == Enlargement()


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
