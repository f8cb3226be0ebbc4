"""The adapter's decisions, over a fake libkis; what the real one does is tested in the real Krita (tests/hosts/krita)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from . import fakes

JOB = "0" * 32


@pytest.fixture
def handle(krita: fakes.Krita) -> fakes.Document:
    document = fakes.Document(64, 48)
    document.base.setPixelData(fakes.QByteArray(bytes([10, 20, 30, 255]) * 64 * 48), 0, 0, 64, 48)
    krita.open.append(document)
    return document


@pytest.fixture
def document(handle: fakes.Document) -> Any:
    from scumble_krita.documents import Documents

    return Documents().of(handle)


def layer(index: int = 0, value: int = 99, x: int = 8, y: int = 4) -> Any:
    from scumble_krita.lib.scumble.client.document import NewLayer
    from scumble_krita.lib.scumble.protocol.geometry import Bounds, Size
    from scumble_krita.lib.scumble.protocol.messages import EditRequest

    bounds = Bounds(x, y, 5, 3)
    request = EditRequest("fill", Size(64, 48), Bounds(0, 0, 64, 48), bounds)
    return NewLayer(bounds, bytes([value, 0, 0, 255]) * bounds.area, f"layer {index}", JOB, index, request, bounds.size)


def names(handle: fakes.Document) -> list[str]:
    return [node.name() for node in handle.root.children]


def test_one_object_for_a_document_as_long_as_it_is_open(krita: fakes.Krita, handle: fakes.Document) -> None:
    from scumble_krita.documents import Documents

    documents = Documents()
    first = documents.of(handle)
    assert documents.of(handle) is first
    assert documents.active() is first
    assert documents.of(None) is None
    handle.close()
    assert documents.active() is None
    assert not first.is_open


def test_a_closed_document_is_an_error_in_words_and_no_crash(document: Any, handle: fakes.Document) -> None:
    from scumble_krita.lib.scumble.protocol.errors import BadRequest

    handle.close()
    for call in (
        lambda: document.canvas,
        document.mark,
        document.selection,
        document.situation,
        lambda: document.contains(JOB, 0),
        lambda: document.insert_layer(layer()),
        lambda: document.remove_layer(JOB, 0),
        lambda: document.settings,
    ):
        with pytest.raises(BadRequest, match="closed"):
            call()


def test_the_selection_ends_at_the_canvas(document: Any, handle: fakes.Document) -> None:
    assert document.selection() is None
    handle.selected = fakes.Selection(60, 40, np.arange(100, dtype=np.uint8).reshape(10, 10))
    bounds, mask = document.selection()
    assert bounds == (60, 40, 4, 8)
    assert mask[:5] == bytes([0, 1, 2, 3, 10])
    assert document.edges_to_selection() == (0, 0, 6, 2)


def test_a_local_selection_counts_while_krita_uses_it(
    document: Any, handle: fakes.Document, krita: fakes.Krita
) -> None:
    group, mask = fakes.Node("group", "grouplayer"), fakes.Node("mask", "selectionmask")
    mask.selected = fakes.Selection(3, 2, np.full((4, 5), 200, np.uint8))
    handle.root.addChildNode(group, None)
    group.addChildNode(mask, None)
    handle.active = fakes.Node("sketch")
    group.addChildNode(handle.active, None)
    assert document.selection() is None
    krita.actions["deselect"].enabled = True
    assert document.selection() == ((3, 2, 5, 4), bytes([200]) * 20)
    group.addChildNode(fakes.Node("another", "selectionmask"), None)
    assert document.selection() is None  # nobody can tell which


@pytest.mark.parametrize("space", [("CMYKA", "U16", "some"), ("GRAYA", "U8", "grey"), ("RGBA", "U8", "WideGamut.icc")])
def test_other_colour_spaces_go_through_kritas_conversion(
    document: Any, handle: fakes.Document, space: tuple[str, str, str]
) -> None:
    handle.space = space
    document.insert_layer(layer())
    (inserted, converted) = handle.made
    assert converted.conversions == [fakes.SRGB, handle.space]
    assert converted.parent is None
    assert handle.root.children[-1] is inserted


def test_single_layers_are_named_and_read(document: Any, handle: fakes.Document) -> None:
    from scumble_krita.lib.scumble.protocol.errors import BadRequest
    from scumble_krita.lib.scumble.protocol.geometry import Bounds

    group, sketch = fakes.Node("group", "grouplayer"), fakes.Node("sketch")
    handle.root.addChildNode(group, None)
    group.addChildNode(sketch, None)
    group.addChildNode(fakes.Node("mask", "transparencymask"), None)
    assert [name for _, name in document.layers()] == ["sketch", "group", "base"]
    sketch.setPixelData(fakes.QByteArray(bytes([1, 2, 3, 255]) * 6), 5, 4, 3, 2)
    identity = document.layers()[0][0]
    assert document.read_layer(identity, Bounds(4, 4, 2, 1)) == bytes([0, 0, 0, 0, 1, 2, 3, 255])
    sketch.space = ("GRAYA", "U16", "Gray")
    document.read_layer(identity, Bounds(4, 4, 2, 1))
    assert handle.made[-1].conversions == [("GRAYA", "U16", "Gray"), fakes.SRGB]
    group.children.clear()
    with pytest.raises(BadRequest, match="gone"):
        document.read_layer(identity, Bounds(4, 4, 2, 1))


def test_a_mask_that_is_active_stands_for_its_layer(document: Any, handle: fakes.Document) -> None:
    from scumble_krita.lib.scumble.protocol.geometry import Bounds

    sketch, mask = fakes.Node("sketch"), fakes.Node("mask", "transparencymask", ("A", "U8", "default"))
    sketch.setPixelData(fakes.QByteArray(bytes([1, 2, 3, 255]) * 6), 5, 4, 3, 2)
    mask.setPixelData(fakes.QByteArray(bytes([9] * 4) * 6), 5, 4, 3, 2)
    handle.root.addChildNode(sketch, None)
    sketch.addChildNode(mask, None)
    document.from_layer, handle.active = True, mask
    assert document.read(Bounds(5, 4, 1, 1)) == bytes([1, 2, 3, 255])


def test_a_reference_is_what_its_layer_has_on_the_canvas(document: Any, handle: fakes.Document) -> None:
    from scumble_krita.lib.scumble.protocol.errors import BadRequest
    from scumble_krita.lib.scumble.protocol.geometry import Bounds

    board = fakes.Node("board")
    handle.root.addChildNode(board, None)
    identity = document.layers()[0][0]
    with pytest.raises(BadRequest, match="nothing on the layer board"):
        document.read_reference(identity)
    board.setPixelData(fakes.QByteArray(bytes([1, 2, 3, 255]) * 200), 60, 10, 20, 10)
    assert document.read_reference(identity) == ((4, 10), bytes([1, 2, 3, 255]) * 40)
    document.from_layer = True  # says where the edit's picture is from
    handle.active = board
    assert document.read(Bounds(60, 10, 1, 1)) == bytes([1, 2, 3, 255])
    assert document.read_visible(Bounds(60, 10, 1, 1)) == bytes([10, 20, 30, 255]), "so is what a control follows"
    assert document.read_reference(None) == ((64, 48), bytes([10, 20, 30, 255]) * 64 * 48)
    board.remove()
    with pytest.raises(BadRequest, match="gone"):
        document.read_reference(identity)


def test_plain_pixels_are_taken_as_they_are(document: Any, handle: fakes.Document) -> None:
    from scumble_krita.lib.scumble.protocol.geometry import Bounds

    assert document.read(Bounds(3, 3, 2, 1)) == bytes([10, 20, 30, 255] * 2)
    assert handle.made == []


def test_a_layer_is_known_again_and_forgotten_when_it_is_undone(document: Any, handle: fakes.Document) -> None:
    assert not document.contains(JOB, 0)
    document.insert_layer(layer())
    assert document.contains(JOB, 0)
    assert handle.active is handle.base
    handle.root.children[-1].remove()
    assert not document.contains(JOB, 0)


def test_another_variant_takes_the_layers_place_unless_somebody_painted_on_it(
    document: Any, handle: fakes.Document
) -> None:
    document.insert_layer(layer(0))
    document.replace_next(JOB, 0)
    document.insert_layer(layer(1, value=50))
    assert names(handle) == ["base", "layer 1"]
    assert document.contains(JOB, 1)
    assert not document.contains(JOB, 0)
    handle.root.children[-1].setPixelData(fakes.QByteArray(bytes([1, 2, 3, 255])), 9, 5, 1, 1)
    document.replace_next(JOB, 1)
    document.insert_layer(layer(0))
    assert names(handle) == ["base", "layer 1", "layer 0"]
    handle.root.children[-1].setPixelData(fakes.QByteArray(bytes([1, 2, 3, 255])), 40, 40, 1, 1)  # beside what is ours
    document.replace_next(JOB, 0)
    document.insert_layer(layer(2))
    assert names(handle) == ["base", "layer 1", "layer 0", "layer 2"]


def test_who_paints_on_a_layer_goes_on_there_unless_it_is_gone(
    document: Any, handle: fakes.Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = fakes.Node.addChildNode

    def as_krita_does(node: fakes.Node, child: fakes.Node, above: None) -> None:
        add(node, child, above)
        handle.active = child

    monkeypatch.setattr(fakes.Node, "addChildNode", as_krita_does)
    document.insert_layer(layer(0))
    assert handle.active is handle.base
    monkeypatch.setattr(fakes.Node, "addChildNode", lambda *more: (as_krita_does(*more), handle.base.remove()))
    document.insert_layer(layer(1))
    assert handle.active.name() == "layer 1"


def test_a_large_layer_is_filled_in_strips_before_it_is_added(
    document: Any, handle: fakes.Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from scumble_krita import pixels
    from scumble_krita.lib.scumble.protocol.geometry import Bounds, Size

    monkeypatch.setattr(pixels, "AT_ONCE", 64 * 4)
    bounds = Bounds(3, 50, 64, 150)
    data = np.random.default_rng(1).integers(0, 256, (150, 64, 4), np.uint8)
    large = replace(layer(), bounds=bounds, size=Size(64, 150), pixels=data.tobytes())
    assert sum(1 for _ in document.get_ready(large)) == 4  # to the next tile, two whole ones, and the rest
    assert names(handle) == ["base"]
    document.insert_layer(large)
    (made,) = handle.made
    assert handle.root.children[-1] is made
    assert made.pixelData(*bounds).data() == large.pixels
    for _ in document.get_ready(replace(large, index=1)):
        pass
    moved = replace(large, index=1, bounds=bounds.translate(7, 5))
    document.insert_layer(moved)  # the canvas was changed in between
    assert handle.root.children[-1].pixelData(*moved.bounds).data() == large.pixels


def test_applied_variants_share_a_group(document: Any, handle: fakes.Document) -> None:
    document.insert_layer(layer(0))
    document.apply_layer(JOB, 0, [])
    assert handle.active.name() == "layer 0"
    document.insert_layer(layer(1))
    document.apply_layer(JOB, 1, [0])
    assert names(handle) == ["base", "Scumble: layer 0"]
    assert [node.name() for node in handle.root.children[-1].children] == ["layer 0", "layer 1"]
    document.insert_layer(layer(2))
    document.apply_layer(JOB, 2, [0, 1])
    assert [node.name() for node in handle.root.children[-1].children] == ["layer 0", "layer 1", "layer 2"]


def test_discard_takes_the_grown_canvas_back(document: Any, handle: fakes.Document) -> None:
    from scumble_krita.lib.scumble.client.document import Edges

    mark = document.mark()
    document.grow_canvas(Edges(left=16, top=0, right=0, bottom=8))
    assert document.moved_since(mark) == (16, 0, 1, 1)
    document.insert_layer(layer())
    document.remove_layer(JOB, 0)
    assert handle.size == (64, 48)
    assert document.moved_since(mark) == (0, 0, 1, 1)


def test_a_canvas_that_has_changed_since_it_grew_stays(document: Any, handle: fakes.Document) -> None:
    from scumble_krita.lib.scumble.client.document import Edges

    document.grow_canvas(Edges(left=16))
    document.insert_layer(layer())
    handle.resizeImage(0, 0, 100, 48)
    document.remove_layer(JOB, 0)
    assert handle.size == (100, 48)


def test_a_picture_that_was_mirrored_and_painted_over_is_lost_track_of(document: Any, handle: fakes.Document) -> None:
    y, x = np.mgrid[0:48, 0:64]
    picture = np.dstack([x * 3 + x * y % 7, y * 3 + x * x % 5, x + y, np.full_like(x, 255)]).astype(np.uint8)
    handle.base.setPixelData(fakes.QByteArray(picture.tobytes()), 0, 0, 64, 48)
    mark = document.mark()
    handle.base.setPixelData(
        fakes.QByteArray((picture[:, ::-1] - [1, 1, 1, 0]).astype(np.uint8).tobytes()), 0, 0, 64, 48
    )
    assert document.moved_since(mark) is None


def test_a_canvas_resized_by_the_artist_is_followed(document: Any, handle: fakes.Document) -> None:
    dot = fakes.Node("dot")
    dot.setPixelData(fakes.QByteArray(bytes([1, 2, 3, 255] * 4)), 20, 20, 2, 2)
    handle.root.addChildNode(dot, None)
    mark = document.mark()
    handle.resizeImage(-7, -5, 90, 70)
    assert document.moved_since(mark) == (7, 5, 1, 1)
    handle.size = (180, 140)  # scaled: no origin has moved, but nothing is where it was
    for node in (handle.base, dot):
        node.plane = node.plane.repeat(2, 0).repeat(2, 1)[fakes.Node.MARGIN :, fakes.Node.MARGIN :]
    assert document.moved_since(mark) is None


def test_the_situation_tells_what_will_be_done(document: Any, handle: fakes.Document) -> None:
    assert document.situation() == (False, False, False)
    handle.selected = fakes.Selection(0, 0, np.full((48, 64), 255, np.uint8))
    assert document.situation() == (True, False, False)
    handle.base.plane[fakes.Node.MARGIN + 20 : fakes.Node.MARGIN + 48] = 0
    assert document.situation() == (True, False, True)
    handle.base.plane[:] = 0
    assert document.situation() == (True, True, True)


def test_settings_live_in_the_document(document: Any, handle: fakes.Document) -> None:
    assert document.settings == {}
    document.settings = {"prompt": "a cat"}
    assert not handle.is_modified  # Krita would ask whether to save a document that was only looked at
    document.insert_layer(layer())
    assert document.settings == {"prompt": "a cat"}
    assert handle.is_modified
    handle.annotations["scumble"] = b"\xff not JSON"
    assert document.settings == {}
