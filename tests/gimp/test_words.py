"""What the artist reads."""

from __future__ import annotations

from typing import get_args

import pytest
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Mode, ModelInfo, Progress
from scumble_gimp.words import (
    BUTTONS,
    DEEDS,
    apart,
    automatic,
    command_in,
    deed_of,
    error_words,
    fraction,
    models_words,
    progress_words,
    shortened,
    situation_words,
    time_words,
)

JOB = "0" * 32


def model(kind: str) -> ModelInfo:
    return ModelInfo("id", "name", kind, "family", False, 512, 1)  # type: ignore[arg-type]


def test_progress() -> None:
    assert progress_words(Progress(JOB, "denoising", 3, 20, 12.4)) == "Painting, 12 s left"
    assert progress_words(Progress(JOB, "loading", 0, 0)) == "Loading the model..."
    assert fraction(Progress(JOB, "denoising", 5, 20)) == 0.25
    assert fraction(Progress(JOB, "queued", 0, 0)) == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, ""), (0.2, "1 s"), (89, "89 s"), (150, "2 min"), (7200, "2.0 h")]
)
def test_times(seconds: float, words: str) -> None:
    assert time_words(seconds) == words


def test_situation() -> None:
    canvas, selected = Size(320, 256), Bounds(1, 2, 80, 60)
    assert situation_words("fill", selected, canvas) == "Fill the selection (80 \u00d7 60 px)"
    assert situation_words("img2img", None, canvas) == "Repaint the whole picture (320 \u00d7 256 px)"
    assert situation_words("outpaint", None, canvas) == "Continue the picture into the empty area"


def test_every_deed_has_its_words() -> None:
    assert set(DEEDS) == {*get_args(Mode), "add"}
    assert set(BUTTONS) == set(DEEDS) - {"upscale"}
    assert DEEDS["upscale"] == "Upscale the picture"
    assert deed_of("fill", "add") == "add"
    # Where what is there is the start, or nothing is selected, there is nothing to start from grey.
    assert (deed_of("refine", "add"), deed_of("txt2img", "add"), deed_of("remove", "remove")) == (
        *("refine", "txt2img"),
        "remove",
    )


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("", "", "ink"),
        ("a cat in", " at night", " ink"),
        ("(", ":1.2)", "ink"),
        ("a cat, ", "oil", "ink "),
        ("a", "b", " ink "),
    ],
)
def test_words_are_put_in_apart(before: str, after: str, word: str) -> None:
    assert apart(before, "ink", after) == word


def test_models() -> None:
    assert "scumble models add" in models_words([])
    assert models_words([model("fill")]).startswith("Ready. Prompts need a Stable Diffusion model")
    assert models_words([model("fill"), model("diffusion")]) == "Ready."


def test_long_names_lose_their_middle() -> None:
    name = "0123456789" * 6
    assert shortened(name, 60) == name
    assert shortened(name + "x", 60) == f"{name[:30]}\u2026{name[-28:]}x"
    assert len(shortened(3 * name, 60)) == len(shortened(3 * name, 61)) - 1 == 60


def test_what_is_left_open_says_what_it_comes_to() -> None:
    assert automatic() == automatic(0.0) == automatic("") == "Automatic"
    assert automatic(20) == "Automatic (20)"
    assert (automatic(7.0), automatic(1.5)) == ("Automatic (7)", "Automatic (1.5)")
    assert automatic("euler_a") == "Automatic (Euler a)"


def test_errors_name_a_command_to_copy() -> None:
    words = error_words(BadRequest("It is not there.", "Run: python3 packaging/install.py"))
    assert words == "It is not there. Run: python3 packaging/install.py"
    assert command_in(words) == "python3 packaging/install.py"
    assert command_in("Start the backend with: scumble serve") == "scumble serve"
    assert command_in("Add its file with: scumble models add, or take it out of the prompt.") == "scumble models add"
    assert (
        command_in("Most need: scumble models pull image-encoder; or add the folder.")
        == "scumble models pull image-encoder"
    )
    assert command_in("Is the program stopped: yes. Run: scumble doctor.") == "scumble doctor"
    assert command_in("Select a smaller area.") == ""
    assert command_in("One thing: another") == ""
