"""Everything but widgets, once for all of Krita's windows: the client, the jobs, the results and what went wrong.

Methods run on the GUI thread and none of them waits. Views are told that something has changed and look again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .document import KritaDocument
from .documents import Documents
from .form import Form
from .lib.scumble.client.client import Client
from .lib.scumble.client.connection import Address
from .lib.scumble.client.document import Edges
from .lib.scumble.client.editor import CanvasChanged, Editor, EditSettings, prepare
from .lib.scumble.client.events import Connected, Event, Finished, Lost, Received
from .lib.scumble.client.launcher import start_backend
from .lib.scumble.client.names import looking_words
from .lib.scumble.home import Home
from .lib.scumble.protocol.errors import BadRequest, ScumbleError, error_from_code
from .lib.scumble.protocol.geometry import Size
from .lib.scumble.protocol.messages import (
    Accepted,
    AdapterInfo,
    Buffer,
    Cancelled,
    Failed,
    HistoryEntry,
    HistoryList,
    Looking,
    ModelInfo,
    ModelList,
    Progress,
    Queue,
)
from .models import find, sendable
from .preferences import Preferences
from .qt import QtCore
from .slots import guarded
from .state import Job, Link, Notice, Outcome
from .turns import Turns, in_turn

LOOK_AGAIN = 20
"""Milliseconds between two looks whether the artist has finished a stroke."""


class Workshop:
    """`wake` is called from any thread: it must have `handle_events` called on the GUI thread.
    `choose_model`, `ask_connection`: what buttons of notices do; set by the view."""

    def __init__(self, home: Home, preferences: Preferences, documents: Documents, wake: Callable[[], None]) -> None:
        self._home, self._preferences, self._wake = home, preferences, wake
        self.documents = documents
        self.turns = Turns()
        self.jobs: dict[str, Job] = {}
        self.outcomes: list[Outcome] = []
        self._in_hand = ""
        self.history: tuple[HistoryEntry, ...] = ()
        self.models: tuple[ModelInfo, ...] = ()
        self.adapters: tuple[AdapterInfo, ...] = ()
        self.samplers: tuple[str, ...] = ()
        self.notice: Notice | None = None
        self.link = Link("off", "Not connected")
        self.views: list[Callable[[], None]] = []
        self.choose_model: Callable[[], None] = lambda: None
        self.ask_connection: Callable[[], None] = lambda: None
        self._client, self._editor = self._make_client(preferences["session"])

    def _make_client(self, session: str | None) -> tuple[Client, Editor]:
        locate = functools.partial(start_backend, self._home)
        remote = self.remote
        if remote is not None:
            locate = functools.partial(Address, *remote)
        client = Client("krita", locate, session, "keep", self._wake, order="bgra")
        return client, Editor(client)

    # ---- connection --------------------------------------------------------------------------------------------------

    @property
    def remote(self) -> tuple[str, int, str] | None:
        """Host, port and token of a backend that was named; None: the one on this computer."""
        stored = self._preferences["remote"]
        return (stored["host"], stored["port"], stored["token"]) if isinstance(stored, dict) else None

    def connect(self) -> None:
        """Connects, or tries again at once."""
        if self.link.state in ("off", "lost", "refused") or (self.link.detail and self.link.state == "starting"):
            self.link = Link("starting", "Connecting" if self.remote else "Starting the backend")
        self._client.connect()
        self._tell()

    def use(self, remote: tuple[str, int, str] | None) -> None:
        """Talks to another backend from now on."""
        stored = None if remote is None else dict(zip(("host", "port", "token"), remote))
        self._preferences.set(remote=stored, session=None)
        self._client.close()
        self.jobs.clear()
        self.outcomes.clear()
        self.models, self.adapters, self.samplers, self.history = (), (), (), ()
        self.link, self.notice = Link("off", "Not connected"), None
        self._client, self._editor = self._make_client(None)
        self.connect()

    def close(self) -> None:
        """Ends the connection; the backend goes on with what it has."""
        self._client.close()

    # ---- edits -------------------------------------------------------------------------------------------------------

    @in_turn
    def start(self, document: KritaDocument | None, form: Form, edges: Edges | None = None) -> Iterator[None]:
        """Reads the document and sends the edit. Raises BadRequest."""
        if document is None:
            raise BadRequest("No picture is open.", "Open or create one.")
        self.notice = None
        document.from_layer = form.from_layer
        settings = EditSettings(**sendable(form, find(self.models, form.model)).to_settings())
        if edges is not None:
            settings = replace(settings, mode=None, intent="fill", strength=1.0)
        mark = document.mark()
        edit = prepare(document, settings, self._editor.model_kind(settings), edges)
        yield  # reading a large picture takes long enough
        job = self._editor.submit(document, edit, mark=mark)
        self.jobs[job] = Job(job, document, again=functools.partial(self.start, document, form, edges))
        self.connect()

    def cancel(self, document: KritaDocument | None) -> None:
        """Ends the oldest edit, of this document if it has any, that is not being ended already: the backend may take as
        long as a step for that, or be away."""
        jobs = self.jobs_of(document) or list(self.jobs.values())
        job = next((job for job in jobs if not job.cancelling), None)
        if job is not None:
            self.jobs[job.id] = replace(job, cancelling=True)
            self._client.cancel(job.id)
            self._tell()

    def jobs_of(self, document: KritaDocument | None) -> list[Job]:
        """Oldest first."""
        return [job for job in self.jobs.values() if job.document is document]

    def predict_model(self, form: Form) -> tuple[str, str]:
        """Kind and name of the model that an edit with this form would use."""
        kind = self._editor.model_kind(EditSettings(**form.to_settings()))
        named = find(self.models, form.model)
        fitting = named or next((model for model in self.models if model.kind == kind), None)
        return kind, fitting.name if fitting else ""

    # ---- results -----------------------------------------------------------------------------------------------------

    def outcome(self, job: str) -> Outcome:
        """Raises KeyError."""
        for outcome in self.outcomes:
            if outcome.job == job:
                return outcome
        raise KeyError(job)

    def results(self, document: KritaDocument | None) -> list[Outcome]:
        """Those of this document and those that belong to no open one, newest first."""
        return [
            outcome
            for outcome in reversed(self.outcomes)
            if outcome.document in (document, None) or not outcome.document.is_open
        ]

    def latest(self, document: KritaDocument | None) -> Outcome | None:
        """Of `results`, the one that was clicked or that came last."""
        mine = self.results(document)
        return next((outcome for outcome in mine if outcome.job == self._in_hand), mine[0] if mine else None)

    def picture(self, job: str, index: int) -> tuple[Size, bytes]:
        """Size and pixels (B G R A) of one image."""
        return self._editor.pixels(job, index)

    @in_turn
    def show(self, job: str, index: int, anyway: bool = False) -> Iterator[int | None]:
        """Puts an image on the canvas, in place of the one of its job that is shown there. Raises ScumbleError."""
        self._in_hand = job
        return self._show(job, index, anyway)

    def _show(self, job: str, index: int, anyway: bool = False) -> Iterator[int | None]:
        outcome = self.outcome(job)
        if self._is_kept(outcome, index):
            return
        document = outcome.document or self.documents.active()
        if document is None:
            raise BadRequest("No picture is open.", "Open the one that this result belongs to.")
        if outcome.shown is not None and outcome.shown != index:
            document.replace_next(job, outcome.shown)
        try:
            if outcome.request.mode == "upscale":
                factor = self._editor.enlargement(job, index, document, anyway)
                if factor > 1:
                    yield from document.enlarging(factor)
                    self._editor.enlarged(job, document)
            if document.takes_long(self._editor.pixels(job, index)[0]):
                layer = self._editor.layer(job, index, document, anyway)
                if layer is not None:
                    yield from document.get_ready(layer)
            self._editor.insert(job, index, document, anyway)
        except CanvasChanged as error:
            self._notify(error, "Insert anyway", lambda: self.show(job, index, anyway=True), result=job)
        except BadRequest as error:
            if document.is_open:
                raise
            self._notify(error, "Open as document", lambda: self.open_as_document(job, index), result=job)
        else:
            outcome.document, outcome.shown = document, index
            self._answered(job)
        self._tell()

    def _is_kept(self, outcome: Outcome, index: int) -> bool:
        """Whether an image was applied and still is in its document: its artist may have undone that."""
        if index not in outcome.applied:
            return False
        document = outcome.document
        if document is None or not document.is_open or not document.contains(outcome.job, index):
            outcome.applied.remove(index)
        return index in outcome.applied

    @in_turn
    def step(self, document: KritaDocument | None, by: int) -> Iterator[int | None]:
        """Shows the next or previous image of the latest result, past those that were applied."""
        outcome = self.latest(document)
        if outcome is not None:
            shown = (-1 if by > 0 else 0) if outcome.shown is None else outcome.shown
            others = ((shown + by * steps) % outcome.count for steps in range(1, outcome.count + 1))
            index = next((other for other in others if not self._is_kept(outcome, other)), None)
            if index is not None:
                yield from self._show(outcome.job, index)

    @in_turn
    def apply(self, job: str) -> Iterator[int | None] | None:
        """Keeps the image that is shown. Raises ScumbleError."""
        outcome = self.outcome(job)
        if outcome.shown is None or outcome.document is None:
            raise BadRequest("No image is chosen.", "Click the one that you want.")
        if not outcome.document.is_open:
            return self._show(job, outcome.shown)  # asks where to
        outcome.document.apply_layer(job, outcome.shown, sorted(outcome.applied))
        outcome.applied.add(outcome.shown)
        outcome.shown = None
        if len(outcome.applied) == outcome.count:
            self._forget(outcome)
        self._tell()
        return None

    @in_turn
    def discard(self, job: str) -> None:
        """Takes the shown image off the canvas and forgets the result; what was applied stays."""
        outcome = self.outcome(job)
        if outcome.shown is not None and outcome.document is not None and outcome.document.is_open:
            enlarged = outcome.document.remove_layer(job, outcome.shown)
            if enlarged and not outcome.applied:
                hint = "Undo (Ctrl+Z) takes it back to the old one."
                self.notice = Notice("The picture stays at its new size, as it was changed since.", hint)
        self._forget(outcome)
        self._tell()

    @in_turn
    def open_as_document(self, job: str, index: int) -> Iterator[int | None]:
        """For a result whose document is closed."""
        outcome = self.outcome(job)
        outcome.document = self.documents.create(outcome.request.canvas)
        return self._show(job, index)

    def bring_back(self, job: str) -> None:
        """Asks for a result of the history, or takes it in hand where it is still here."""
        if any(outcome.job == job for outcome in self.outcomes):
            self._in_hand = job
            self._tell()
        else:
            self._client.resume(job)

    def dismiss(self) -> None:
        self.notice = None
        self._tell()

    # ---- what the client says ----------------------------------------------------------------------------------------

    @in_turn
    def handle_events(self) -> None:
        """To be called on the GUI thread after `wake`. One event that cannot be handled does not hold up the others."""
        error: Exception | None = None
        for event in self._client.events():
            try:
                self._handle(event)
            except Exception as problem:
                error = problem
        self._tell()
        if error is not None:
            raise error

    def _handle(self, event: Event) -> None:
        if isinstance(event, Connected):
            self._connected(event)
        elif isinstance(event, Lost):
            self._lost(event)
        elif isinstance(event, Finished):
            self._finished(event)
        elif isinstance(event, Received):
            self._received(event.message, event.buffers)

    def _connected(self, event: Connected) -> None:
        welcome = event.welcome
        self.models, self.adapters, self.samplers = welcome.models, welcome.adapters, welcome.samplers
        self.link = Link("ready", "Ready", f"Backend {welcome.server}")
        if self.notice is not None and self.notice.about_connection:
            self.notice = None
        self._preferences.set(session=welcome.session)
        self._client.history()

    def _lost(self, event: Lost) -> None:
        error = event.error
        if event.retry is None:
            words = "Versions differ" if error.code == "unsupported_version" else "Not connected"
            self.link = Link("refused", words, error.message)
        elif self.link.state in ("ready", "lost"):
            self.link = Link("lost", "Connection lost, trying again", error.message)
            return  # it mends itself
        else:
            told = error.message == self.link.detail  # at each try; the artist may have dismissed it
            self.link = Link("starting", "Not connected, trying again", error.message)
            if told:
                return
        if error.code == "not_authorised":
            self._notify(error, "Connection\u2026", lambda: self.ask_connection(), about_connection=True)
        else:
            self._notify(error, "Try again", self.connect, about_connection=True)

    def _received(self, message: Any, buffers: tuple[Buffer, ...]) -> None:
        if isinstance(message, Accepted):
            job = self.jobs.get(message.job) or Job(message.job, None)
            stage = "queued" if message.position else "planning"
            self.jobs[message.job] = replace(job, request=message.request, position=message.position, stage=stage)
        elif isinstance(message, Progress):
            job = self.jobs.get(message.job) or Job(message.job, None)
            self.jobs[message.job] = replace(
                job,
                stage=message.stage,
                step=message.step,
                steps=message.steps,
                seconds_left=message.seconds_left,
                position=0,
                preview=buffers[0] if buffers else job.preview,
            )
        elif isinstance(message, Queue):
            for identity, position in message.positions.items():
                if identity in self.jobs:
                    self.jobs[identity] = replace(self.jobs[identity], position=position)
        elif isinstance(message, Cancelled):
            self.jobs.pop(message.job, None)
        elif isinstance(message, Failed):
            self._failed(message)
        elif isinstance(message, Looking):
            self.link = Link("starting", looking_words(message))
            if self.notice is not None and self.notice.about_connection:
                self.notice = None
        elif isinstance(message, HistoryList):
            self.history = message.entries
        elif isinstance(message, ModelList):
            self.models, self.adapters = message.models, message.adapters

    def _failed(self, message: Failed) -> None:
        job = self.jobs.pop(message.job, None) if message.job is not None else None
        error = error_from_code(message.code, message.message, message.hint)
        choice = any(model.kind == "diffusion" for model in self.models)
        if message.code in ("model_missing", "model_unreadable") and choice:
            self._notify(error, "Choose a model", lambda: self.choose_model())
        elif job is not None and job.again is not None and message.code != "bad_request":
            self._notify(error, "Try again", job.again)
        else:
            self._notify(error)

    def _finished(self, event: Finished) -> None:
        result = event.result
        self.jobs.pop(result.job, None)
        self._editor.finish(event)
        known = any(outcome.job == result.job for outcome in self.outcomes)
        document = self._editor.document(result.job)
        home = document if isinstance(document, KritaDocument) else None
        if not known:
            self.outcomes.append(Outcome(result.job, home, result.request, len(result.layers)))
            self._in_hand = result.job
        self._client.history()
        for job in self._editor.surplus():
            self._forget(self.outcome(job))
        if home is not None and not known:
            self._show_in_peace(result.job, home)
        elif not known:
            message = "A result of an earlier session is here."
            hint = "Click its picture below to put it on the open document."
            self.notice = Notice(message, hint, "Insert", lambda: self.show(result.job, 0), result=result.job)

    def _show_in_peace(self, job: str, document: KritaDocument) -> None:
        """As soon as the artist lifts the pen or has done with a tool: Krita ends a stroke when a layer is added."""
        new = any(outcome.job == job and outcome.shown is None and not outcome.applied for outcome in self.outcomes)
        if new and document.is_open and document.is_busy:
            QtCore.QTimer.singleShot(LOOK_AGAIN, guarded(lambda: self._show_in_peace(job, document)))
        elif new:
            self.show(job, 0)

    def _forget(self, outcome: Outcome) -> None:
        self.outcomes.remove(outcome)
        self._answered(outcome.job)
        self._editor.discard(outcome.job)
        if outcome.document is not None:
            outcome.document.forget(outcome.job)

    # ---- both --------------------------------------------------------------------------------------------------------

    def notify(self, error: ScumbleError) -> None:
        """Shows an error that was raised somewhere else."""
        self._notify(error)
        self._tell()

    def _notify(
        self,
        error: ScumbleError,
        button: str = "",
        act: Callable[[], object] = lambda: None,
        about_connection: bool = False,
        result: str = "",
    ) -> None:
        self.notice = Notice(error.message, error.hint, button, act, about_connection, result)

    def _answered(self, job: str) -> None:
        """Takes the question about a result away: it has been put somewhere, or is gone."""
        if self.notice is not None and self.notice.result == job:
            self.notice = None

    def _tell(self) -> None:
        for view in list(self.views):
            view()
