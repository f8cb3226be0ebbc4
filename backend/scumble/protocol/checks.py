"""Whether what a message says can be: each raises BadRequest where it cannot."""

from __future__ import annotations

import re

from .errors import BadRequest
from .geometry import MAX_SIDE, Bounds

_JOB_ID = re.compile(r"[0-9a-f]{32}")


def check_within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise BadRequest(f"The {name} is not between {low:.10g} and {high:.10g}.")


def check_text(name: str, value: str) -> None:
    """Half a UTF-16 pair, or what Python makes of bytes in a terminal that are no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"The {name} is not valid text.", "Write it anew; a script has to be in UTF-8.") from None


def check_placed(name: str, bounds: Bounds) -> None:
    check_within(f"{name} width", bounds.width, 1, MAX_SIDE)
    check_within(f"{name} height", bounds.height, 1, MAX_SIDE)
    check_within(f"{name} x", bounds.x, -MAX_SIDE, MAX_SIDE)
    check_within(f"{name} y", bounds.y, -MAX_SIDE, MAX_SIDE)


def check_counting(name: str, weight: float, start: float, end: float) -> None:
    check_within(f"weight of a {name}", weight, 0.0, 10.0)
    check_within(f"start of a {name}", start, 0.0, 1.0)
    check_within(f"end of a {name}", end, 0.0, 1.0)
    if start >= end:
        raise BadRequest(f"A {name} ends before it starts.")


def check_job_id(value: str) -> None:
    if not _JOB_ID.fullmatch(value):
        raise BadRequest("A job id is not 32 hexadecimal digits.")
