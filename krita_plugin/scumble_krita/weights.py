"""What keys and lists do to a prompt's text: weights of words, as in "a (red dress:1.2)", and words put in; and how Qt
counts places in it. Pure."""

from __future__ import annotations

import re

STEP, LEAST, MOST = 0.1, 0.1, 2.0
_WEIGHTED = re.compile(r"\((?P<words>[^()]*?)(?::(?P<weight>\d+(?:\.\d+)?))?\)")
_WORD = re.compile(r"[^\s,()]+")
_LORA = re.compile(r"<lora:(?P<name>[^<>:\n]+)(?P<weights>(?::[^<>:\n]+)*)>")
_OF_LORA = re.compile(r"(?P<of>:(?:te=|unet=)?)(?P<weight>-?\d+(?:\.\d+)?)(?=:|$)")


def reweight(text: str, start: int, end: int, up: bool) -> tuple[str, int, int]:
    """The text with the marked words (or, nothing marked, the word there) weighted one step higher or lower, and where
    those words are marked now. A weight of 1 takes the brackets away. A LoRA, "<lora:name:0.8>", has weights of its own."""
    for found in _LORA.finditer(text):
        if found.start() <= start and end <= found.end():
            return _with_lora(text, found, STEP if up else -STEP)
    for found in _WEIGHTED.finditer(text):
        if found.start() <= start and end <= found.end():
            weight = float(found["weight"] or 1.1)  # bare brackets mean that much
            return _with_weight(text, found.start(), found.end(), found["words"], weight, up)
    if start == end:
        word = next((found for found in _WORD.finditer(text) if found.start() <= start <= found.end()), None)
        if word is None:
            return text, start, end
        start, end = word.span()
    words = text[start:end].strip()
    if not words or "(" in words or ")" in words:
        return text, start, end
    start += text[start:end].index(words)
    end = start + len(words)
    return _with_weight(text, start, end, words, 1.0, up)


def _with_lora(text: str, found: re.Match[str], step: float) -> tuple[str, int, int]:
    weights = _OF_LORA.sub(
        lambda one: f"{one['of']}{round(float(one['weight']) + step, 2):g}", found["weights"] or ":1"
    )
    return text[: found.end("name")] + weights + ">" + text[found.end() :], found.start("name"), found.end("name")


def put_in(text: str, start: int, end: int, word: str) -> tuple[str, int]:
    """The text with the word in place of what is marked, apart from its neighbours, and where the cursor is then."""
    before, after = text[:start], text[end:]
    if before and not before[-1].isspace() and before[-1] not in "([{|":
        before += " "
    if after and not after[0].isspace() and after[0] not in ",:)]}|":
        after = " " + after
    return before + word + after, len(before) + len(word)


def to_qt(text: str, place: int) -> int:
    """Qt's number of a place in the text: it counts UTF-16 units, of which an emoji has two."""
    return place + sum(letter > "\uffff" for letter in text[:place])


def from_qt(text: str, place: int) -> int:
    """The place in the text that Qt gives this number."""
    for index, letter in enumerate(text):
        if place <= 0:
            return index
        place -= 2 if letter > "\uffff" else 1
    return len(text)


def _with_weight(text: str, start: int, end: int, words: str, weight: float, up: bool) -> tuple[str, int, int]:
    weight = round(min(max(weight + (STEP if up else -STEP), LEAST), MOST), 2)
    if weight == 1:
        return text[:start] + words + text[end:], start, start + len(words)
    changed = f"({words}:{weight:g})"
    return text[:start] + changed + text[end:], start + 1, start + 1 + len(words)
