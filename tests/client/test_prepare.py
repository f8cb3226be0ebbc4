"""From a document to an edit: what is read of it, and what is asked for."""

from __future__ import annotations

from typing import get_args

import pytest
from scumble.client.document import Edges
from scumble.client.editor import (
    ControlLayer,
    EditSettings,
    ReferenceLayer,
    RegionLayer,
    prepare,
)
from scumble.client.modes import Intent
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import (
    Control,
    LoraUse,
    Reference,
    Region,
    replace,
)

from .memory_document import OPAQUE, SELECTED, MemoryDocument


def test_controls_are_read_where_the_picture_is_read() -> None:
    document = MemoryDocument(Size(3000, 2000), selected=SELECTED)
    document.others["sketch"] = b"\x09\x08\x07\xff"
    layers = (ControlLayer("c1"), ControlLayer("c2", "sketch", "canny", 0.5, 0.1, 0.9))
    edit = prepare(document, EditSettings(prompt="a cat", loras=(LoraUse("l", 0.5),), controls=layers))
    area = edit.request.image
    assert edit.request.loras == (LoraUse("l", 0.5),)
    assert edit.request.controls == (Control("c1", area), Control("c2", area, "canny", 0.5, 0.1, 0.9))
    assert edit.controls == (edit.image, b"\x09\x08\x07\xff" * area.area)


def test_the_visible_picture_is_followed_where_the_source_is_another() -> None:
    class Sketched(MemoryDocument):
        def read_visible(self, bounds: Bounds) -> bytes:
            return b"\x01\x02\x03\xff" * bounds.area

    document = Sketched(Size(30, 20), selected=(Bounds(4, 5, 2, 2), b"\xff" * 4))
    seen = EditSettings(prompt="a cat", controls=(ControlLayer("c"),), references=(ReferenceLayer("r"),))
    edit = prepare(document, seen)
    assert edit.image == OPAQUE * 600
    assert edit.controls == edit.references == (b"\x01\x02\x03\xff" * 600,)


def test_regions_are_where_their_layers_are() -> None:
    document = MemoryDocument(Size(30, 20))
    document.others = {"half": b"\x09\x08\x07\x80"}
    edit = prepare(document, EditSettings(prompt="a cat", regions=(RegionLayer("a star", "half"),)))
    assert edit.request.regions == (Region("a star", Bounds(0, 0, 30, 20)),)
    assert edit.regions == (b"\x80" * 600,)
    with pytest.raises(BadRequest):
        prepare(document, EditSettings(regions=(RegionLayer("a star", "gone"),)))


def test_a_reference_is_all_of_its_layer_wherever_the_selection_is() -> None:
    document = MemoryDocument(Size(3000, 2000), selected=SELECTED)
    document.others["face"] = b"\x09\x08\x07\xff"
    layers = (ReferenceLayer("r1", "face", 0.5, 0.1, 0.9), ReferenceLayer("r2"))
    edit = prepare(document, EditSettings(prompt="a cat", references=layers))
    size = Size(3000, 2000)
    assert edit.request.references == (Reference("r1", size, 0.5, 0.1, 0.9), Reference("r2", size))
    assert edit.references == (b"\x09\x08\x07\xff" * size.area, OPAQUE * size.area)
    with pytest.raises(BadRequest, match="no such layer"):
        prepare(document, EditSettings(references=(ReferenceLayer("r1", "gone"),)))


def test_what_is_added_starts_from_grey_and_what_is_removed_from_no_words() -> None:
    document = MemoryDocument(Size(30, 20), selected=(Bounds(2, 3, 2, 2), b"\xff" * 4))
    said = EditSettings(prompt="a cat", model="sd-1", controls=(ControlLayer("c"),), strength=0.5)
    filled, added, removed = (
        prepare(document, replace(said, intent=intent))
        for intent in get_args(Intent)  # type: ignore[type-var]
    )
    assert filled == prepare(document, said)
    assert (filled.request.mode, filled.request.prefill) == ("refine", "auto")
    assert added.request == replace(filled.request, prefill="neutral")
    request = removed.request
    assert (request.mode, request.prompt, request.model, request.strength) == ("remove", "", None, 1.0)
    assert (request.controls, removed.controls, request.mask) == ((), (), filled.request.mask)
    with pytest.raises(BadRequest, match="needs a selection"):
        prepare(MemoryDocument(Size(30, 20)), EditSettings(intent="remove"))


def test_an_upscale_takes_the_whole_picture_whatever_is_selected() -> None:
    document = MemoryDocument(Size(30, 20), selected=(Bounds(2, 3, 2, 2), b"\xff" * 4))
    edit = prepare(document, EditSettings(mode="upscale", factor=4))
    assert (edit.request.mask, edit.mask, edit.request.factor) == (None, None, 4)
    assert edit.request.image == Bounds(0, 0, 30, 20)


def test_without_a_selection_controls_cover_the_canvas() -> None:
    document = MemoryDocument(Size(30, 20))
    edit = prepare(document, EditSettings(prompt="a cat", controls=(ControlLayer("c"),)))
    assert (edit.request.mode, edit.request.image.area) == ("txt2img", 1)
    assert edit.request.controls[0].image == Bounds(0, 0, 30, 20)
    assert edit.controls == (OPAQUE * 600,)


def test_a_selection_goes_with_its_surroundings_and_not_with_the_document() -> None:
    document = MemoryDocument(Size(3000, 2000), selected=SELECTED)
    document.put(31, 21, b"\x01\x02\x03\xff")
    edit = prepare(document, EditSettings(prompt="a cat", strength=0.4, grow=2))
    assert document.reads == [edit.request.image]
    assert edit.request.image.area < 1200 * 1200
    assert edit.request.mask == SELECTED[0]
    assert edit.mask == SELECTED[1]
    at = ((21 - edit.request.image.y) * edit.request.image.width + 31 - edit.request.image.x) * 4
    assert edit.image[at : at + 4] == b"\x01\x02\x03\xff"
    assert (edit.request.mode, edit.request.canvas, edit.request.grow) == ("refine", Size(3000, 2000), 2)


def test_no_selection_below_full_strength_sends_the_canvas() -> None:
    edit = prepare(MemoryDocument(Size(40, 30)), EditSettings(strength=0.5))
    assert (edit.request.mode, edit.request.image, edit.mask) == ("img2img", Bounds(0, 0, 40, 30), None)


def test_starting_from_nothing_reads_nothing() -> None:
    document = MemoryDocument(Size(4000, 3000))
    edit = prepare(document, EditSettings(prompt="a cat"))
    assert edit.request.mode == "txt2img"
    assert document.reads == []
    assert edit.image == bytes(4)


def test_an_empty_document_is_painted_from_nothing_at_any_strength() -> None:
    assert prepare(MemoryDocument(Size(8, 8), bytes(4)), EditSettings(strength=0.3)).request.mode == "txt2img"


def test_a_selection_over_a_hole_in_the_picture_extends_it() -> None:
    document = MemoryDocument(Size(64, 64), selected=SELECTED)
    document.put(31, 21, b"\0\0\0\0")
    assert prepare(document, EditSettings()).request.mode == "outpaint"
    document.put(31, 21, OPAQUE)
    document.put(0, 0, b"\0\0\0\0")
    assert prepare(document, EditSettings()).request.mode == "fill"


def test_the_artist_may_choose_the_mode() -> None:
    document = MemoryDocument(Size(64, 64), selected=SELECTED)
    assert prepare(document, EditSettings(mode="remove")).request.mode == "remove"


def test_edges_make_a_mask_beyond_the_canvas() -> None:
    edit = prepare(MemoryDocument(Size(64, 48), selected=SELECTED), EditSettings(), edges=Edges(top=5, right=2))
    assert (edit.request.mode, edit.request.mask) == ("outpaint", Bounds(0, -5, 66, 53))
    assert edit.request.image == Bounds(0, 0, 64, 48)


@pytest.mark.parametrize(
    ("document", "settings"),
    [
        (MemoryDocument(Size(64, 64), selected=(Bounds(1, 1, 2, 2), bytes(4))), EditSettings()),
        (MemoryDocument(Size(64, 64)), EditSettings(mode="fill")),
        (MemoryDocument(Size(64, 64), selected=SELECTED), EditSettings(count=0)),
        (MemoryDocument(Size(64, 64), selected=SELECTED), EditSettings(strength=float("nan"))),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(document: MemoryDocument, settings: EditSettings) -> None:
    with pytest.raises(BadRequest) as caught:
        prepare(document, settings)
    assert caught.value.hint
