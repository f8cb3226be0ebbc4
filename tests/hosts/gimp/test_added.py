"""What the panel adds to the model, and what it makes of a selection: real clicks, and what reaches the backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ..gimp_host import GimpHost
from .window import REQUEST_OF, Backend, add, click, open_panel, prepare, reach, write

pytestmark = pytest.mark.only("newest")

MASKED = """
def masked(name, x, y, width, height, data, mask, parent=None):
    made = Gimp.Layer.new(image, name, width, height, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)
    made.set_offsets(x, y)
    image.insert_layer(made, parent, 0)
    made.add_mask(made.create_mask(Gimp.AddMaskType.WHITE))
    for drawable, format, values in ((made, "R'G'B'A u8", data), (made.get_mask(), "Y u8", mask)):
        buffer = drawable.get_buffer()
        buffer.set(Gegl.Rectangle.new(0, 0, width, height), format, values)
        buffer.flush()
        drawable.update(0, 0, width, height)  # for the group that it is in
    return made
"""
TO_PANEL = """
def to_panel(image):
    word = f'["scumble-panel", {image.get_id()}]'.encode()
    Gimp.attach_parasite(Gimp.Parasite.new('scumble-panel-word-1', 0, list(word)))
"""
SAVE_AND_LOAD = """
file = Gio.File.new_for_path(place)
Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, first, file, None)
image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, file)
display = Gimp.Display.new(image)
Gimp.displays_flush()
first = image
loaded = {each.get_name(): each for each in image.get_layers()}
"""
NEVER_SEEN = """
third = Gimp.Image.new(96, 64, Gimp.ImageBaseType.RGB)
third.insert_layer(Gimp.Layer.new(third, 'x', 96, 64, Gimp.ImageType.RGB_IMAGE, 100, Gimp.LayerMode.NORMAL), None, 0)
shown = Gimp.Display.new(third)
"""
PROMPT = "named('prompt').get_buffer().get_property('text')"
SELECTED = (100, 70, 80, 60)
"""What `prepare` selects."""


def make_masked(gimp: GimpHost, name: str, x: int, y: int, width: int, height: int, parent: str = "None") -> np.ndarray:
    """A layer of noise with a layer mask of noise: height x width x RGBA, as it shows through its mask. In `run` it has its
    name."""
    rng = np.random.default_rng(width)
    pixels = rng.integers(0, 256, (height, width, 4)).astype(np.uint8)
    mask = rng.integers(0, 256, (height, width)).astype(np.uint8)
    gimp.run(MASKED)
    gimp.run(
        f"{name} = masked(name, x, y, width, height, data, mask, {parent}); image.set_selected_layers([layer])",
        name=name,
        x=x,
        y=y,
        width=width,
        height=height,
        data=pixels.tobytes(),
        mask=mask.tobytes(),
    )
    shown = pixels.copy()
    shown[..., 3] = np.rint(pixels[..., 3] * (mask / 255))
    return shown


def placed(shown: np.ndarray, x: int, y: int, place: tuple[int, int, int, int]) -> np.ndarray:
    """A layer at x, y as it lies in a place on the canvas, transparent where it does not reach."""
    canvas = np.zeros((1000, 1000, 4), np.uint8)
    canvas[500 + y : 500 + y + len(shown), 500 + x : 500 + x + shown.shape[1]] = shown
    left, top, width, height = place
    return canvas[500 + top : 500 + top + height, 500 + left : 500 + left + width]


def assert_shows(sent: np.ndarray, shown: np.ndarray) -> None:
    """The same transparency; the same colours where anything shows."""
    np.testing.assert_array_equal(sent[..., 3], shown[..., 3])
    seen = shown[..., 3] > 0
    np.testing.assert_array_equal(sent[seen], shown[seen])


def test_loras_and_layers_that_are_followed_reach_the_backend(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    gimp.run(
        "sketch = Gimp.Layer.new(image, 'Sketch', 30, 20, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)\n"
        "sketch.fill(Gimp.FillType.WHITE); sketch.set_offsets(110, 80); image.insert_layer(sketch, None, 0)\n"
        "image.set_selected_layers([layer])"
    )
    gimp.run(REQUEST_OF)
    with open_panel(gimp) as panel:
        panel.run("named('added').set_expanded(True)")
        for kind in ("lora", "control"):
            add(gimp, panel, kind)
        panel.run(
            "pick('lora', 'Ink (sd1)'); named('lora-weight').set_value(0.35)\n"
            "pick('control', 'Edges (sd1)'); pick('control-layer', 'Sketch')\n"
            "pick('control-preprocessor', 'Black strokes'); named('control-end').set_value(60)"
        )
        write(panel, "a gate", steps=2)
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 3", 30)
        request = gimp.get("request_of(image.get_layers()[0])")
        assert request["loras"] == [{"id": "lora-1", "weight": 0.35}]
        control = {"id": "control-1", "preprocessor": "invert", "weight": 1.0, "start": 0.0, "end": 0.6}
        assert request["controls"] == [{**control, "image": request["image"]}]
        read = panel.run(
            "from scumble_gimp.document import GimpDocument\n"
            "from scumble.protocol.geometry import Bounds\n"
            "document = GimpDocument(Gimp.get_images()[0])\n"
            "sketch = next(id for id, name in document.layer_names().items() if name == 'Sketch')\n"
            "result = document.read_layer(sketch, Bounds(139, 80, 2, 1))"
        )
        assert read == bytes([255, 255, 255, 255, 0, 0, 0, 0])

        # A layer that is gone is told before anything is sent.
        gimp.run("image.remove_layer(sketch)")
        panel.wait_until("named('control-layer').get_active_text() == 'Sketch (not found)'", 10)
        click(gimp, panel, "named('generate')")
        panel.wait_until("'is not in this image' in named('notice-words').get_text()", 10)
        reach(gimp, panel, "named('control-remove')")
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 3", 30)
        assert gimp.get("request_of(image.get_layers()[0])['controls']") == []
    # What was added to the model is remembered.
    with open_panel(gimp) as panel:
        panel.wait_until("named('lora').get_active_id() == 'lora-1'", 10)
        reach(gimp, panel, "named('lora-remove')")
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 4", 30)


def test_layers_reach_the_backend_as_they_show(gimp: GimpHost, backend: Backend, picture: np.ndarray) -> None:
    """A reference is all of its layer, beyond the canvas too; a control is what of it lies in the area that is looked at;
    a region is where its layer is, to the pixel. What a layer mask hides is not there."""
    prepare(gimp, picture)
    gimp.run(REQUEST_OF)
    gimp.run("farm = Gimp.GroupLayer.new(image, 'farm'); image.insert_layer(farm, None, 0)")
    barn = make_masked(gimp, "barn", 110, 60, 50, 40, "farm")
    vase = make_masked(gimp, "vase", -20, 100, 140, 200)
    with open_panel(gimp) as panel:
        panel.run("named('added').set_expanded(True)")
        for kind in ("control", "reference", "region"):
            add(gimp, panel, kind)
        panel.run(
            "pick('control', 'Edges (sd1)'); pick('control-layer', 'vase'); pick('control-preprocessor', 'As it is')\n"
            "pick('reference', 'Look (sd1)'); pick('reference-layer', 'vase'); named('reference-weight').set_value(0.6)\n"
            "named('reference-start').set_value(20); named('reference-end').set_value(80)\n"
            "pick('region', 'farm')"
        )
        reach(gimp, panel, "named('region-prompt')")
        gimp.display.keys("b", "a", "r", "n")
        panel.wait_until("named('region-prompt').get_text() == 'barn'", 10)
        gimp.display.point(5, 990)  # no tool tip
        gimp.screenshot("panel-added")
        write(panel, "slow gate", steps=15)

        for again in range(2):
            if again:
                gimp.menu("Filters", "Scumble", "Repeat Last")
            else:
                click(gimp, panel, "named('generate')")
            request, pictures = backend.sent()
            (reference,), (region,) = request.references, request.regions
            assert (reference.id, reference.weight, reference.start, reference.end) == ("reference-1", 0.6, 0.2, 0.8)
            assert (region.prompt, region.mask) == ("barn", request.image)
            assert_shows(pictures["reference"][0], vase)
            assert_shows(pictures["control"][0], placed(vase, -20, 100, request.image))
            np.testing.assert_array_equal(pictures["region"][0], placed(barn, 110, 60, request.image)[..., 3])
            gimp.wait_until(f"len(image.get_layers()) == {4 + again}", 30)

        # A mask that is switched off hides nothing. What is not filled in does not count; the visible picture is all of it.
        gimp.run("barn.set_apply_mask(False)")
        panel.run("pick('control', 'ControlNet\u2026'); pick('reference-layer', 'Visible picture')")
        click(gimp, panel, "named('generate')")
        request, pictures = backend.sent()
        assert request.controls == ()
        assert pictures["reference"][0].shape == picture.shape
        whole = gimp.pixels("barn", 0, 0, 50, 40)
        np.testing.assert_array_equal(pictures["region"][0], placed(whole, 110, 60, request.image)[..., 3])
        gimp.wait_until("len(image.get_layers()) == 6", 30)
        reach(gimp, panel, "named('reference-remove')")
        panel.run("named('region-prompt').set_text(' ')")
        click(gimp, panel, "named('generate')")
        request, pictures = backend.sent()
        assert set(pictures) == {"image", "mask"}
        gimp.wait_until("len(image.get_layers()) == 7", 30)

        # So is the active layer, where it is the picture, also while the artist paints on its mask.
        gimp.run("image.set_selected_layers([vase]); vase.set_edit_mask(True)")
        panel.run("named('source').set_active_id('layer')")
        click(gimp, panel, "named('generate')")
        request, pictures = backend.sent()
        assert_shows(pictures["image"][0], placed(vase, -20, 100, request.image))
        gimp.wait_until("len(image.get_layers()) == 8", 30)
        panel.run("named('source').set_active_id('visible')")
        panel.run("named('added').set_expanded(False)")


def test_what_is_filled_in_comes_back_with_the_image(
    gimp: GimpHost, backend: Backend, picture: np.ndarray, tmp_path: Path
) -> None:
    """When the panel is closed, when another image is worked on, and when it is saved and loaded; and the layers that were
    meant are the same to the pixel."""
    prepare(gimp, picture)
    gimp.run(REQUEST_OF + TO_PANEL)
    vase = make_masked(gimp, "vase", -20, 100, 140, 200)
    barn = make_masked(gimp, "barn", 110, 60, 50, 40)
    gimp.run("image.clean_all()")
    rows = ["Edges (sd1)", "vase", "As it is", "Look (sd1)", "vase", "barn"]
    said = (
        "[named(name).get_active_text() for name in ('control', 'control-layer', 'control-preprocessor', 'reference',"
        " 'reference-layer', 'region')]"
    )
    others = (
        "[named('region-prompt').get_text(), named('control-end').get_value(), named('seed').get_value(),"
        " named('keep').get_active(), named('source').get_active_id(), named('strength').get_value()]"
    )
    told = ["a barn", 60, 7, True, "layer", 100]
    with open_panel(gimp) as panel:
        panel.run("named('added').set_expanded(True)")
        for kind in ("control", "reference", "region"):
            add(gimp, panel, kind)
        panel.run(
            "pick('control', 'Edges (sd1)'); pick('control-layer', 'vase'); pick('control-preprocessor', 'As it is')\n"
            "named('control-end').set_value(60); pick('reference', 'Look (sd1)'); pick('reference-layer', 'vase')\n"
            "pick('region', 'barn'); named('region-prompt').set_text('a barn')\n"
            "named('keep').set_active(True); named('seed').set_value(7); named('source').set_active_id('layer')\n"
            "named('intent').set_active_id('fill')"
        )
        write(panel, "slow gate", steps=15, strength=100)
    # It is no change of the picture.
    assert not gimp.get("image.is_dirty()")
    gimp.run("first = image")
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        write(panel, "a fence")
        panel.run("named('source').set_active_id('visible'); named('strength').set_value(50)")
        assert panel.get("any(widget.get_name() == 'control' for widget in widgets())") is False
        gimp.run("to_panel(first)")
        panel.wait_until(PROMPT + " == 'slow gate'", 10)
        assert panel.get(said) == rows
        assert panel.get(others) == told

        # To an image that has never been worked on goes all but what needs layers of this one.
        gimp.run(NEVER_SEEN + "to_panel(third)")
        panel.wait_until("not any(widget.get_name() in ('control', 'reference', 'region') for widget in widgets())", 10)
        assert panel.get(PROMPT) == "slow gate"
        gimp.run("to_panel(first)")
        panel.wait_until("any(widget.get_name() == 'region' for widget in widgets())", 10)
        assert panel.get(said) == rows
        gimp.run("shown.delete(); to_panel(image)")
        panel.wait_until(PROMPT + " == 'a fence'", 10)
        assert panel.get("any(widget.get_name() == 'control' for widget in widgets())") is False
        assert panel.get("[named('source').get_active_id(), named('strength').get_value()]") == ["visible", 50]

        # Saved and loaded: all layers have other ids.
        gimp.run(SAVE_AND_LOAD, place=str(tmp_path / "kept.xcf"))
        panel.wait_until(PROMPT + " == 'slow gate'", 10)
        assert panel.get(said) == rows
        assert panel.get(others) == told
        gimp.run("image.set_selected_layers([loaded['base']])")
        click(gimp, panel, "named('generate')")
        request, pictures = backend.sent()
        assert (request.seed, request.controls[0].end, request.regions[0].prompt) == (7, 0.6, "a barn")
        assert_shows(pictures["reference"][0], vase)
        assert_shows(pictures["control"][0], placed(vase, -20, 100, request.image))
        np.testing.assert_array_equal(pictures["region"][0], placed(barn, 110, 60, request.image)[..., 3])
        gimp.wait_until("len(image.get_layers()) == 4", 30)
        assert gimp.get("request_of(image.get_layers()[0])['seed']") == 7

        # What was done before is shown on the layers that are in use; where there are none, nobody knows which they were.
        panel.run("named('history').set_expanded(True); named('reference-remove').clicked()")
        panel.wait_until(
            "[row.entry.request.prompt for row in named('history-list').get_children()][:1] == ['slow gate']", 30
        )
        panel.run(
            "named('history-list').select_row(named('history-list').get_row_at_index(0)); named('reuse').clicked()"
        )
        assert panel.get(said) == [*rows[:4], "Not found", "barn"]
        panel.run("named('history').set_expanded(False); named('added').set_expanded(False)")

        # A layer that is not in the file any more is not there.
        gimp.run("image.remove_layer(loaded['barn'])")
        panel.wait_until("named('region').get_active_text() == 'barn (not found)'", 10)
        gimp.run(SAVE_AND_LOAD, place=str(tmp_path / "kept.xcf"))
        panel.wait_until(said + f" == {[*rows[:4], 'Not found', 'Not found']}", 10)
        assert panel.get("named('region-prompt').get_text()") == "a barn"


def test_what_a_model_has_learnt_goes_into_the_prompt(gimp: GimpHost) -> None:
    with open_panel(gimp) as panel:
        panel.run("named('added').set_expanded(True)")
        write(panel, "a cat at night")
        panel.run("buffer = named('prompt').get_buffer(); buffer.place_cursor(buffer.get_iter_at_offset(5))")
        panel.run("pick('embedding', 'Oil-Style (sd1)')")
        assert panel.get("named('prompt').get_buffer().get_property('text')") == "a cat Oil-Style at night"
        assert panel.get("named('embedding').get_active_text()") == "Textual inversion\u2026"
        panel.run("named('added').set_expanded(False)")


def test_what_becomes_of_a_selection(gimp: GimpHost, backend: Backend, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    gimp.run(REQUEST_OF)
    newest = "request_of(image.get_layers()[0])"
    with open_panel(gimp) as panel:
        write(panel, "a gate", steps=2, strength=100)
        shown = "[named('mode').get_text(), named('generate').get_label()]"
        panel.run("pick('intent', 'Add something')")
        assert panel.get(shown) == ["Add something to the selection (80 \u00d7 60 px)", "Add"]
        click(gimp, panel, "named('transparent')")
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 2", 30)
        added = gimp.get(newest)
        assert (added["mode"], added["prefill"], added["transparent"]) == ("fill", "neutral", True)
        panel.run("named('strength').set_value(50)")
        assert panel.get(shown)[1] == "_Refine"
        panel.run("named('strength').set_value(100)")

        # A removal needs neither words nor the model that paints; it needs a selection.
        panel.run("pick('intent', 'Remove what is there'); named('count').set_value(3)")
        assert panel.get(shown) == ["Remove what is selected (80 \u00d7 60 px)", "_Remove"]
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 3", 30)
        removed = gimp.get(newest)
        assert (removed["mode"], removed["prompt"], removed["strength"], removed["count"]) == ("remove", "", 1.0, 1)
        gimp.run("Gimp.Selection.none(image)")
        click(gimp, panel, "named('generate')")
        panel.wait_until("named('notice-words').get_text() == 'Nothing is selected. Select what to change.'", 10)
        gimp.run(f"image.select_rectangle(Gimp.ChannelOps.REPLACE, *{SELECTED})")

    # It is remembered; the menu's item means what it says, and an extension is nothing else.
    with open_panel(gimp) as panel:
        shown = "[named('intent').get_active_id(), named('transparent').get_active()]"
        assert panel.get(shown) == ["remove", True]
        panel.run("named('left').set_value(32)")
        assert panel.get("named('generate').get_label()") == "_Extend"
        panel.run("named('left').set_value(0)")
        gimp.menu("Filters", "Scumble", "Fill Selection...")
        panel.wait_until("named('generate').get_label() == '_Fill'", 30)
        assert panel.get(shown) == ["fill", True]

        # An edit that was done before is shown as it was.
        panel.run("named('history').set_expanded(True)")
        panel.wait_until("len(named('history-list').get_children()) > 1", 30)
        panel.run("named('transparent').set_active(False)")
        for row, intent, transparent in ((0, "remove", True), (1, "add", True)):
            panel.run(f"named('history-list').select_row(named('history-list').get_children()[{row}])")
            panel.run("named('reuse').clicked()")
            assert panel.get(shown) == [intent, transparent]
        panel.run("named('history').set_expanded(False)")
        panel.run("named('intent').set_active_id('fill'); named('transparent').set_active(False)")
        panel.run("named('prompt').get_buffer().set_text('a gate')")
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 4", 30)
        filled = gimp.get(newest)
        assert (filled["mode"], filled["prefill"], filled["transparent"]) == ("fill", "auto", False)
