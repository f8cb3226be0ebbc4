"""Wildcards are drawn by the seed and never refuse a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble.diffusion.wildcards import draw, read_lists

from .test_prompts import written

LISTS = {
    "colour": ("red", "blue"),
    "thing": ("__colour__ car", "{big|small} dog"),
    "me": ("__me__ again", "__me__ again"),
    "one": ("__two__",),
    "two": ("__one__",),
}


def lists(name: str) -> Sequence[str]:
    return LISTS.get(name, ())


def drawn(text: str, count: int = 400) -> Counter[str]:
    return Counter(draw(text, Random(seed), lists) for seed in range(count))


def test_every_option_is_drawn_about_as_often() -> None:
    counts = drawn("a {red|green|blue} car")
    assert set(counts) == {"a red car", "a green car", "a blue car"}
    assert min(counts.values()) > 90


def test_some_options_are_drawn_more_often() -> None:
    """As the web UI's extension "Dynamic Prompts" has it, in lists too."""
    counts = drawn("{2::red|blue|0::green|0.5:: grey}", 700)
    assert set(counts) == {"red", "blue", " grey"}
    assert counts["red"] > 1.5 * counts["blue"] > 2 * counts[" grey"]
    assert set(drawn("{0::a|0::b}")) == {"a", "b"}
    assert set(drawn(f"{{{'9' * 999}::a|b}}")) == {"a"}
    assert draw("__often__", Random(0), lambda name: ["9::a", "0::b"]) == "a"
    assert set(drawn("2::a {x::a|b::1|c} {3::a}")) == {f"2::a {x} {{3::a}}" for x in ("x::a", "b::1", "c")}


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{a|b}{1|2}", {"a1", "a2", "b1", "b2"}),
        ("{very |}big", {"very big", "big"}),
        ("({red|(blue:1.2)}:1.3)", {"(red:1.3)", "((blue:1.2):1.3)"}),
        ("a __colour__ car", {"a red car", "a blue car"}),
        ("{__colour__|x}", {"red", "blue", "x"}),
        ("__thing__", {"red car", "blue car", "big dog", "small dog"}),
        ("{a # c}|\n|b}", {"a \n", "b"}),
        # text
        ("{word} {} | }", {"{word} {} | }"}),
        ("{a|b", {"{a|b"}),
        ("{a|{b|c}", {"{a|b", "{a|c"}),
        ("{a|b}}", {"a}", "b}"}),
        (r"\{a|b\} {a\|b|a\|b}", {r"\{a|b\} a\|b"}),
        ("__unknown__ ____ __ __../x__", {"__unknown__ ____ __ __../x__"}),
        (r"\__colour__", {r"\__colour__"}),
        ("__me__", {"__me__ again"}),
        ("__one__", {"__one__"}),
    ],
)
def test_what_can_be_drawn(text: str, results: set[str]) -> None:
    assert set(drawn(text)) == results


def test_the_seed_decides_for_all_time() -> None:
    """Drawn once and written down: stored requests repeat themselves with every Python (C3)."""
    assert [draw("{a|b|c|d} {e|f}", Random(f"{seed}")) for seed in range(6)] == [
        "b f", "b e", "c f", "d f", "a e", "b f"
    ]  # fmt: skip


@given(written, st.integers(0, 2**32 - 1))
def test_any_text_can_be_drawn_and_repeats_itself(text: str, seed: int) -> None:
    once = draw(text, Random(seed), lists)
    assert draw(text, Random(seed), lists) == once
    if not set("{}#_") & set(text):
        assert once == text


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["{" * 8000, "{" * 4000 + "|}" * 4000, "{a|" * 2000 + "b" + "}" * 2000, "_" * 8000])
def test_no_text_takes_long(text: str) -> None:
    draw(text, Random(0), lists)


def test_a_chain_of_lists_ends() -> None:
    asked: list[str] = []

    def endless(name: str) -> Sequence[str]:
        asked.append(name)
        return (f"__{name}x__",)

    result = draw("__a__", Random(0), endless)
    assert result == f"__a{'x' * len(asked)}__"
    assert 1 < len(asked) < 100


def test_lists_are_text_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "colour.txt").write_bytes("\ufeffred\r\n\n# a comment\n  blue # sky\n\\#fff\n".encode())
    (tmp_path / "broken.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "folder.txt").mkdir()
    read = read_lists(tmp_path)
    assert read("colour") == ["red", "blue", "\\#fff"]
    assert read("broken") == ["caf\ufffd"]
    assert read("folder") == read("unknown") == ()
    (tmp_path / "colour.txt").write_text("green")  # taken up at once
    assert read("colour") == ["green"]


def test_lists_may_lie_in_folders(tmp_path: Path) -> None:
    """As with the web UI's extension: by their way from the folder of wildcards, and by no other."""
    for name in ("colour", "clothes/hat", "clothes/winter/hat-2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(f"a {name.replace('/', ' ')}")
    read = read_lists(tmp_path)
    text = "__clothes/hat__, __clothes/winter/hat-2__, __colour__"
    assert draw(text, Random(0), read) == "a clothes hat, a clothes winter hat-2, a colour"
    for text in (
        "__hat__",
        "__/clothes/hat__",
        "__clothes/__",
        "__clothes//hat__",
        "__winter/hat-2__",
        "__clothes/hat/__",
    ):
        assert draw(text, Random(0), read) == text


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "wildcards"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    read = read_lists(folder)
    assert all(
        read(name) == () for name in ("../secret", "wildcards/../../secret", str(tmp_path / "secret"), "*", "..", "")
    )


def test_without_a_folder_all_lists_are_empty(tmp_path: Path) -> None:
    assert read_lists(None)("colour") == ()
    assert read_lists(tmp_path / "not there")("colour") == ()
