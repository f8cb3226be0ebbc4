"""What the panel's buttons ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scumble.client.document import Edges
from scumble.client.editor import ControlLayer, EditSettings, ReferenceLayer, RegionLayer
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Control, EditRequest, LoraUse, Reference, Region
from scumble_gimp.asked import Asked, Upscaling, generating, mode_of, removing, shown_again, upscaling
from scumble_gimp.kept import NOT_FOUND

SETTINGS = EditSettings(
    prompt="a door",
    model="sd-1",
    count=3,
    seed=5,
    loras=(LoraUse("ink"),),
    controls=(ControlLayer("edges", "7"),),
    references=(ReferenceLayer("look", "8"),),
    regions=(RegionLayer("a barn", "9"),),
    transparent=True,
)
SHOWN = Asked(SETTINGS, None, True, True)


def mode(asked: Asked, selected: bool = True, has_image: bool = True) -> str:
    return mode_of(asked, selected, has_image, "diffusion")


def meaning(intent: Any, edges: Edges | None = None) -> Asked:
    return SHOWN._replace(settings=replace(SETTINGS, intent=intent), edges=edges)


def test_generate_does_what_is_shown() -> None:
    for intent in ("fill", "add"):
        assert generating(meaning(intent), anew=False) == meaning(intent)
        assert mode(meaning(intent)) == "fill"
    assert mode(SHOWN, selected=False) == "txt2img"
    assert mode(SHOWN, has_image=False) == "txt2img"
    assert mode(meaning("fill", Edges(left=5))) == "outpaint"


def test_a_removal_needs_a_selection_and_is_one_picture() -> None:
    for asked in (generating(meaning("remove"), anew=False), removing(meaning("add")), removing(SHOWN)):
        assert (asked.settings.intent, asked.settings.count, asked.settings.seed) == ("remove", 1, None)
        assert asked[1:] == (None, True, True)
        assert mode(asked) == mode(asked, selected=False) == "remove"


def test_what_becomes_of_a_selection_is_of_no_matter_elsewhere() -> None:
    for intent in ("add", "remove"):
        wider = generating(meaning(intent, Edges(left=5)), anew=False)
        assert (wider.settings.intent, wider.edges, mode(wider)) == ("fill", Edges(left=5), "outpaint")
        new = generating(meaning(intent, Edges(left=5)), anew=True)
        assert (new.settings.intent, new.edges, mode(new)) == ("fill", None, "txt2img")


def test_upscaling() -> None:
    asked = upscaling(replace(SETTINGS, intent="remove"), Upscaling(4, "", 0.5))
    assert asked == Asked(
        replace(SETTINGS, mode="upscale", factor=4, model=None, strength=0.5, transparent=False),
    )
    assert mode(asked) == "upscale"
    assert upscaling(SETTINGS, Upscaling(2, "photo", 0.5)).settings.model == "photo"


@pytest.mark.parametrize(
    ("how", "intent"),
    [({}, "fill"), ({"prefill": "neutral"}, "add"), ({"mode": "remove", "prompt": ""}, "remove")],
)
def test_an_edit_is_shown_again(how: dict[str, Any], intent: str) -> None:
    request = EditRequest(
        **{"mode": "fill", "canvas": Size(9, 9), "image": Bounds(0, 0, 9, 9), "mask": Bounds(0, 0, 9, 9), **how}
    )
    again = shown_again(replace(request, transparent=True), SETTINGS)
    assert (again.values["intent"], again.values["transparent"], again.upscaling) == (intent, True, None)


def test_layers_of_an_edit_are_shown_again_where_they_are_known() -> None:
    area = Bounds(0, 0, 9, 9)
    request = EditRequest(
        *("img2img", area.size, area),
        controls=(Control("depth", area), Control("edges", area, "canny", 0.4, 0.1, 0.6)),
        references=(Reference("look", area.size, 0.7),),
        regions=(Region("a fence", area), Region("a barn", area)),
    )
    values = shown_again(request, SETTINGS).values
    assert values["controls"] == (
        ControlLayer("depth", NOT_FOUND),
        ControlLayer("edges", "7", "canny", 0.4, 0.1, 0.6),
    )
    assert values["references"] == (ReferenceLayer("look", "8", 0.7),)
    assert values["regions"] == (RegionLayer("a fence", NOT_FOUND), RegionLayer("a barn", "9"))


def test_an_upscaling_is_shown_again() -> None:
    request = EditRequest("upscale", Size(9, 9), Bounds(0, 0, 9, 9), model="photo", strength=0.5, factor=3)
    again = shown_again(request, SETTINGS)
    assert again.upscaling == Upscaling(3, "photo", 0.5)
    assert not {"model", "strength"} & set(again.values)


def test_what_is_shown_again_extends_as_it_did_and_nothing_else_does() -> None:
    """With the edges of an earlier extension left in the panel a fill would extend, too."""
    canvas = Bounds(0, 0, 9, 9)
    extension = EditRequest("outpaint", canvas.size, canvas, Bounds(-4, 0, 13, 16))
    assert shown_again(extension, SETTINGS).edges == Edges(4, 0, 0, 7)
    fill = replace(extension, mode="fill", mask=Bounds(2, 2, 5, 5))
    picture = replace(extension, mode="txt2img", mask=None)
    for request, anew in ((fill, False), (picture, True)):
        again = shown_again(request, SETTINGS)
        assert (again.edges, again.anew) == (Edges(), anew)
    assert shown_again(replace(picture, mode="upscale"), SETTINGS)[1:] == (None, Upscaling(2, "", 1.0), False)
