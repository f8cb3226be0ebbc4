"""What is kept with an image, and which of its layers were meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scumble.client.editor import ControlLayer, EditSettings, ReferenceLayer, RegionLayer
from scumble.protocol.messages import LoraUse
from scumble_gimp.kept import NOT_FOUND, Lasting, note_of, values_of, without_layers

ROWS: dict[str, Any] = {
    "loras": (LoraUse("ink", 0.8), LoraUse("")),
    "controls": (ControlLayer("edges", "7", "invert", 0.5, 0.1, 0.6), ControlLayer("", None)),
    "references": (ReferenceLayer("look", "8", 0.6, 0.2, 0.8),),
    "regions": (RegionLayer("a barn", "9"), RegionLayer("", "")),
}
SETTINGS = EditSettings(prompt="a gate", negative="fog", strength=0.4, count=3, seed=5, steps=9, intent="add", **ROWS)
LAYERS = {"7": Lasting(3, "Sketch"), "8": Lasting(4, "Vase"), "9": Lasting(5, "Farm")}


def note(settings: EditSettings = SETTINGS) -> dict[str, Any]:
    """As it comes out of a file."""
    return json.loads(json.dumps(note_of(settings, True, LAYERS)))


def layers_after(layers: dict[str, Lasting]) -> list[str | None]:
    """Those of the rows, once the image has these."""
    values = values_of(note(), layers)
    return [values[name][0].layer for name in ("controls", "references", "regions")]


def test_all_comes_back_that_belongs_to_the_image() -> None:
    values = values_of(note(), LAYERS)
    assert values == {
        "prompt": "a gate",
        "negative": "fog",
        "strength": 0.4,
        "count": 3,
        "seed": 5,
        "intent": "add",
        "transparent": False,
        "from_layer": True,
        **ROWS,
    }
    assert values_of(note(EditSettings()), {})["seed"] is None


def test_layers_are_found_again_under_other_ids() -> None:
    assert layers_after({"21": Lasting(3, "Sketch"), "22": Lasting(4, "Vase"), "23": Lasting(5, "Farm")}) == [
        *("21", "22", "23"),
    ]
    # In a copy of the image tattoos are counted anew: names tell.
    assert layers_after({"31": Lasting(4, "Sketch"), "32": Lasting(3, "Vase"), "33": Lasting(2, "Farm")}) == [
        *("31", "32", "33"),
    ]


def test_never_is_another_layer_taken_for_one_that_is_gone() -> None:
    assert layers_after({"22": Lasting(4, "Vase"), "41": Lasting(3, "Sky"), "42": Lasting(6, "Farm #1")}) == [
        *(NOT_FOUND, "22", NOT_FOUND),
    ]
    twins = {"21": Lasting(3, "Sketch"), "51": Lasting(6, "Sketch"), "52": Lasting(7, "Vase"), "53": Lasting(8, "Vase")}
    assert layers_after(twins) == ["21", NOT_FOUND, NOT_FOUND]
    gone = note_of(SETTINGS, False, {})
    assert [gone[name][0]["layer"] for name in ("controls", "references", "regions")] == [NOT_FOUND] * 3
    assert values_of(gone, LAYERS)["controls"][0].layer == NOT_FOUND


def test_to_another_image_go_the_rows_that_need_no_layer() -> None:
    assert without_layers(SETTINGS) == {
        "controls": (ControlLayer("", None),),
        "references": (),
        "regions": (RegionLayer("", ""),),
    }


@pytest.mark.parametrize(
    "unfit",
    [
        {
            "prompt": 7,
            "strength": "1",
            "count": None,
            "seed": 1.5,
            "intent": "later",
            "transparent": 1,
            "from_layer": 0,
        },
        {name: [{"id": "x", "of a newer version": 1}] for name in ROWS},
        dict.fromkeys(ROWS, "x"),
        {name: ["x", None] for name in ROWS},
        {"controls": [{"id": "edges", "layer": 7}], "regions": [{"prompt": "x", "layer": None}]},
        {"loras": [{"id": "ink", "weight": 1e9}]},
        {"unknown": 1},
    ],
)
def test_what_does_not_fit_is_passed_over(unfit: dict[str, Any]) -> None:
    assert values_of(unfit, LAYERS) == {}
    assert values_of({**unfit, "negative": "fog"}, LAYERS) == {"negative": "fog"}


def test_a_layer_that_nobody_could_have_written_is_none() -> None:
    for layer in ([], [3], ["Sketch", 3], [3, "Sketch", 1], [[], {}]):
        found = values_of({"controls": [{"id": "edges", "layer": layer}]}, LAYERS)["controls"][0].layer
        assert found == NOT_FOUND, layer
