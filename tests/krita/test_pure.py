"""Weights, ratios, words, forms: pure functions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "marked", "up", "expected"),
    [
        ("a red dress", "red dress", True, "a (red dress:1.1)"),
        ("a (red dress:1.1)", "red dress", True, "a (red dress:1.2)"),
        ("a (red dress:1.1)", "red dress", False, "a red dress"),
        ("a (red dress)", "red dress", True, "a (red dress:1.2)"),
        ("a red dress ", "dress ", False, "a red (dress:0.9) "),
        ("(a:2)", "a", True, "(a:2)"),
        ("(a:0.1)", "a", False, "(a:0.1)"),
        ("(a) b", "(a) b", True, "(a) b"),
    ],
)
def test_weight_of_the_marked_words(text: str, marked: str, up: bool, expected: str) -> None:
    from scumble_krita.weights import reweight

    start = text.index(marked)
    changed, first, last = reweight(text, start, start + len(marked), up)
    assert changed == expected
    if changed != text:
        assert changed[first:last] == marked.strip()


@pytest.mark.parametrize(
    ("text", "up", "expected"),
    [
        ("a <lora:ink b:0.8>, x", True, "a <lora:ink b:0.9>, x"),
        ("<lora:ink b>", False, "<lora:ink b:0.9>"),
        ("(x <lora:ink b:te=0.5:unet=1>:1.2)", True, "(x <lora:ink b:te=0.6:unet=1.1>:1.2)"),
        ("<lora:ink b:0:lbw=1,0>", False, "<lora:ink b:-0.1:lbw=1,0>"),
    ],
)
def test_a_lora_has_weights_of_its_own(text: str, up: bool, expected: str) -> None:
    from scumble_krita.weights import reweight

    for place in (text.index("<"), text.index("ink"), text.index(">") + 1):
        changed, first, last = reweight(text, place, place, up)
        assert (changed, changed[first:last]) == (expected, "ink b")


def test_nothing_marked_means_the_word_at_the_cursor() -> None:
    from scumble_krita.weights import reweight

    assert reweight("a red dress", 4, 4, True) == ("a (red:1.1) dress", 3, 6)
    assert reweight("", 0, 0, True) == ("", 0, 0)


@given(st.text(alphabet="ab (:1.)", max_size=20), st.data())
def test_any_text_and_mark_gives_a_text(text: str, data: st.DataObject) -> None:
    from scumble_krita.weights import reweight

    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    changed, first, last = reweight(text, start, end, True)
    assert 0 <= first <= last <= len(changed)


@given(st.text(alphabet="a \u00e9\u6f22\U0001f338", max_size=20), st.data())
def test_places_are_told_to_qt_as_it_counts_them(text: str, data: st.DataObject) -> None:
    from scumble_krita.weights import from_qt, to_qt

    place = data.draw(st.integers(0, len(text)))
    assert to_qt(text, place) == len(text[:place].encode("utf-16-le")) // 2
    assert from_qt(text, to_qt(text, place)) == place


@pytest.mark.parametrize(
    ("text", "marked", "expected"),
    [
        ("", "", "ink"),
        ("a cat", "", "a cat ink"),
        ("a cat, ", "", "a cat, ink"),
        ("a cat", "cat", "a ink"),
        ("(a cat:1.2)", "cat", "(a ink:1.2)"),
        ("(cat)", "cat", "(ink)"),
        ("cats", "cat", "ink s"),
        ("{cat|dog}", "cat", "{ink|dog}"),
    ],
)
def test_a_word_is_put_in_apart_from_its_neighbours(text: str, marked: str, expected: str) -> None:
    from scumble_krita.weights import put_in

    start = text.index(marked) if marked else len(text)
    changed, place = put_in(text, start, start + len(marked), "ink")
    assert changed == expected
    assert changed[:place].endswith("ink")


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 16), st.integers(1, 16))
def test_a_ratio_is_reached_by_growing_alone(width: int, height: int, across: int, down: int) -> None:
    from scumble_krita.extend import edges_for_ratio

    left, top, right, bottom = edges_for_ratio(width, height, across, down)
    assert min(left, top, right, bottom) >= 0
    assert left + right == 0 or top + bottom == 0
    wide, high = width + left + right, height + top + bottom
    assert abs(wide * down - high * across) < max(across, down)


def test_progress_in_words() -> None:
    from scumble_krita import words

    assert words.progress("denoising", 3, 20, 41.6) == "Painting 3/20, 42 s left"
    assert words.progress("queued", 0, 0, None, 2) == "Waiting: 2 before it"
    assert words.progress("loading", 0, 0, None) == "Loading the model"
    assert words.progress("cancelling", 3, 20, 41.6) == "Cancelling"
    assert words.progress("waiting", 3, 20, 41.6) == "Waiting for the backend"
    assert [words.duration(seconds) for seconds in (0.2, 89, 150, 7300)] == ["0 s", "89 s", "2 min", "2 h"]


def test_a_form_comes_back_from_what_was_stored() -> None:
    from scumble_krita.form import Form, form_of, split

    form = Form(prompt="a cat", strength=40, seed=7, seed_locked=True, steps=12, model="m")
    mine, common = split(form)
    assert mine["prompt"] == "a cat"
    assert common["steps"] == 12
    assert form_of(mine, form_of(common)) == form
    assert form_of({"prompt": 3, "strength": "x", "new": 1}) == Form()


def test_a_form_leaves_open_what_is_automatic() -> None:
    from scumble_krita.form import Form
    from scumble_krita.lib.scumble.client.editor import EditSettings

    assert EditSettings(**Form().to_settings()) == EditSettings()
    assert EditSettings(**Form(seed=5).to_settings()).seed is None
    chosen = EditSettings(**Form(resolution=768, clip_skip=2).to_settings())
    assert (chosen.resolution, chosen.clip_skip) == (768, 2)
    assert EditSettings(**Form(seed=5, seed_locked=True, strength=50).to_settings()).strength == 0.5


def test_rows_come_back_from_what_was_stored() -> None:
    import json

    from scumble_krita.added import ControlRow, LoraRow, ReferenceRow, RegionRow
    from scumble_krita.form import Form, form_of, split

    form = Form(
        loras=(LoraRow("l", 0.5),),
        controls=(ControlRow("c", "{7}", "lineart", 1.5, 10, 80),),
        references=(ReferenceRow("r", "{8}", 0.5, 5, 60),),
        regions=(RegionRow("a star", "{9}"), RegionRow()),
        transparent=True,
    )
    mine, _ = split(form)
    assert form_of(json.loads(json.dumps(mine))) == form
    damaged = {
        "loras": [["l", 1.0], ["l", "1"], ["l"], 3],
        "controls": [["c", "", "canny", 1.0, 0.5, 100], None],
        "references": [["r", "", "canny", 1.0, 0, 100]],
        "regions": [["a star", 9], ["a star", "{9}"]],
        "transparent": "yes",
    }
    assert form_of(damaged) == Form(loras=(LoraRow("l", 1.0),), regions=(RegionRow("a star", "{9}"),))
    assert form_of({"loras": 3, "controls": "x", "references": None, "regions": {}}) == Form()
    assert form_of({"prompt": "by a version without them"}, form) == replace(form, prompt="by a version without them")


def test_to_another_document_go_the_rows_that_need_no_layer() -> None:
    from scumble_krita.added import ControlRow, LoraRow, ReferenceRow, RegionRow
    from scumble_krita.form import Form, without_layers

    form = Form(
        prompt="a barn",
        loras=(LoraRow("l"),),
        controls=(ControlRow("c"), ControlRow("d", "{7}")),
        references=(ReferenceRow("s", "{7}"), ReferenceRow("r")),
        regions=(RegionRow("a star", "{7}"), RegionRow("a house")),
    )
    assert without_layers(form) == replace(
        form, controls=(ControlRow("c"),), references=(ReferenceRow("r"),), regions=(RegionRow("a house"),)
    )


def test_rows_without_a_choice_are_left_out() -> None:
    from scumble_krita.added import ControlRow, LoraRow, ReferenceRow, RegionRow
    from scumble_krita.form import Form
    from scumble_krita.lib.scumble.client.editor import ControlLayer, EditSettings, ReferenceLayer, RegionLayer
    from scumble_krita.lib.scumble.protocol.messages import LoraUse

    rows = Form(
        loras=(LoraRow(), LoraRow("l", -0.5)),
        controls=(ControlRow(), ControlRow("c"), ControlRow("d", "{7}", "none", 0.5, 20, 90)),
        references=(ReferenceRow(layer="{7}"), ReferenceRow("r"), ReferenceRow("s", "{7}", 0.5, 20, 90)),
        regions=(RegionRow("a star"), RegionRow(" ", "{7}"), RegionRow("a star", "{7}")),
    )
    settings = EditSettings(**rows.to_settings())
    assert settings.loras == (LoraUse("l", -0.5),)
    assert settings.controls == (
        ControlLayer("c", None, "canny", 1.0, 0.0, 1.0),
        ControlLayer("d", "{7}", "none", 0.5, 0.2, 0.9),
    )
    assert settings.references == (ReferenceLayer("r"), ReferenceLayer("s", "{7}", 0.5, 0.2, 0.9))
    assert settings.regions == (RegionLayer("a star", "{7}"),)


@pytest.mark.parametrize(
    ("chosen", "mode", "intent"),
    [("", None, "fill"), ("fill", "fill", "fill"), ("add", "fill", "add"), ("remove", "remove", "remove")],
)
def test_what_is_chosen_as_the_mode_may_be_an_intent(chosen: str, mode: str | None, intent: str) -> None:
    from scumble_krita.form import Form
    from scumble_krita.lib.scumble.client.editor import EditSettings

    settings = EditSettings(**Form(mode=chosen).to_settings())
    assert (settings.mode, settings.intent) == (mode, intent)


def test_all_that_can_be_chosen_has_a_name_for_artists() -> None:
    from typing import get_args

    from scumble_krita.lib.scumble.protocol.messages import Mode
    from scumble_krita.words import MODES

    assert set(MODES) == {*get_args(Mode), "add"}


def test_a_request_is_repeated_with_what_was_added_and_meant() -> None:
    from scumble_krita.added import NOT_FOUND, ControlRow, LoraRow, ReferenceRow, RegionRow
    from scumble_krita.form import Form, form_of_request
    from scumble_krita.lib.scumble.protocol.geometry import Bounds, Size
    from scumble_krita.lib.scumble.protocol.messages import Control, EditRequest, LoraUse, Reference, Region

    area = Bounds(0, 0, 8, 8)
    request = EditRequest(
        "fill", area.size, area, area, prompt="a cat", seed=5, prefill="neutral", transparent=True,
        loras=(LoraUse("l", 0.5),),
        controls=(Control("c", area, "canny", 0.5, 0.1, 0.9), Control("c", area)),
        references=(Reference("r", Size(4, 4), 0.7, 0.0, 0.55), Reference("s", Size(4, 4))),
        regions=(Region("a star", area), Region("a moon", area)),
    )  # fmt: skip
    assert form_of_request(request, Form()) == Form(
        prompt="a cat", mode="add", seed=5, seed_locked=True, transparent=True,
        loras=(LoraRow("l", 0.5),),
        controls=(ControlRow("c", NOT_FOUND, "canny", 0.5, 10, 90), ControlRow("c", NOT_FOUND, "none")),
        references=(ReferenceRow("r", NOT_FOUND, 0.7, 0, 55), ReferenceRow("s", NOT_FOUND)),
        regions=(RegionRow("a star", NOT_FOUND), RegionRow("a moon", NOT_FOUND)),
    )  # fmt: skip
    shown = Form(
        controls=(ControlRow("c", "{1}", "blur"), ControlRow("other", "{2}"), ControlRow("c", "{3}")),
        references=(ReferenceRow("s"),),
        regions=(RegionRow("a moon", "{4}"), RegionRow("a lake", "{5}")),
    )
    again = form_of_request(request, shown)
    assert [row.layer for row in again.controls] == ["{1}", "{3}"]
    assert [row.preprocessor for row in again.controls] == ["canny", "none"]
    assert [row.layer for row in again.references] == [NOT_FOUND, ""]
    assert [row.layer for row in again.regions] == [NOT_FOUND, "{4}"]
    plain = form_of_request(EditRequest("refine", area.size, area, area, prefill="neutral"), shown)
    assert (plain.mode, plain.transparent, plain.controls, plain.references, plain.regions) == (
        "refine",
        False,
        (),
        (),
        (),
    )


def test_an_extension_by_numbers_comes_back_as_numbers() -> None:
    """As a mode it would ask for a selection."""
    from scumble_krita.extend import edges_of_request
    from scumble_krita.form import Form, form_of_request
    from scumble_krita.lib.scumble.protocol.geometry import Bounds, Size
    from scumble_krita.lib.scumble.protocol.messages import EditRequest

    canvas = Bounds(0, 0, 8, 8)
    grown = EditRequest("outpaint", Size(8, 8), canvas, Bounds(-3, 0, 11, 9), strength=1.0)
    assert edges_of_request(grown) == (3, 0, 0, 1)
    assert form_of_request(grown, Form(mode="refine")).mode == ""
    inside = EditRequest("outpaint", Size(8, 8), canvas, Bounds(2, 0, 6, 8))
    assert edges_of_request(inside) == (0, 0, 0, 0)
    assert form_of_request(inside, Form()).mode == "outpaint"
    assert edges_of_request(EditRequest("img2img", Size(8, 8), canvas)) == (0, 0, 0, 0)


def test_every_preprocessor_has_a_name_for_artists() -> None:
    from typing import get_args

    from scumble_krita.added import PREPROCESSORS
    from scumble_krita.lib.scumble.protocol.messages import Preprocessor

    assert set(PREPROCESSORS) == set(get_args(Preprocessor))


def test_an_upscale_has_a_model_and_a_strength_of_its_own_and_comes_back_from_history() -> None:
    from scumble_krita.form import Form, form_of_request
    from scumble_krita.lib.scumble.client.editor import EditSettings
    from scumble_krita.lib.scumble.protocol.geometry import Bounds, Size
    from scumble_krita.lib.scumble.protocol.messages import EditRequest

    form = Form(model="m", strength=80, factor=4, upscale_model="u", upscale_strength=25)
    settings = EditSettings(**form.upscaling.to_settings())
    assert (settings.mode, settings.model, settings.strength, settings.factor) == ("upscale", "u", 0.25, 4)
    request = EditRequest("upscale", Size(8, 8), Bounds(0, 0, 8, 8), model="w", strength=0.3, factor=3, seed=5)
    again = form_of_request(request, form)
    assert (again.upscale_model, again.upscale_strength, again.factor, again.seed) == ("w", 30, 3, 5)
    assert (again.mode, again.model, again.strength) == ("", "m", 80)


def test_only_srgb_of_eight_bits_is_plain() -> None:
    from scumble_krita.pixels import PLAIN, SRGB, Space

    assert PLAIN.is_plain
    for space in (Space("RGBA", "U8", "WideGamut.icc"), Space("RGBA", "U16", SRGB), Space("GRAYA", "U8", SRGB)):
        assert not space.is_plain


@given(st.integers(-50, 50), st.integers(1, 500))
def test_rows_that_are_looked_at_reach_from_the_first_to_the_last(top: int, height: int) -> None:
    from scumble_krita.lib.scumble.protocol.geometry import Bounds
    from scumble_krita.pixels import SAMPLES, spread

    bounds = Bounds(3, top, 9, height)
    rows = spread(bounds)
    assert (rows[0].top, rows[-1].bottom) == (bounds.top, bounds.bottom)
    assert all(bounds.contains(row) and row.size == (9, 1) for row in rows)
    assert len(set(rows)) == len(rows) == min(height, SAMPLES)
