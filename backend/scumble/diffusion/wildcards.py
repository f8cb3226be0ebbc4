"""Wildcards in prompts: `{red|green|blue}` stands for one of its options, `__name__` for one line of the file NAME.txt,
`__folder/name__` for one of a file in a folder. `3::red` comes three times as often as one without a number.

Options and lines may hold wildcards again. Pure but for `read_lists`; imports no torch.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random

from .prompts import ESCAPE, without_comments

Lists = Callable[[str], Sequence[str]]
"""The lines that a name stands for; none for an unknown name."""

_MARK = re.compile(rf"{ESCAPE}|[{{|}}]|__((?:[\w-]+/)*[\w-]+?)__")
_OFTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)::")
_MOST = 1e9  # so that no number leaves the range
_DEPTH = 16  # of lists that name lists: more is a mistake, or meant to fill the memory


def draw(text: str, random: Random, lists: Lists = lambda name: ()) -> str:
    """The prompt with each wildcard replaced by what `random` draws, comments taken out. Never raises.

    Braces without a choice (`{word}`), without their partner, and names of lists that are unknown, empty or being read
    already are text.
    """
    return _draw(without_comments(text), random, lists, ())


def read_lists(folder: Path | None) -> Lists:
    """The lists of a folder and of those in it, one option a line; empty lines and comments are none. A file that cannot be
    read is empty."""

    def read(name: str) -> Sequence[str]:
        # The folder is asked, not the name: a name comes over the wire and must not lead elsewhere.
        paths = folder.rglob("*.txt") if folder else ()
        files = {path.relative_to(folder or path).with_suffix("").as_posix(): path for path in paths}
        try:
            lines = files[name].read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except (KeyError, OSError):
            return ()
        return [line for line in (without_comments(line).strip() for line in lines) if line]

    return read


def _draw(text: str, random: Random, lists: Lists, inside: tuple[str, ...]) -> str:
    # Each open brace has its options so far, and each option its pieces; the first level is the text itself.
    levels: list[list[list[str]]] = [[[]]]
    end = 0
    for mark in _MARK.finditer(text):
        levels[-1][-1].append(text[end : mark.start()])
        end = mark.end()
        if mark[0] == "{":
            levels.append([[]])
        elif mark[0] == "|" and len(levels) > 1:
            levels[-1].append([])
        elif mark[0] == "}" and len(levels) > 1:
            options = ["".join(option) for option in levels.pop()]
            levels[-1][-1].append(_choose(options, random) if len(options) > 1 else f"{{{options[0]}}}")
        elif mark[1]:
            levels[-1][-1].append(_line(mark, random, lists, inside))
        else:
            levels[-1][-1].append(mark[0])
    levels[-1][-1].append(text[end:])
    return "{".join("|".join("".join(option) for option in options) for options in levels)


def _line(mark: re.Match[str], random: Random, lists: Lists, inside: tuple[str, ...]) -> str:
    name = mark[1]
    options = () if name in inside or len(inside) == _DEPTH else lists(name)
    return _draw(_choose(options, random), random, lists, (*inside, name)) if options else mark[0]


def _choose(options: Sequence[str], random: Random) -> str:
    # Python promises that random() stays the same from version to version; it does not for choice().
    drawn = random.random()
    marks = [_OFTEN.match(option) for option in options]
    if not any(marks):
        return options[int(drawn * len(options))]
    shares = [min(float(mark[1]), _MOST) if mark else 1.0 for mark in marks]
    ends = list(accumulate(shares if any(shares) else [1.0] * len(shares)))
    chosen = min(bisect_right(ends, drawn * ends[-1]), len(options) - 1)
    mark = marks[chosen]
    return options[chosen][mark.end() :] if mark else options[chosen]
