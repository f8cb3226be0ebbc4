r"""The grammar of prompts, as artists know it from Stable Diffusion web UI (AUTOMATIC1111). Pure; imports no torch.

    (word)          weight 1.1                (word:1.3)   weight 1.3
    [word]          weight 1 / 1.1            nested brackets multiply
    BREAK           what follows starts a new chunk of 75 tokens
    # words         a comment, to the end of the line
    <lora:name:0.8> an adapter with its weight (1 where none is named); taken out of the text. <lora:name:0.8:0.6>, or
                    <lora:name:te=0.8:unet=0.6>: one for the text encoders, another for the denoiser. What else stands
                    there (weights of blocks, of extensions) goes with it. <lyco:...> is the same
    \( \) \[ ...    the character itself; so before any of \ ( ) [ ] { } | < > # : _

Wildcards (`wildcards.draw`) are drawn before. Whatever is not of this grammar is text: a bracket without its partner, too
(there the web UI would weight the rest of the prompt, so that a smiley changes a picture). Every text is a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ROUND, SQUARE = 1.1, 1 / 1.1
MAX_WEIGHT = 100.0
"""Weights are cut here, so that no number of brackets leaves the range of any number format."""
MAX_LORA = 10.0
"""Those of LoRAs here, as in requests (`messages.LoraUse`)."""

ESCAPE = r"\\[\\()\[\]{}|<>#:_]"
"""A regular expression for a character that stands for itself."""

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_COMMENT = re.compile(rf"({ESCAPE})|#[^\n]*")
_LORA = re.compile(rf"({ESCAPE})|<(?:lora|lyco):([^<>:\n]+)((?::[^<>:\n]+)*)>")
_WEIGHT = re.compile(rf"(?:(te|unet)=)?({_NUMBER})")
_MARK = re.compile(rf"(?P<escape>{ESCAPE})|(?P<open>[(\[])|:\s*(?P<weight>{_NUMBER})\s*\)|[)\]]|\b(?P<section>BREAK)\b")


@dataclass(frozen=True)
class Fragment:
    """Words of one weight, as they are to be read: without brackets and backslashes."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Lora:
    """An adapter that the prompt asks for, by the name of its file. `text` is its weight in the text encoders, `weight` in
    the denoiser."""

    name: str
    weight: float = 1.0
    text: float = 1.0


@dataclass(frozen=True)
class Prompt:
    """What a prompt says. Each section (at least one) begins a chunk of its own; neighbouring fragments of a section
    differ in weight."""

    sections: tuple[tuple[Fragment, ...], ...] = ((),)
    loras: tuple[Lora, ...] = ()


BLANK = Prompt(((Fragment(" "),),))
"""A chunk that says nothing. `Prompt()` says nothing too, but stands for no prompt at all: some models are trained to see
something else then."""


def parse(text: str) -> Prompt:
    """Reads a prompt. Never raises."""
    loras: list[Lora] = []

    def take(match: re.Match[str]) -> str:
        lora = None if match[1] else _lora(match[2].strip(), match[3].split(":")[1:])
        if lora is None:
            return match[0]
        loras.append(lora)
        return ""

    text = _LORA.sub(take, without_comments(text))
    sections: list[list[Fragment]] = [[]]
    for words, weight in _weighted(text):
        if words is None:
            sections.append([])
        else:
            _append(sections[-1], words, weight)
    # An empty chunk would only thin the others out.
    said = tuple(tuple(section) for section in sections if any(fragment.text.strip() for fragment in section))
    return Prompt(said or ((),), tuple(loras))


def _lora(name: str, arguments: list[str]) -> Lora | None:
    """None where the name is empty, or what follows is no weight: text."""
    weights: dict[str, float] = {}
    for place, argument in enumerate(arguments):
        if number := _WEIGHT.fullmatch(argument.strip()):
            if part := number[1] or ("te", "unet", "")[min(place, 2)]:
                weights[part] = _limited(float(number[2]), MAX_LORA)
        elif place == 0 and "=" not in argument:
            return None
    text = weights.get("te", 1.0)
    return Lora(name, weights.get("unet", text), text) if name else None


def without_comments(text: str) -> str:
    """The text up to each `#`, line by line."""
    return _COMMENT.sub(lambda match: match[1] or "", text)


def _append(section: list[Fragment], words: str, weight: float) -> None:
    if section and section[-1].weight == weight:
        words = section.pop().text + words
    section.append(Fragment(words, weight))


def _weighted(text: str) -> Iterator[tuple[str | None, float]]:
    """Pieces of text with their weights, in order; None for a BREAK. Pieces are never empty."""
    marks = list(_MARK.finditer(text))
    factors = _factors(marks)
    weights = [1.0]
    end = 0
    for i, mark in enumerate(marks):
        if end < mark.start():
            yield text[end : mark.start()], weights[-1]
        end = mark.end()
        if mark["escape"]:
            yield mark[0][1], weights[-1]
        elif mark["section"]:
            yield None, weights[-1]
        elif i not in factors:
            yield mark[0], weights[-1]
        elif mark["open"]:
            weights.append(_limited(weights[-1] * factors[i]))
        else:
            weights.pop()
    if end < len(text):
        yield text[end:], weights[-1]


def _factors(marks: list[re.Match[str]]) -> dict[int, float]:
    """The factor of each bracket that has its partner, by its place in `marks`."""
    factors: dict[int, float] = {}
    opened: list[int] = []
    waiting = {"(": 0, "[": 0}
    for i, mark in enumerate(marks):
        if mark["open"]:
            opened.append(i)
            waiting[mark[0]] += 1
        elif not (mark["escape"] or mark["section"]):
            partner = "[" if mark[0] == "]" else "("
            if not waiting[partner]:
                continue
            while True:  # brackets that were opened in between stay without a partner
                first = opened.pop()
                waiting[marks[first][0]] -= 1
                if marks[first][0] == partner:
                    break
            factor = SQUARE if partner == "[" else ROUND
            factors[first] = factors[i] = factor if mark["weight"] is None else _limited(float(mark["weight"]))
    return factors


def _limited(weight: float, most: float = MAX_WEIGHT) -> float:
    return max(-most, min(most, weight))
