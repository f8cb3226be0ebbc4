"""What scripts add to the model, and what they make of a selection, without a window: with a real backend."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ..gimp_host import GimpConsole
from .test_batch import KINDS

pytestmark = pytest.mark.only("oldest")

WIDTH, HEIGHT = 320, 256
AT = (90, 60)
FILL = "call('scumble-fill-selection', image, model='tiny', seed=3, steps=1, {})"
ADDED = {
    "control": "control_model='Edges', control=sketch, control_preprocessor='none', control_weight=2.0",
    "reference": "reference_adapter='Look', reference=sketch, reference_weight=2.0",
    "region": "region=sketch, region_prompt='a barn'",
}
SKETCH = """
sketch = Gimp.Layer.new(image, "sketch", 320, 256, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)
image.insert_layer(sketch, None, 0)
sketch.set_visible(False)
image.set_selected_layers([layer])
def paint(x, y, width, height, format, value, drawable=sketch):
    buffer = drawable.get_buffer()
    buffer.set(Gegl.Rectangle.new(x, y, width, height), format, bytes(value * (width * height)))
    buffer.flush()
"""
IN_PROCESS = """
import sys
sys.path[:0] = [folder for folder in folders if folder not in sys.path]
from scumble_gimp.document import GimpDocument
from scumble.protocol.geometry import Bounds
document, name = GimpDocument(image), str(layer.get_id())
"""
RED, BLUE = [220, 30, 30, 255], [30, 30, 220, 255]


def prepare(console: GimpConsole, picture: np.ndarray, mask: np.ndarray) -> None:
    console.new_image(picture)
    console.select(mask, *AT)
    console.run(SKETCH)


def painted(console: GimpConsole, arguments: str) -> np.ndarray:
    """What comes of it, which is taken away again."""
    done = console.get(FILL.format(arguments), timeout=120)
    assert done.get("bounds") == [*AT, 80, 60], done
    pixels = console.pixels("image.get_layers()[0]", 0, 0, 80, 60)
    console.run("image.remove_layer(image.get_layers()[0])")
    return pixels


def request(console: GimpConsole) -> dict[str, Any]:
    """Of the newest layer."""
    note = console.run("result = bytes(image.get_layers()[0].get_parasite('scumble').get_data()).decode()")
    found: dict[str, Any] = json.loads(note)["request"]
    return found


@pytest.mark.parametrize("kind", ADDED)
def test_what_shows_of_a_layer_makes_a_difference(
    console: GimpConsole, picture: np.ndarray, mask: np.ndarray, kind: str
) -> None:
    prepare(console, picture, mask)
    arguments = f"prompt='x', {ADDED[kind]}"
    plain = painted(console, "prompt='x'")
    console.run(f"paint(100, 70, 40, 40, \"R'G'B'A u8\", {RED})")
    half = painted(console, arguments)
    assert not np.array_equal(half, plain)
    console.run(f"paint(140, 70, 40, 40, \"R'G'B'A u8\", {BLUE})")
    whole = painted(console, arguments)
    assert not np.array_equal(whole, half)
    console.run("mask = sketch.create_mask(Gimp.AddMaskType.WHITE); sketch.add_mask(mask)")
    console.run("paint(140, 70, 40, 40, 'Y u8', [0], mask)")
    np.testing.assert_array_equal(painted(console, arguments), half)
    console.run("image.delete()")


def test_what_follows_the_visible_picture_does_so_whatever_the_source(
    console: GimpConsole, picture: np.ndarray
) -> None:
    console.new_image(picture)
    console.run(SKETCH)
    console.run(f"paint(100, 70, 40, 40, \"R'G'B'A u8\", {RED}); image.set_selected_layers([sketch])")
    console.run(
        IN_PROCESS, folders=[str(console.home / "gimp" / "plug-ins" / "scumble-gimp" / end) for end in ("", "lib")]
    )
    seen = "EditSettings(prompt='x', strength=0.5, controls=(ControlLayer('c'),), references=(ReferenceLayer('r'),))"
    console.run(
        "from scumble.client.editor import ControlLayer, EditSettings, ReferenceLayer, prepare as edit_of\n"
        f"document.from_layer = True; edit = edit_of(document, {seen})"
    )
    image, control, reference = (
        np.frombuffer(console.run(f"result = bytes(edit.{pixels})"), np.uint8).reshape(HEIGHT, WIDTH, 4)
        for pixels in ("image", "controls[0]", "references[0]")
    )
    assert (image[90, 120].tolist(), image[60, 90].tolist()) == (RED, [0, 0, 0, 0])
    np.testing.assert_array_equal(control, reference)
    np.testing.assert_array_equal(control[..., :3], picture[..., :3])
    console.run("image.delete()")


def test_added_by_halves(console: GimpConsole, picture: np.ndarray, mask: np.ndarray) -> None:
    prepare(console, picture, mask)
    for arguments, words in (
        ("control=sketch", "No control network follows the layer. Name one as control-model."),
        ("control_model='Depth'", "There is no control network Depth."),
        ("reference=sketch", "No IP-Adapter takes up the layer. Name one as reference-adapter."),
        ("reference_adapter='Edges'", "There is no IP-Adapter Edges."),
        ("reference_adapter='Look', reference=sketch", "There is nothing on the layer sketch. Choose another one."),
        ("region=sketch", "Nothing says what is to be in the region. Say it in region-prompt."),
        ("region_prompt='a barn'", "No layer says where the region is. Give one as region."),
    ):
        assert words in console.get(FILL.format(f"prompt='x', {arguments}")).get("error", ""), arguments
    assert console.get("len(image.get_layers())") == 2
    console.run("image.delete()")


def test_what_becomes_of_a_selection(console: GimpConsole, picture: np.ndarray, mask: np.ndarray) -> None:
    """What is added starts from grey; what is removed makes room for what is around, whatever the prompt says."""
    prepare(console, picture, mask)
    found = {}
    for intent, mode, prefill, prompt in (
        ("fill", "fill", "auto", "a barn"),
        ("add", "fill", "neutral", "a barn"),
        ("remove", "remove", "auto", ""),
    ):
        done = console.get(FILL.format(f"prompt='a barn', intent='{intent}'"), timeout=120)
        assert done.get("bounds") == [*AT, 80, 60], done
        sent = request(console)
        assert (sent["mode"], sent["prefill"], sent["prompt"]) == (mode, prefill, prompt)
        found[intent] = console.pixels("image.get_layers()[0]", 0, 0, 80, 60)
        console.run("image.remove_layer(image.get_layers()[0])")
    assert not np.array_equal(found["fill"], found["add"])
    inside = found["remove"][..., 3] == 255
    around = picture[AT[1] : AT[1] + 60, AT[0] : AT[0] + 80]
    difference = {name: np.abs(found[name].astype(int) - around)[inside, :3].mean() for name in found}
    assert difference["remove"] < 8 < difference["add"]
    console.run("image.delete()")


def test_repeat_last_has_everything(console: GimpConsole, picture: np.ndarray, mask: np.ndarray) -> None:
    prepare(console, picture, mask)
    console.run(f"paint(100, 70, 40, 40, \"R'G'B'A u8\", {RED})")
    everything = ", ".join(["prompt='x', intent='add', transparent=True", ADDED["reference"], ADDED["region"]])
    assert "error" not in console.get(FILL.format(everything), timeout=120)
    first = request(console)
    assert (first["prefill"], first["transparent"]) == ("neutral", True)
    assert [region["prompt"] for region in first["regions"]] == ["a barn"]
    assert [reference["size"] for reference in first["references"]] == [[WIDTH, HEIGHT]]
    again = console.get("call('scumble-repeat-last', image)", timeout=120)
    assert "error" not in again, again
    assert console.get("len(image.get_layers())") == 4
    assert request(console) == first
    console.run("image.delete()")


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_filters_of_layers_in_images_of_all_kinds(
    console: GimpConsole, picture: np.ndarray, kind: str
) -> None:
    """A masked layer is half as opaque where its mask is half, and has the colours that it has without one. What a filter
    makes of it is what GIMP shows, and to the image nothing has happened."""
    console.new_image(picture)
    console.run(KINDS[kind].convert)
    console.run(
        IN_PROCESS, folders=[str(console.home / "gimp" / "plug-ins" / "scumble-gimp" / end) for end in ("", "lib")]
    )
    place = "Bounds(100, 70, 4, 2)"
    colours = console.run(f"result = document.read_layer(name, {place})")
    console.run("mask = layer.create_mask(Gimp.AddMaskType.WHITE); layer.add_mask(mask)")
    assert console.run(f"result = document.read_layer(name, {place})") == colours
    console.run(
        "buffer = mask.get_buffer()\n"
        "buffer.set(Gegl.Rectangle.new(100, 70, 4, 2), 'Y u8', bytes([0, 1, 128, 255, 255, 254, 64, 0]))\n"
        "buffer.flush()"
    )
    alpha = [0, 1, 128, 255, 255, 254, 64, 0]
    assert list(console.run(f"result = document.read_region(name, {place})")) == alpha
    masked = np.frombuffer(console.run(f"result = document.read_layer(name, {place})"), np.uint8).reshape(8, 4)
    assert list(masked[:, 3]) == alpha
    shows = masked[:, 3] > 0
    np.testing.assert_array_equal(masked[shows, :3], np.frombuffer(colours, np.uint8).reshape(8, 4)[shows, :3])
    beyond = console.run("result = document.read_region(name, Bounds(-2, 70, 3, 1))")
    assert list(beyond) == [0, 0, 255]
    console.run("layer.append_filter(Gimp.DrawableFilter.new(layer, 'gegl:invert-gamma', '')); image.clean_all()")
    filtered = console.run(f"result = document.read_layer(name, {place})")
    assert list(console.run(f"result = document.read_region(name, {place})")) == alpha
    assert console.get("[image.is_dirty(), Gimp.get_images() == [image], len(layer.get_filters())]") == [False, True, 1]
    assert filtered != masked.tobytes()
    if kind != "indexed":  # shows the nearest colours of its palette
        assert filtered == console.run(f"result = document.read({place})")
    console.run("image.undo_disable(); layer.set_visible(False); layer.set_opacity(30); image.clean_all()")
    assert console.run(f"result = document.read_layer(name, {place})") == filtered
    console.run("image.delete()")
