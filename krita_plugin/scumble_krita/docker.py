"""The docker: puts the pieces together, and says what the artist does to the workshop and what the workshop has back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from krita import DockWidget

from . import words
from .backstage import backstage
from .extend import edges_of_request
from .form import Form, form_of, form_of_request, split, without_layers
from .panel import widgets
from .panel.connection import ConnectionDialog, ConnectionLine
from .panel.extend import ExtendPanel
from .panel.history import HistoryPanel, Past
from .panel.notice import NoticePanel
from .panel.progress import PREVIEW, ProgressPanel
from .panel.results import Entry, ResultsPanel
from .panel.settings import SettingsPanel
from .qt import QtCore, QtGui, QtWidgets, is_deleted
from .slots import connect, guarded, listeners

LOOK_EVERY = 400
"""Milliseconds between two looks at the selection: Krita does not tell when it changes."""
PATIENCE = 5.0
"""Seconds that Generate waits for Krita to finish what it is painting."""

dockers: list[ScumbleDocker] = []
"""One in each of Krita's windows."""


class ScumbleDocker(DockWidget):
    """`document`: the KritaDocument whose prompt is shown, or None."""

    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle("Scumble")
        self.document: Any = None
        self._forms: dict[str, Form] = {}
        self._unkept = False
        self._preview: Any = (None, None)
        self._seen_models: Any = None
        self._told = ""
        self._progress = ProgressPanel()
        self._notice = NoticePanel()
        self._results = ResultsPanel(self._thumbnail)
        outcome = QtWidgets.QWidget()
        widgets.vertical(outcome, self._progress, self._notice, self._results)
        self._settings = SettingsPanel(outcome)
        self._extend = ExtendPanel()
        self._extend_fold = widgets.Fold("scumble_extend_fold", "Extend the canvas", self._extend)
        self._history = HistoryPanel()
        self._connection = ConnectionLine()
        self._build()
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(LOOK_EVERY)
        self._connect()
        dockers.append(self)
        listeners.append(self._show_error)

    def _build(self) -> None:
        page = QtWidgets.QWidget()
        column = widgets.vertical(
            page,
            self._settings,
            self._extend_fold,
            widgets.Fold("scumble_upscale_fold", "Upscale the picture", self._settings.upscale),
            widgets.Fold("scumble_history_fold", "History", self._history),
        )
        column.setContentsMargins(6, 6, 6, 6)
        column.addStretch(1)
        scroll = QtWidgets.QScrollArea()
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(page)
        scroll.setMinimumHeight(160)
        scroll.setMinimumWidth(page.minimumSizeHint().width() + scroll.verticalScrollBar().sizeHint().width())
        whole = QtWidgets.QWidget()
        widgets.vertical(whole, scroll, self._connection).setSpacing(0)
        self.setWidget(whole)

    def _connect(self) -> None:
        connect(self._timer.timeout, self._look)
        connect(self._settings.changed, self._changed)
        connect(self._settings.submitted, self.generate)
        connect(self._progress.generate, self.generate)
        connect(self._progress.cancel, self.cancel)
        connect(self._extend.extended, lambda: self.generate(self._extend.edges))
        connect(self._settings.upscale.asked, self.upscale)
        connect(self._notice.helped, self._help)
        connect(self._notice.dismissed, lambda: backstage.workshop.dismiss())
        connect(self._connection.opened, self._ask_connection)
        self._results.chosen.connect(guarded(lambda job, index: backstage.workshop.show(job, index)))
        self._results.applied.connect(guarded(lambda job: backstage.workshop.apply(job)))
        self._results.discarded.connect(guarded(lambda job: backstage.workshop.discard(job)))
        self._history.used_again.connect(guarded(self._use_again))
        self._history.brought_back.connect(guarded(lambda job: backstage.workshop.bring_back(job)))

    # ---- what Krita calls --------------------------------------------------------------------------------------------

    def canvasChanged(self, canvas: Any) -> None:
        # Krita has not made the new document the active one yet.
        QtCore.QTimer.singleShot(0, guarded(self._look))

    def showEvent(self, event: Any) -> None:
        guarded(self._shown)()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:
        self._timer.stop()
        super().hideEvent(event)

    def _shown(self) -> None:
        self._timer.start()
        backstage.when_ready(self._open)

    def _open(self) -> None:
        workshop = backstage.workshop
        if self._refresh not in workshop.views:
            workshop.views.append(self._refresh)
            workshop.choose_model = self._settings.choose_model
            workshop.ask_connection = self._ask_connection
            stored = backstage.preferences["form"]
            self._settings.form = form_of(stored if isinstance(stored, dict) else {}, self._settings.form)
        if workshop.link.state == "off":
            workshop.connect()
        self._look()
        self._refresh()

    # ---- what the artist does ----------------------------------------------------------------------------------------

    def generate(self, edges: Any = None, form: Callable[[], Form] | None = None) -> None:
        """Starts an edit with what the panel says (or what `form` makes of that). `edges`: (left, top, right, bottom) px to
        grow the canvas by."""
        backstage.when_ready(lambda: self._generate(edges, form))

    def upscale(self) -> None:
        """Upscales the whole picture, with nothing of what the panel has greyed out."""
        self.generate(form=lambda: self._settings.sensitive.upscaling)

    def _generate(self, edges: Any, form: Callable[[], Form] | None) -> None:
        self._open()  # a docker that has never been shown does not know yet what was remembered
        self._follow()
        self._start(form() if form else self._settings.form, edges, time.monotonic() + PATIENCE)

    def _start(self, form: Form, edges: Any, until: float) -> None:
        from .lib.scumble.client.document import Edges

        document = self._active()
        if document is not None and document.is_busy and time.monotonic() < until:
            QtCore.QTimer.singleShot(10, guarded(lambda: self._start(form, edges, until)))
            return
        # Before the start: from there on the client's threads want the interpreter too.
        self._keep(document)
        backstage.workshop.start(document, form, Edges(*edges) if edges else None)
        widgets.reach(self._progress)  # it may have been asked for further down
        if edges:
            self._extend.clear()

    def cancel(self) -> None:
        backstage.when_ready(lambda: backstage.workshop.cancel(self.document))

    def apply(self) -> None:
        outcome = self._latest()
        if outcome is not None:
            backstage.workshop.apply(outcome.job)

    def step(self, by: int) -> None:
        """Shows the next or previous variant."""
        if backstage.workshop is not None:
            backstage.workshop.step(self.document, by)

    def extend(self) -> None:
        """Over a selection that reaches beyond the canvas, else by the numbers, else over what the selection has empty."""
        backstage.when_ready(self._extend_where)

    def _extend_where(self) -> None:
        self._follow()
        document = self._active()
        beyond = document.edges_to_selection() if document is not None else ()
        if any(beyond):
            self.generate(tuple(beyond))
        elif any(self._extend.edges):
            self.generate(self._extend.edges)
        else:
            self.generate(form=lambda: replace(self._settings.form, mode="outpaint"))

    def _help(self) -> None:
        notice = backstage.workshop.notice
        backstage.workshop.dismiss()
        if notice is not None:
            notice.act()

    def _ask_connection(self) -> None:
        backstage.when_ready(self._open_dialog)

    def _open_dialog(self) -> None:
        dialog = ConnectionDialog(self, backstage.workshop.remote)
        dialog.setAttribute(QtCore.Qt.WidgetAttribute.WA_DeleteOnClose)

        def use() -> None:
            if dialog.remote != backstage.workshop.remote:
                backstage.workshop.use(dialog.remote)
            else:
                backstage.workshop.connect()

        connect(dialog.accepted, use)
        dialog.open()

    def _use_again(self, job: str) -> None:
        for entry in backstage.workshop.history:
            if entry.job == job:
                self._settings.form = form_of_request(entry.request, self._settings.form)
                edges = edges_of_request(entry.request)
                if any(edges):
                    self._extend.edges = edges
                    self._extend_fold.open()
                self._unkept = True
                self._look()

    def _changed(self) -> None:
        if backstage.workshop is not None:
            self._unkept = True
            self._predict()

    def _keep(self, document: Any) -> None:
        """Remembers what the panel says, with the document and for all."""
        self._unkept = False
        mine, common = split(self._settings.form)
        if document is not None and document.is_open:
            document.settings = mine
        backstage.preferences.set(form=common)

    def _keep_changes(self) -> None:
        """Of the document that is shown: it may be saved and closed without an edit."""
        if self._unkept:
            self._keep(self.document)

    # ---- what the panel shows ----------------------------------------------------------------------------------------

    def _latest(self) -> Any:
        return backstage.workshop.latest(self.document) if backstage.workshop is not None else None

    def _look(self) -> None:
        """Follows the active document and its selection."""
        if backstage.workshop is not None and self.isVisible():
            self._follow()
            self._keep_changes()
            self._predict()

    def _follow(self) -> None:
        """An edit may be asked for before the panel has looked, or while it is hidden: it has the words of its document."""
        document = self._active() if backstage.workshop is not None else self.document
        if document is not self.document:
            self._switch(document)
            self._refresh()

    def _active(self) -> Any:
        """Krita has no active document for a moment when windows and documents come and go, and as long as an empty window
        is the active one. Then it is the one shown, while it is open."""
        active, shown = backstage.workshop.documents.active(), self.document
        return shown if active is None and shown is not None and shown.is_open else active

    def _switch(self, document: Any) -> None:
        """Each document has its own prompt and whatever else belongs to it; one never seen begins with the present, as far
        as that needs no layer of another one."""
        self._keep_changes()
        form = self._settings.form
        if self.document is not None:
            self._forms[self.document.identity] = form
        self.document = document
        if document is not None:
            common = split(form)[1]
            remembered = self._forms.get(document.identity) or form_of(document.settings, without_layers(form))
            self._settings.form = form_of(common, remembered)

    def _predict(self) -> None:
        from .lib.scumble.client.modes import choose_mode

        document, form = self.document, self._settings.form
        mode = form.mode
        if document is None or not document.is_open:
            automatic = ""
        elif document.is_busy:
            return  # while the artist paints, nothing is read
        else:
            kind, _ = backstage.workshop.predict_model(form)
            automatic = choose_mode(
                strength=form.strength / 100, prompt=form.prompt, model=kind, **document.situation()._asdict()
            )
            self._extend.canvas = document.canvas
            self._settings.upscale.set_canvas(*document.canvas)
            self._settings.set_layers(document.layers())
        self._settings.set_automatic_mode(words.MODES.get(automatic, ""))
        self._progress.set_action(words.MODES.get(mode or automatic, "Generate"))

    def _refresh(self) -> None:
        """Shows the workshop as it is now."""
        workshop = backstage.workshop
        if is_deleted(self):  # its window has been closed
            workshop.views.remove(self._refresh)
            return
        self._connection.show_link(workshop.link.state, workshop.link.words, workshop.link.detail)
        if (workshop.models, workshop.adapters, workshop.samplers) != self._seen_models:
            self._seen_models = workshop.models, workshop.adapters, workshop.samplers
            self._settings.set_models(*self._seen_models)
        if workshop.notice is None:
            self._notice.hide()
        else:
            self._notice.show_notice(workshop.notice.message, workshop.notice.hint, workshop.notice.button)
            if workshop.notice.message != self._told:
                widgets.reach(self._notice)
        self._told = workshop.notice.message if workshop.notice is not None else ""
        self._show_jobs()
        self._show_outcomes()
        self._history.show_history(
            [Past(entry.job, _name(entry.request), entry.created) for entry in workshop.history if entry.state in
             ("done", "delivered")]
        )  # fmt: skip

    def _show_jobs(self) -> None:
        jobs = list(backstage.workshop.jobs.values())
        mine = backstage.workshop.jobs_of(self.document) or jobs
        if not mine:
            self._progress.idle()
            return
        job = mine[0]
        away = backstage.workshop.link.state != "ready"
        stage = "cancelling" if job.cancelling else "waiting" if away else job.stage
        text = words.progress(stage, job.step, job.steps, job.seconds_left, job.position)
        if len(jobs) > 1:
            text += f" \u00b7 {len(jobs) - 1} more in the queue"
        if job.document is not self.document:
            text += " (another document)"
        cancellable = not all(each.cancelling for each in mine)
        self._progress.run(text, job.step, job.steps, self._preview_of(job.preview), cancellable)

    def _preview_of(self, buffer: Any) -> QtGui.QImage | None:
        if buffer is None or buffer.encoding != "raw":
            return None
        if self._preview[0] is not buffer:
            self._preview = buffer, self._picture(buffer.width, buffer.height, buffer.data, PREVIEW)
        return self._preview[1]

    def _show_outcomes(self) -> None:
        entries, latest = [], self._latest()
        for outcome in backstage.workshop.results(self.document):
            for index in range(outcome.count):
                state = "shown" if index == outcome.shown else "applied" if index in outcome.applied else ""
                tip = f"{_name(outcome.request)}\nSeed {(outcome.request.seed or 0) + index}"
                entries.append(Entry(outcome.job, index, tip, state))
        self._results.show_entries(entries, latest.job if latest is not None else "")
        if latest is not None and latest.shown is not None and latest.request.seed is not None:
            self._settings.set_seed(latest.request.seed + latest.shown)

    def _thumbnail(self, job: str, index: int) -> QtGui.QImage:
        size, pixels = backstage.workshop.picture(job, index)
        return self._picture(size.width, size.height, pixels, widgets.THUMBNAIL)

    def _picture(self, width: int, height: int, pixels: bytes, side: int) -> QtGui.QImage:
        return widgets.picture(width, height, pixels, side, self.devicePixelRatioF())

    def _show_error(self, error: Any) -> None:
        if is_deleted(self):
            listeners.remove(self._show_error)
        elif backstage.workshop is not None:
            backstage.workshop.notify(error)
        else:
            self._notice.show_notice(error.message, error.hint, "")


def _name(request: Any) -> str:
    prompt = " ".join(request.prompt.split())
    return prompt or words.MODES.get(request.mode, "")
