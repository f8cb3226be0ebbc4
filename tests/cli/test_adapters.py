"""LoRAs, controls and references from the shell, up to the request that the backend got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scumble import cli
from scumble.cli.picture import PictureDocument
from scumble.protocol.errors import BadRequest
from scumble.protocol.geometry import Bounds

from tests.models.files import write_lora

from .test_command_line import backend, edit, here

__all__ = ["backend", "here"]  # fixtures

TXT2IMG = ["txt2img", "--width", "64", "--height", "48", "--prompt", "a cat", "-o", "out.png", "--json"]


def requested(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert edit(*TXT2IMG, *words) == 0
    request: dict[str, Any] = json.loads(capsys.readouterr().out)["request"]
    return request


def test_loras_are_named_by_name_or_id(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = requested(capsys, "--lora", "INK:0.5", "--lora", "lora-1:-1", "--lora", "ink")
    assert request["loras"] == [{"id": "lora-1", "weight": weight} for weight in (0.5, -1.0, 1.0)]


def test_each_control_has_the_options_that_follow_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("lines.png", "other.png"):
        Image.new("RGB", (64, 48), "white").save(name)
    first = ["--control", "lines.png", "--control-model", "edges", "--control-preprocessor", "canny"]
    second = [
        "--control",
        "other.png",
        "--control-weight",
        "0.5",
        "--control-model",
        "control-1",
        "--control-end",
        "0.6",
    ]
    request = requested(capsys, *first, *second)
    place = {"id": "control-1", "image": [0, 0, 64, 48], "start": 0.0}
    assert request["controls"] == [
        {**place, "preprocessor": "canny", "weight": 1.0, "end": 1.0},
        {**place, "preprocessor": "none", "weight": 0.5, "end": 0.6},
    ]


def test_a_fill_sends_the_part_of_the_control_that_it_needs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (400, 300), "white").save("lines.png")
    command = ["inpaint", "photo.png", "--mask", "mask.png", "--prompt", "a cat", "-o", "out.png", "--json"]
    assert edit(*command, "--control", "lines.png", "--control-model", "edges") == 0
    request = json.loads(capsys.readouterr().out)["request"]
    assert request["controls"][0]["image"] == request["image"]


def test_each_reference_has_the_options_that_follow_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture of any size, and some of it may be transparent."""
    Image.new("RGBA", (30, 500), (255, 0, 0, 128)).save("look.png")
    first = ["--reference", "look.png", "--reference-adapter", "LOOK", "--reference-weight", "0.6"]
    second = ["--reference", "photo.png", "--reference-adapter", "reference-1", "--reference-end", "0.5"]
    request = requested(capsys, *first, *second)
    assert request["references"] == [
        {"id": "reference-1", "size": [30, 500], "weight": 0.6, "start": 0.0, "end": 1.0},
        {"id": "reference-1", "size": [400, 300], "weight": 1.0, "start": 0.0, "end": 0.5},
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--lora", "nowhere"], 4, "no LoRA with the name nowhere"),
        (["--lora", "edges"], 4, "no LoRA with the name edges"),
        (["--lora", "ink:11"], 2, "weight of a LoRA"),
        (["--control", "photo.png", "--control-model", "nowhere"], 4, "no ControlNet with the name nowhere"),
        (["--control", "photo.png"], 2, "--control-model"),
        (["--control", "photo.png", "--control-model", "edges"], 2, "400 x 300 pixels and the picture 64 x 48"),
        (["--control", "gone.png", "--control-model", "edges"], 2, "gone.png"),
        (["--control", "mask.png", "--control-model", "edges", "--control-start", "1"], 2, "ends before it starts"),
        (["--reference", "photo.png"], 2, "--reference-adapter"),
        (["--reference", "photo.png", "--reference-adapter", "edges"], 4, "no IP-Adapter with the name edges"),
        (["--reference", "gone.png", "--reference-adapter", "look"], 2, "gone.png"),
        (["--model", "ink.safetensors"], 2, "ink is no model"),
    ],
)
def test_what_cannot_be_is_one_plain_sentence(
    words: list[str], code: int, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lora(here / "ink.safetensors")
    assert edit(*TXT2IMG, *words) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_an_option_of_no_control_is_bad_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*TXT2IMG, "--control-weight", "1"])
    assert ended.value.code == 2
    assert "needs a --control FILE before it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*TXT2IMG, "--control", "a.png", "--reference-weight", "1"])
    assert "needs a --reference FILE before it" in capsys.readouterr().err


def test_a_layer_of_a_picture_is_another_picture_of_its_size(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6), "red").save(tmp_path / "red.png")
    Image.new("RGB", (8, 7), "red").save(tmp_path / "tall.png")
    document = PictureDocument(Image.new("RGB", (8, 6)))
    assert document.read_layer(str(tmp_path / "red.png"), Bounds(2, 1, 3, 2)) == b"\xff\0\0\xff" * 6
    with pytest.raises(BadRequest, match="8 x 7"):
        document.read_layer(str(tmp_path / "tall.png"), Bounds(0, 0, 1, 1))
