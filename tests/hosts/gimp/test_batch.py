"""The procedures as other scripts use them, without a window, against a real backend with real models."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from scumble.editing.plan import Source
from scumble.editing.planner import plan_edit
from scumble.fill.migan import TRAITS as FILL
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest
from scumble_gimp.commands import COMMANDS

from ..gimp_host import GimpConsole

WIDTH, HEIGHT = 320, 256
AT = (90, 60)


class Kind(NamedTuple):
    """`convert` makes it from 8 bit sRGB; `raw` is the format in which its layers are compared value by value."""

    convert: str
    raw: str


KINDS = {
    "8 bit": Kind("", "R'G'B'A u8"),
    "16 bit linear": Kind("image.convert_precision(Gimp.Precision.U16_LINEAR)", "RGBA u16"),
    "float": Kind("image.convert_precision(Gimp.Precision.FLOAT_LINEAR)", "RGBA float"),
    "32 bit perceptual": Kind("image.convert_precision(Gimp.Precision.U32_NON_LINEAR)", "R'G'B'A u32"),
    "grey": Kind("image.convert_grayscale()", "Y'A u8"),
    "indexed": Kind(
        "image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 255, False, False, '')",
        "R'G'B'A u8",
    ),
    # A named format would turn the values into sRGB: in floats, where no two become one.
    "Adobe RGB": Kind("image.set_color_profile(Gimp.ColorProfile.new_rgb_adobe())", "RGBA float"),
}
PAINTED = "model='tiny', prompt='x', steps=1"
IN_PLACE = {
    "fill": f"call('scumble-fill-selection', image, {PAINTED})",
    "refine": f"call('scumble-refine', image, strength=50.0, {PAINTED})",
    "generate": f"call('scumble-generate-layer', image, {PAINTED})",
    "remove": "call('scumble-remove-selection', image)",
}
ALL_SIDES = "left=16, top=24, right=32, bottom=8"
EXTENSIONS = {
    # arguments: the size of the canvas, where the layer lies, by how much the picture has moved
    "left=40": ((360, 256), [0, 0, 40, 256], (40, 0)),
    "top=32": ((320, 288), [0, 0, 320, 32], (0, 32)),
    "right=24": ((344, 256), [320, 0, 24, 256], (0, 0)),
    "bottom=56": ((320, 312), [0, 256, 320, 56], (0, 0)),
    ALL_SIDES: ((368, 288), [0, 0, 368, 288], (16, 24)),
}
TARGETS = {
    "ratio='3:2', anchor='left'": ((384, 256), [320, 0, 64, 256], (0, 0)),
    "width=340, height=276, anchor='bottom-right'": ((340, 276), [0, 0, 340, 276], (20, 20)),
}


def once(*values: str) -> list[Any]:
    """Of what makes no difference to GIMP: in one of its versions."""
    return [pytest.param(value, marks=pytest.mark.only("oldest")) for value in values]


def merged(gimp: GimpConsole, x: int = 0, y: int = 0) -> np.ndarray:
    """What the artist sees, in full precision: height x width x RGBA, linear."""
    gimp.run("merged = Gimp.Layer.new_from_visible(image, image, 'merged')")
    data = gimp.raw("merged", "RGBA float", x, y, WIDTH, HEIGHT)
    gimp.run("merged.delete()")
    return np.frombuffer(data, np.float32).reshape(HEIGHT, WIDTH, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["fill", "remove", *once("refine", "generate")])
def test_only_the_selection_changes(
    console: GimpConsole, picture: np.ndarray, mask: np.ndarray, kind: str, command: str
) -> None:
    make(console, picture, kind)
    console.select(mask, *AT)
    before, layer = merged(console), raw(console, kind)
    done = console.get(IN_PLACE[command], timeout=120)
    assert done.get("bounds") == [*AT, 80, 60], done
    assert raw(console, kind) == layer
    after = merged(console)
    selected = np.zeros((HEIGHT, WIDTH), np.uint8)
    selected[AT[1] : AT[1] + 60, AT[0] : AT[0] + 80] = mask
    np.testing.assert_allclose(after[selected == 0], before[selected == 0], rtol=0, atol=rounding(kind))
    difference = np.abs(after - before)[selected == 255, :3]
    assert difference.max() > 0.001
    if command == "remove":  # what is smooth has one right answer, whatever the image's numbers stand for
        assert difference.mean() < 0.03
    alpha = console.pixels("image.get_layers()[0]", 0, 0, 80, 60)[..., 3]
    assert (alpha <= mask).all()
    assert alpha[30, 20] == 255
    if kind != "indexed":  # where a pixel is there or not
        assert ((alpha > 0) & (alpha < 255)).any()
    console.run("image.delete()")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edges", [ALL_SIDES, *once(*(edges for edges in EXTENSIONS if edges != ALL_SIDES))])
def test_extend(console: GimpConsole, picture: np.ndarray, kind: str, edges: str) -> None:
    extend(console, picture, kind, f"{edges}, {PAINTED}", *EXTENSIONS[edges])


@pytest.mark.only("oldest")
@pytest.mark.parametrize("target", TARGETS)
def test_extend_to_a_target(console: GimpConsole, picture: np.ndarray, target: str) -> None:
    """By the fill model."""
    extend(console, picture, "8 bit", target, *TARGETS[target])


@pytest.mark.only("oldest")
def test_extend_beyond_the_models_reach(console: GimpConsole, picture: np.ndarray) -> None:
    """In overlapping passes, each of which goes on where those before have ended: none of the steepest steps from one
    column to the next lies where a pass ends."""
    wide = 500
    added = Bounds(WIDTH, 0, wide, HEIGHT)
    request = EditRequest("outpaint", Size(WIDTH, HEIGHT), Bounds(0, 0, WIDTH, HEIGHT), added)
    plan = plan_edit(request, Source(picture, np.full((HEIGHT, wide), 255, np.uint8)), FILL)
    ends = {plan.crop.x + end for part in plan.tiles for end in (part.left, part.right)} | {WIDTH}
    assert plan.size == plan.crop.size
    assert len(plan.tiles) > 2
    console.new_image(picture)
    done = console.get(f"call('scumble-extend-canvas', image, right={wide})", timeout=240)
    assert done.get("bounds") == list(added), done
    new = console.pixels("image.get_layers()[0]", 0, 0, wide, HEIGHT)
    assert (new[..., 3] == 255).all()
    np.testing.assert_array_equal(console.pixels("image.get_layers()[1]", 0, 0, WIDTH, HEIGHT), picture)
    columns = np.hstack([picture, new])[..., :3].astype(float).mean(axis=0)
    steps = np.abs(np.diff(columns, axis=0)).max(axis=1)
    near = np.array([min(abs(x + 1 - end) for end in ends) <= 3 for x in range(len(steps))])
    assert steps[near].max() < np.percentile(steps[WIDTH:], 97)
    console.run("image.delete()")


def extend(
    console: GimpConsole,
    picture: np.ndarray,
    kind: str,
    arguments: str,
    size: tuple[int, int],
    bounds: list[int],
    shift: tuple[int, int],
) -> None:
    make(console, picture, kind)
    before, layer = merged(console), raw(console, kind)
    done = console.get(f"call('scumble-extend-canvas', image, {arguments})", timeout=120)
    assert done.get("bounds") == bounds, done
    assert console.get("[image.get_width(), image.get_height()]") == list(size)
    assert raw(console, kind) == layer
    assert console.get("list(layer.get_offsets()[1:])") == list(shift)
    np.testing.assert_allclose(merged(console, *shift), before, rtol=0, atol=rounding(kind))
    merged_all = "Gimp.Layer.new_from_visible(image, image, 'all')"
    alpha = np.frombuffer(console.raw(merged_all, "A u8", 0, 0, *size), np.uint8)
    assert (alpha == 255).all()
    console.run("image.delete()")


def make(console: GimpConsole, picture: np.ndarray, kind: str) -> None:
    console.new_image(picture)
    console.run(KINDS[kind].convert)


def raw(console: GimpConsole, kind: str) -> bytes:
    """The values of the layer that was there before."""
    return console.raw("layer", KINDS[kind].raw, 0, 0, WIDTH, HEIGHT)


def rounding(kind: str) -> float:
    """GIMP shows 32 bit integers through floats."""
    return 1e-6 if kind == "32 bit perceptual" else 0


@pytest.mark.only("oldest")
def test_selection_over_transparent_canvas(console: GimpConsole, picture: np.ndarray) -> None:
    """The picture is continued there, and nowhere else."""
    holed = picture.copy()
    holed[:, :48] = 0
    console.new_image(holed)
    console.select(np.full((HEIGHT, 56), 255, np.uint8))
    before = merged(console)
    done = console.get("call('scumble-fill-selection', image)", timeout=120)
    assert done.get("name", "").startswith("Extend"), done
    after = merged(console)
    np.testing.assert_array_equal(after[:, 56:], before[:, 56:])
    assert (after[:, :48, 3] == 1).all()
    console.run("image.delete()")


def test_refine_and_generate(console: GimpConsole, picture: np.ndarray, mask: np.ndarray) -> None:
    console.new_image(picture)
    console.select(mask, *AT)
    refine = (
        "call('scumble-refine', image, model='tiny', prompt='a wall', strength=50.0, steps=1, mask_as='layer-mask')"
    )
    done = console.get(refine, timeout=240)
    assert done.get("bounds") == [*AT, 80, 60], done
    shape = np.frombuffer(console.raw("image.get_layers()[0].get_mask()", "Y u8", 0, 0, 80, 60), np.uint8)
    assert (shape.reshape(60, 80) <= mask).all()
    assert (console.pixels("image.get_layers()[0]", 0, 0, 80, 60)[..., 3] == 255).all()
    console.run("Gimp.Selection.none(image)")
    done = console.get("call('scumble-generate-layer', image, model='TINY', prompt='x', steps=1, count=2)", timeout=240)
    assert done.get("bounds") == [0, 0, WIDTH, HEIGHT], done
    visible = console.get("[layer.get_visible() for layer in image.get_layers()]")
    assert visible == [True, False, True, True]
    note = json.loads(console.run("result = bytes(image.get_layers()[0].get_parasite('scumble').get_data()).decode()"))
    assert (note["index"], note["request"]["mode"], note["request"]["prompt"]) == (0, "txt2img", "x")
    again = console.get("call('scumble-repeat-last', image)", timeout=240)
    assert "error" not in again, again
    assert console.get("len(image.get_layers())") == 6
    console.run("image.delete()")


@pytest.mark.only("oldest")
def test_upscale(console: GimpConsole, picture: np.ndarray) -> None:
    """A picture that is larger, and still the same one."""
    console.new_image(picture[:96, :128])
    upscale = "call('scumble-upscale-image', image, model='tiny', prompt='x', steps=2, strength=10.0, factor=2)"
    done = console.get(upscale, timeout=240)
    assert done.get("bounds") == [0, 0, 256, 192], done
    assert console.get("[image.get_width(), image.get_height(), len(image.get_layers())]") == [256, 192, 2]
    below = console.pixels("image.get_layers()[1]", 0, 0, 256, 192)[::2, ::2, :3].astype(int)
    assert np.abs(below - picture[:96, :128, :3]).mean() < 4
    console.run("image.delete()")


def test_generate_makes_an_image(console: GimpConsole) -> None:
    before = console.get("len(Gimp.get_images())")
    code = "call('scumble-generate-layer', None, model='tiny', prompt='x', steps=1, width=128, height=96)"
    assert console.get(code, timeout=240).get("bounds") == [0, 0, 128, 96]
    assert console.get("len(Gimp.get_images())") == before + 1


def test_active_layer_as_source(console: GimpConsole, picture: np.ndarray, mask: np.ndarray) -> None:
    """What lies above the active layer is neither looked at nor in the way; its own filters are seen."""
    flat = picture.copy()
    flat[..., :3] = (40, 90, 160)
    console.new_image(flat)
    console.run(
        "cover = layer.copy(); image.insert_layer(cover, None, 0); cover.invert(False)\n"
        "image.set_selected_layers([layer])"
    )
    console.select(mask, *AT)
    done = console.get("call('scumble-remove-selection', image, source='layer')", timeout=120)
    assert "error" not in done, done
    inside = console.pixels("image.get_layers()[0]", 20, 35, 10, 10)
    assert np.abs(inside[..., :3].astype(int) - (40, 90, 160)).max() < 20
    console.run(
        "Gimp.Selection.none(image); layer.append_filter(Gimp.DrawableFilter.new(layer, 'gegl:invert-gamma', ''))"
    )
    console.select(mask, *AT)
    console.run("image.set_selected_layers([layer])")
    done = console.get("call('scumble-remove-selection', image, source='layer')", timeout=120)
    assert "error" not in done, done
    inside = console.pixels("image.get_layers()[0]", 20, 35, 10, 10)
    assert np.abs(inside[..., :3].astype(int) - (215, 165, 95)).max() < 20
    console.run("image.delete()")


def test_procedures_are_described(console: GimpConsole) -> None:
    """What GIMP's procedure browser shows: types, ranges and words of each argument."""
    found = console.get(
        "[[name, procedure.get_blurb(), [[a.name, a.value_type.name, a.get_blurb()] for a in procedure.get_arguments()]]"
        " for name in Gimp.get_pdb().query_procedures('^scumble-', *['.*'] * 6, '')"
        " for procedure in [Gimp.get_pdb().lookup_procedure(name)]]"
    )
    assert sorted(name for name, _, _ in found) == sorted(COMMANDS)
    for name, blurb, arguments in found:
        wanted = [argument.name for argument in COMMANDS[name].arguments]
        assert [argument for argument, _, _ in arguments] == ["run-mode", "image", "drawables", *wanted]
        assert blurb
        assert all(words for _, _, words in arguments)
    kinds = {argument: kind for name, _, arguments in found for argument, kind, _ in arguments}
    wanted_kinds = {
        "prompt": "gchararray",
        "strength": "gdouble",
        "seed": "gint",
        "anchor": "gchararray",
        "control": "GimpLayer",
        "control-weight": "gdouble",
        "reference": "GimpLayer",
        "region": "GimpLayer",
        "region-prompt": "gchararray",
        "intent": "gchararray",
        "transparent": "gboolean",
    }
    assert {name: kinds[name] for name in wanted_kinds} == wanted_kinds


def test_what_cannot_be_done_is_said(console: GimpConsole, picture: np.ndarray) -> None:
    console.new_image(picture)
    for code, words in (
        ("call('scumble-fill-selection', image)", "Nothing is selected. Select what to change."),
        ("call('scumble-remove-selection', image)", "Nothing is selected."),
        ("call('scumble-remove-selection', None)", "No image is open."),
        ("call('scumble-extend-canvas', image)", "The canvas does not grow."),
        ("call('scumble-extend-canvas', image, width=20)", "The target is smaller than the picture."),
        ("call('scumble-extend-canvas', image, ratio='wide')", "is no ratio. Write width:height, for instance 16:9."),
        ("call('scumble-generate-layer', image, prompt='x', model='no such')", "There is no model no such. Choose"),
        ("call('scumble-panel', image)", "The panel needs a window."),
        ("call('scumble-panel', image, run_mode=Gimp.RunMode.WITH_LAST_VALS)", "The panel needs a window."),
        ("call('scumble-refine', image, run_mode=Gimp.RunMode.INTERACTIVE)", "There is no window to ask in."),
    ):
        assert words in console.get(code).get("error", ""), code
    assert console.get("len(image.get_layers())") == 1
    console.run("image.delete()")
