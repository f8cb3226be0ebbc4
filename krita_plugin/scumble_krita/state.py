"""What the workshop knows, as views see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .document import KritaDocument
from .lib.scumble.protocol.messages import Buffer, EditRequest


@dataclass(frozen=True)
class Job:
    """An edit on its way. `document` None: it was started in an earlier run of Krita."""

    id: str
    document: KritaDocument | None
    request: EditRequest | None = None
    stage: str = "sending"
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    position: int = 0
    preview: Buffer | None = field(default=None, repr=False)
    again: Callable[[], object] | None = field(default=None, repr=False)
    cancelling: bool = False


@dataclass
class Outcome:
    """A finished job. `shown` is the image that is on the canvas and not applied yet."""

    job: str
    document: KritaDocument | None
    request: EditRequest
    count: int
    shown: int | None = None
    applied: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Notice:
    """Something that the artist should know, and one button that helps ("": none). `result`: a job's, where it asks what to
    do with that."""

    message: str
    hint: str
    button: str = ""
    act: Callable[[], object] = lambda: None
    about_connection: bool = False
    result: str = ""


@dataclass(frozen=True)
class Link:
    """The connection in words. `state`: off, starting, ready, lost (it mends itself) or refused (it does not)."""

    state: str
    words: str
    detail: str = ""
