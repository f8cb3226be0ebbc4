"""What the client has asked for and what it has heard, so that after a lost connection nothing is forgotten, asked twice
or delivered twice. No threads and no I/O here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Set, Tuple, Union

from ..protocol.messages import (
    Accepted,
    Acknowledge,
    Cancel,
    Cancelled,
    Failed,
    History,
    HistoryList,
    Message,
    ModelList,
    Models,
    Progress,
    Result,
    Resume,
    Submit,
)
from .document import Pixels

MAX_TRIES = 3
"""Connections on which an edit is sent before it is given up: a backend that dies of it must not be killed for ever."""


@dataclass(frozen=True)
class Draft:
    """An edit with its raw pixels, as long as the backend has not said that it has written it down."""

    submit: Submit
    image: Pixels = field(repr=False)
    mask: Optional[bytes] = field(repr=False, default=None)
    controls: Tuple[Pixels, ...] = field(repr=False, default=())
    regions: Tuple[Pixels, ...] = field(repr=False, default=())
    references: Tuple[Pixels, ...] = field(repr=False, default=())


Item = Union[Draft, Message]
"""What the sending thread gets."""


class Ledger:
    def __init__(self) -> None:
        self._session: Optional[str] = None
        self._drafts: Dict[str, Draft] = {}
        self._tries: Dict[str, int] = {}
        self._accepted: Set[str] = set()
        self._cancelling: Set[str] = set()
        self._ended: Set[str] = set()
        self._acknowledged: Set[str] = set()
        self._questions: List[Message] = []

    def ask(self, item: Item, sent: bool) -> None:
        """Notes something that is being sent now, or is to be sent at the next welcome."""
        if isinstance(item, Draft):
            self._drafts[item.submit.job] = item
            self._tries[item.submit.job] = int(sent)
        elif isinstance(item, Cancel):
            self._cancelling.add(item.job)
        elif isinstance(item, Acknowledge):
            self._acknowledged.add(item.job)
        elif isinstance(item, (History, Models, Resume)):
            self._questions.append(item)
            if isinstance(item, Resume):
                self._ended.discard(item.job)

    def reconnect(self, session: str) -> Tuple[List[Item], List[Failed]]:
        """To be called at each welcome: what must be sent (again), and the jobs that have come to nothing."""
        failures: List[Failed] = []
        if session != self._session:  # or it is the first, and nothing has been accepted yet
            for job in sorted(self._accepted):
                failures.append(
                    Failed("internal", "The backend no longer knows this job.", "Start the edit again.", job)
                )
        self._session = session
        items: List[Item] = []
        for job, draft in list(self._drafts.items()):
            if self._tries[job] >= MAX_TRIES:
                hint = "Select a smaller area, or look into the backend's log."
                failures.append(Failed("worker_crashed", "The backend stops whenever it gets this edit.", hint, job))
            else:
                self._tries[job] += 1
                items.append(draft)
        for failure in failures:
            self._end(str(failure.job))
        items.extend(Cancel(job) for job in sorted(self._cancelling))
        items.extend(self._questions)
        return items, failures

    def drop_unsent(self, job: str) -> bool:
        """Ends a job of which nothing has ever been sent; False when there is no such job."""
        if self._tries.get(job) != 0:
            return False
        self._end(job)
        return True

    def hear(self, message: Message) -> Tuple[Optional[Message], Optional[Message]]:
        """What to tell the host of a message (None: it knows already), and what to answer to the backend."""
        if isinstance(message, (HistoryList, ModelList)):
            self._answered(History if isinstance(message, HistoryList) else Models)
            return message, None
        job = getattr(message, "job", None)
        if not isinstance(job, str):
            return message, None
        if Resume(job) in self._questions:
            self._questions.remove(Resume(job))
        known = job in self._ended
        if isinstance(message, (Accepted, Progress)):
            if not known:
                self._drafts.pop(job, None)
                self._accepted.add(job)
            return (None if known else message), None
        if known:
            again = isinstance(message, Result) and job in self._acknowledged
            return None, (Acknowledge(job) if again else None)
        if isinstance(message, Failed) and job in self._cancelling and job not in self._accepted:
            message = Cancelled(job)  # the cancel overtook the edit: the backend has never heard of it
        if isinstance(message, (Result, Failed, Cancelled)):
            self._end(job)
        return message, None

    def _end(self, job: str) -> None:
        self._drafts.pop(job, None)
        self._tries.pop(job, None)
        self._accepted.discard(job)
        self._cancelling.discard(job)
        self._ended.add(job)

    def _answered(self, kind: type) -> None:
        for question in self._questions:
            if isinstance(question, kind):
                self._questions.remove(question)
                return
