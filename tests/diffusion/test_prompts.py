"""The grammar of prompts: a table of what artists write, and that no text at all is refused."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scumble.diffusion.prompts import MAX_LORA, MAX_WEIGHT, Fragment, Lora, Prompt, parse
from scumble.protocol.errors import BadRequest
from scumble.protocol.messages import LoraUse

GRAMMAR = "\\()[]{}|<>#:_"
written = st.lists(
    st.sampled_from([*GRAMMAR, "a", "red ", "\n", ":1.3)", ":-.5)", " BREAK ", "<lora:x:0.8>", "__a__", "\\("])
    | st.text()
).map("".join)
words = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "BREAK" not in text)


def escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in GRAMMAR else letter for letter in text)


def read(text: str) -> list[tuple[str, float]]:
    """The fragments of a prompt of one section."""
    (section,) = parse(text).sections
    return [(fragment.text, pytest.approx(fragment.weight)) for fragment in section]


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", []),
        ("a red circle, 16:9", [("a red circle, 16:9", 1)]),
        ("(red dress:1.3)", [("red dress", 1.3)]),
        ("a (red) dress", [("a ", 1), ("red", 1.1), (" dress", 1)]),
        ("a [red] dress", [("a ", 1), ("red", 1 / 1.1), (" dress", 1)]),
        ("((a)) (((b)))", [("a", 1.21), (" ", 1), ("b", 1.331)]),
        ("[[a]]", [("a", 1 / 1.21)]),
        ("(a (b:1.5) c:2)", [("a ", 2), ("b", 3), (" c", 2)]),
        ("([a])", [("a", 1)]),
        ("(a)(b)", [("ab", 1.1)]),
        ("(a: 1.3 )(b:.5)(c:2.)(d:-1)(e:+1)(f:0)", [("a", 1.3), ("b", 0.5), ("c", 2), ("d", -1), ("e", 1), ("f", 0)]),
        ("(a:b:1.3)", [("a:b", 1.3)]),
        ("[a:1.3]", [("a:1.3", 1 / 1.1)]),  # a weight needs round brackets
        ("(a\nb:1.3)", [("a\nb", 1.3)]),
        (r"\(a\) \[b\] \\ \: \# \_ \{ \| \} \< \>", [("(a) [b] \\ : # _ { | } < >", 1)]),
        (r"hatsune miku \(vocaloid\)", [("hatsune miku (vocaloid)", 1)]),
        (r"(rock \(music\):1.2)", [("rock (music)", 1.2)]),
        (r"(a\:1.3)", [("a:1.3", 1.1)]),
        # comments
        ("a # not this (b:2)\nc", [("a \nc", 1)]),
        ("# nothing", []),
        ("(a # ) still open\n:1.5)", [("a \n", 1.5)]),
        # what is malformed is text
        (":) a b :(", [(":) a b :(", 1)]),
        ("(unbalanced", [("(unbalanced", 1)]),
        ("((a)", [("(", 1), ("a", 1.1)]),
        ("(a))", [("a", 1.1), (")", 1)]),
        ("(a [b:1.3)", [("a [b", 1.3)]),
        ("[a (b]", [("a (b", 1 / 1.1)]),
        ("([a)]", [("[a", 1.1), ("]", 1)]),
        ("a:1.3) b", [("a:1.3) b", 1)]),
        ("(a:)(b:1.2.3)(c:1e3)(d:nan)(e:\u0663)", [("a:b:1.2.3c:1e3d:nane:\u0663", 1.1)]),
        ("() [] (:2)", []),
        ("a\\b \\", [("a\\b \\", 1)]),
        ("BREAKFAST break", [("BREAKFAST break", 1)]),
        ("<lora> <lora:> <lora: :1> <lora:a:b> <lora:a:1", [("<lora> <lora:> <lora: :1> <lora:a:b> <lora:a:1", 1)]),
    ],
)
def test_what_artists_write(text: str, fragments: list[tuple[str, float]]) -> None:
    assert read(text) == fragments
    assert parse(text).loras == ()


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("a BREAK b", [[("a ", 1)], [(" b", 1)]]),
        ("(a BREAK b:2) c", [[("a ", 2)], [(" b", 2), (" c", 1)]]),
        ("a\nBREAK\nb BREAK BREAK c", [[("a\n", 1)], [("\nb ", 1)], [(" c", 1)]]),
        (" BREAK a BREAK", [[(" a ", 1)]]),
        ("BREAK", [[]]),
    ],
)
def test_break_begins_a_section(text: str, sections: list[list[tuple[str, float]]]) -> None:
    expected = tuple(tuple(Fragment(words, weight) for words, weight in section) for section in sections)
    assert parse(text) == Prompt(expected)


def test_loras_are_taken_out_of_the_text() -> None:
    prompt = parse(r"a <lora:Some Style (v1.0)-x:0.8>cat <lora:b> (<lora:c:-1.5>dog:1.2) \<lora:d:1> # <lora:e:1>")
    assert prompt.loras == (Lora("Some Style (v1.0)-x", 0.8, 0.8), Lora("b", 1.0, 1.0), Lora("c", -1.5, -1.5))
    assert prompt.sections == (
        (Fragment("a cat  "), Fragment("dog", 1.2), Fragment(" <lora:d:1> ")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "weight", "text"),
    [
        ("<lora:x:0.8:0.6>", 0.6, 0.8),
        ("<lora:x:0:1>", 1.0, 0.0),
        ("<lora:x:te=0.8:unet=0.6>", 0.6, 0.8),
        ("<lora:x:0.8:unet=0.6>", 0.6, 0.8),
        ("<lora:x:unet=0.6>", 0.6, 1.0),
        ("<lyco:x:0.8:0.6>", 0.6, 0.8),  # an earlier name of the same
        # what extensions write
        ("<lora:x:0.8:lbw=IN02>", 0.8, 0.8),
        ("<lora:x:0.8:0.6:lbw=1,0,0.5,1:stop=10>", 0.6, 0.8),
        ("<lora:x:0.8:0.6:8>", 0.6, 0.8),
        ("<lora:x:0.8:IN02>", 0.8, 0.8),
        ("<lora:x:lbw=IN02>", 1.0, 1.0),
        ("<lora:x:400>", 10.0, 10.0),
        ("<lora:x:-400:20>", 10.0, -10.0),
    ],
)
def test_weights_of_a_lora(written: str, weight: float, text: str) -> None:
    assert parse(f"a cat{written}") == Prompt(((Fragment("a cat"),),), (Lora("x", weight, text),))


@pytest.mark.parametrize("text", ["<lora:x:strong>", "<lora: :1>", "<lora:>", "<lora:x:>", "<lora:x:0.8:>"])
def test_what_only_looks_like_a_lora_is_text(text: str) -> None:
    assert parse(text) == Prompt(((Fragment(text),),))


def test_a_prompt_may_ask_for_as_much_of_a_lora_as_a_request() -> None:
    LoraUse("x", MAX_LORA)
    with pytest.raises(BadRequest):
        LoraUse("x", MAX_LORA + 0.1)


def check(text: str) -> None:
    """What holds for any prompt."""
    prompt = parse(text)
    assert prompt.sections
    for section in prompt.sections:
        assert all(fragment.text for fragment in section)
        assert all(one.weight != other.weight for one, other in itertools.pairwise(section))
    weights = [fragment.weight for section in prompt.sections for fragment in section]
    assert all(math.isfinite(weight) and abs(weight) <= MAX_WEIGHT for weight in weights)


@given(written)
def test_any_text_is_a_prompt(text: str) -> None:
    check(text)


@given(words)
def test_text_without_grammar_and_text_escaped_is_itself(text: str) -> None:
    plain = "x" + "".join(letter for letter in text if letter not in GRAMMAR)
    assume("BREAK" not in plain)
    assert parse(plain) == Prompt(((Fragment(plain),),))
    assert parse(escaped(text) + "x") == Prompt(((Fragment(text + "x"),),))


@given(st.lists(st.lists(st.tuples(words, st.floats(-99, 99)), min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_is_written_is_read_again(sections: list[list[tuple[str, float]]]) -> None:
    text = "BREAK".join("".join(f"({escaped(part)}x:{weight:.3f})" for part, weight in section) for section in sections)
    expected = []
    for section in sections:
        merged: list[tuple[str, float]] = []
        for part, weight in section:
            rounded = float(f"{weight:.3f}")
            if merged and merged[-1][1] == rounded:
                merged[-1] = (f"{merged[-1][0]}{part}x", rounded)
            else:
                merged.append((f"{part}x", rounded))
        expected.append(tuple(Fragment(part, weight) for part, weight in merged))
    assert parse(text) == Prompt(tuple(expected))


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text",
    [
        "(" * 8000,
        "(" * 4000 + "a" + ")" * 4000,
        "([" * 4000,
        "(" * 99 + "a" + f":{'9' * 999})" * 99,
        f"((a:0):{'9' * 999})",
        ":" + "1" * 8000,
        ": " * 4000,
        "<lora:" * 1300,
        "\\" * 8001,
    ],
)
def test_no_text_takes_long_or_leaves_the_range(text: str) -> None:
    check(text)
