"""The panel's window: what the artist does becomes edits, what the backend says becomes words and pictures.

Everything here runs in the main loop of the panel's own process; the client's threads only leave a note there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gi.repository import Gdk, GimpUi, GLib, Gtk
from scumble.client.client import Client
from scumble.client.document import Edges
from scumble.client.editor import CanvasChanged, Editor
from scumble.client.events import Connected, Event, Finished, Lost, Received
from scumble.client.names import looking_words, mode_name
from scumble.home import Home
from scumble.protocol.errors import BadRequest, ScumbleError
from scumble.protocol.geometry import Size
from scumble.protocol.messages import (
    Accepted,
    Cancelled,
    Failed,
    HistoryEntry,
    HistoryList,
    Looking,
    ModelList,
    Progress,
    Queue,
    Result,
    Welcome,
)

from ..asked import Asked, Placing, Upscaling, generating, mode_of, removing, shown_again, upscaling
from ..backend import make_client
from ..commands import EXTEND_CANVAS, GENERATE, PANEL, REFINE, REFINED, REMOVE, REPEAT, UPSCALE
from ..document import GimpDocument, new_image, put_on_view
from ..log import log
from ..models import suited
from ..words import DEEDS, command_in, deed_of, error_words
from .form import Form
from .history import History
from .images import Images
from .memory import free_session, store_choices, store_session, store_values, stored_choices, stored_values
from .notice import Notice
from .progress import ProgressView
from .recall import Recall
from .results import Results, Variant
from .situation import NEW_IMAGE, Situation
from .upscale import UpscaleFold
from .widgets import column_of, scrolled

LOOK_MILLISECONDS = 400
WIDTH, HEIGHT = 340, 760


class Panel:
    """`perform` does something under a name that GIMP's undo history then has."""

    def __init__(self, home: Home, image: Any | None, perform: Callable[[str, Callable[[], object]], None]) -> None:
        self._home, self._perform = home, perform
        self._images = Images(image)
        self._running: list[str] = []
        self._last: Asked | None = None
        self._edges: dict[str, Edges | None] = {}
        """By how much each job's canvas is to grow."""
        self._anew = False
        """The menu asked for a new picture, not one that fits in: until Generate, or until the selection changes."""
        self._lost = ""
        """What was said of a connection that is not there."""
        self._ended = False
        self._client: Client = make_client(home, "keep", free_session(home), self._wake)
        self._editor = Editor(self._client)
        self._build()
        self.form.show_settings(stored_values(home))
        self._recall = Recall(self.form)
        self.form.placing = stored_choices(home, Placing())
        self.upscaling.values = stored_choices(home, Upscaling())
        self.form.listen(self._changed)
        self.look()
        self.notice.say("Looking for the backend...", bad=False)
        self._client.connect()
        GLib.timeout_add(LOOK_MILLISECONDS, self._look_again)

    # ---- how it is built ---------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.window = Gtk.Window(title="Scumble", default_width=WIDTH, default_height=HEIGHT)
        self.window.set_role("scumble-panel")
        self.window.set_type_hint(Gdk.WindowTypeHint.UTILITY)
        self.window.connect("destroy", lambda window: self._end())
        self.window.connect("key-press-event", self._key)
        self.notice = Notice()
        self.form = Form()
        self.progress = ProgressView(self.cancel)
        self.results = Results(self.apply, self.discard, self.form.show_seed)
        self.history = History(lambda: self._client.history(), self.reuse, self.bring_back)
        self.upscaling = UpscaleFold(self.upscale)
        self._situation = Situation(self.generate)
        column = column_of(self.form.box, self.upscaling.box)
        page = scrolled(column_of(self._situation.target, column, self.history.box, spacing=12, margin=12))
        middle = Gtk.Paned(orientation=Gtk.Orientation.VERTICAL)
        middle.pack1(page, True, False)
        middle.pack2(self.results.box, False, False)
        # However much is unfolded above, what an edit comes to, and what it is begun and ended with, stays in sight.
        foot = column_of(self.progress.box, self._situation.actions, spacing=12, margin=12)
        whole = column_of(self.notice.bar, middle, foot, spacing=0, growing=middle)
        self.window.add(whole)
        whole.show_all()
        self._situation.button.set_can_default(True)
        self.window.set_default(self._situation.button)
        GimpUi.window_set_transient(self.window)

    def _key(self, window: Any, event: Any) -> bool:
        control = bool(event.state & Gdk.ModifierType.CONTROL_MASK)
        if control and event.keyval in (Gdk.KEY_Return, Gdk.KEY_KP_Enter):
            self.generate()
            return True
        if event.keyval == Gdk.KEY_Escape and self._running:
            self.cancel()
            return True
        return False

    # ---- what it shows by itself -------------------------------------------------------------------------------------

    def look(self) -> None:
        selected = self._images.selected
        self._images.look()
        self._recall.follow(self._images.document)
        self._anew = self._anew and selected == self._images.selected
        self._changed()

    def _look_again(self) -> bool:
        if not self._ended:
            try:
                self.look()
            except Exception:
                log.exception("looking at the images failed")  # a timer that raises would never come again
        return not self._ended

    def _changed(self) -> None:
        self._situation.show(self._images, self._foretold())
        if self.form.added.follows_layers:
            document = self._images.document
            self.form.added.offer_layers(document.layer_names() if document else {})

    def _foretold(self) -> str:
        """What Generate would do."""
        asked, has_image = generating(self.form.asked, self._anew), self._images.canvas is not None
        kind = self._editor.model_kind(asked.settings)
        return deed_of(mode_of(asked, self._images.selected is not None, has_image, kind), asked.settings.intent)

    # ---- what the artist does ----------------------------------------------------------------------------------------

    def generate(self) -> None:
        self._take_typed()
        self._start(generating(self.form.asked, self._anew))
        store_values(self._home, self.form.settings)
        store_choices(self._home, self.form.placing)

    def remove(self) -> None:
        self._start(removing(self.form.asked))

    def upscale(self) -> None:
        if self._images.document is None:
            self._complain(BadRequest("No image is open.", "Open the one that is to become larger."))
            return
        self._take_typed()
        self._start(upscaling(self.form.settings, self.upscaling.values))
        store_choices(self._home, self.upscaling.values)

    def repeat(self) -> None:
        """The last edit once more, on the image and selection of now; what the form shows where there has been none."""
        if self._last is None:
            self.generate()
        else:
            self._start(self._last)

    def _take_typed(self) -> None:
        """GTK takes over a number that is typed when the keyboard leaves it, which no key does that presses a button."""
        typed = self.window.get_focus()
        if isinstance(typed, Gtk.SpinButton):
            typed.update()

    def _start(self, asked: Asked) -> None:
        try:
            self.look()
            document = self._images.document or self._on_view(NEW_IMAGE)
            if document.is_changing:
                self._later(lambda: self._start(asked))
                return
            document.keeps_active = True  # the artist may be painting when the layer comes
            document.from_layer, document.as_mask = asked.from_layer, asked.as_mask
            if asked.settings.intent == "remove" and document.selection_bounds() is None:
                raise BadRequest("Nothing is selected.", "Select what to change.")
            settings = suited(asked.settings, self.form.models.get(asked.settings.model or ""))
            job = self._editor.start(document, settings, asked.edges)
        except ScumbleError as error:
            self._complain(error)
            return
        self._recall.keep(always=True)
        self._last, self._anew = asked, False
        away = self._client.welcome is None
        if away:
            self._try_again()
        else:
            self.notice.hide()
        self._edges[job] = asked.edges
        self._running.append(job)
        if len(self._running) == 1:
            self.progress.begin("Waiting for the backend..." if away else "Sending...")
        self._changed()

    def cancel(self) -> None:
        """Ends the edit that runs, or that would be next."""
        if self._running:
            self._client.cancel(self._running[0])

    def apply(self, variant: Variant, document: GimpDocument | None = None, anyway: bool = False) -> None:
        job, index = variant
        try:
            if document is None and self._editor.document(job) is None:
                document = self._images.document or self._on_view(self._result(job).request.canvas)
            home = document or self._editor.document(job)
            if isinstance(home, GimpDocument) and home.is_open and home.is_changing:
                self._later(lambda: self.apply(variant, document, anyway))
                return
            deed = mode_name(self._result(job).request.mode)
            self._perform(f"Scumble: {deed}", lambda: self._editor.insert(job, index, document, anyway))
        except CanvasChanged as error:
            self.notice.say(error_words(error), "Insert Anyway", lambda: self.apply(variant, document, True))
            return
        except ScumbleError as error:
            home = document or self._editor.document(job)
            if isinstance(home, GimpDocument) and not home.is_open:
                words = "The image of this result has been closed."
                self.notice.say(words, "Open as New Image", lambda: self._apply_elsewhere(variant))
            else:
                self._complain(error)
            return
        home = document or self._editor.document(job)
        if isinstance(home, GimpDocument):
            self._images.overlook(home)
        self.results.mark_inserted(variant)
        self._grown(job)
        if self._client.welcome is not None:
            self.notice.hide()

    def discard(self, variant: Variant) -> None:
        self._forget(variant[0])

    def reuse(self, entry: HistoryEntry) -> None:
        again = shown_again(entry.request, self.form.settings)
        if again.upscaling is not None:
            self.upscaling.values = again.upscaling
        if again.edges is not None:
            self.form.show_edges(again.edges)
        self._anew = again.anew
        self.form.show_settings(again.values)

    def bring_back(self, entry: HistoryEntry) -> None:
        self._client.resume(entry.job)

    def forwarded(self, command: str, image: Any | None) -> None:
        """A menu item was chosen while the panel is open."""
        if image is not None:
            self._images.follow(image.get_id())
            self._recall.follow(self._images.document)
            self._changed()
        if command in (REMOVE.name, REPEAT.name):
            (self.remove if command == REMOVE.name else self.repeat)()
            return
        self._anew = command == GENERATE.name
        if command == EXTEND_CANVAS.name:
            self.form.unfold_edges()
        elif command == UPSCALE.name:
            self.upscaling.unfold()
        elif command != PANEL.name:
            self.form.show_edges(Edges())
            if not self._anew:
                self.form.show_settings({"intent": "fill"})
            full = command != REFINE.name
            if full != (self.form.settings.strength >= 1):
                self.form.show_settings({"strength": 1.0 if full else REFINED})
            self.form.prompt.take_focus()
        self._changed()
        self.window.present_with_time(GLib.get_monotonic_time() // 1000)

    # ---- what the backend says ---------------------------------------------------------------------------------------

    def _wake(self) -> None:
        GLib.idle_add(self._listen, priority=GLib.PRIORITY_DEFAULT)

    def _listen(self) -> bool:
        if not self._ended:
            for event in self._client.events():
                self._hear(event)
        return False

    def _hear(self, event: Event) -> None:
        if isinstance(event, Connected):
            self._welcome(event.welcome)
        elif isinstance(event, Lost):
            if self._running:
                self.progress.begin("Waiting for the backend...")
            self._say_lost(error_words(event.error))
        elif isinstance(event, Finished):
            self._finished(event)
        else:
            self._received(event)

    def _say_lost(self, words: str) -> None:
        """Once, though it comes with each try: the artist may have closed it."""
        if words != self._lost:
            self._lost = words
            if command_in(words):
                self.notice.say(words)
            else:
                self.notice.say(words, "Try Again", self._try_again)

    def _try_again(self) -> None:
        self._lost = ""
        self._client.connect()

    def _received(self, event: Received) -> None:
        message = event.message
        if isinstance(message, Accepted):
            if message.job not in self._running:
                self._running.append(message.job)  # of an earlier panel
            if self._running[0] == message.job:
                self.progress.begin(DEEDS[message.request.mode] + "...")
        elif isinstance(message, Progress) and message.job in self._running:
            self._running.remove(message.job)
            self._running.insert(0, message.job)
            self.progress.show(message, event.buffers, len(self._running) - 1)
        elif isinstance(message, Cancelled):
            self._over(message.job)
        elif isinstance(message, Failed):
            self._over(message.job)
            self._complain(message)
        elif isinstance(message, HistoryList):
            self.history.show(message.entries)
        elif isinstance(message, ModelList) and self._client.welcome is not None:
            self._offer(self._client.welcome)
        elif isinstance(message, Looking):
            self._lost = ""
            self.notice.say(looking_words(message) + "...", bad=False)
        elif isinstance(message, Queue):
            pass  # the progress of the first one says how many wait

    def _welcome(self, welcome: Welcome) -> None:
        self._lost = ""
        store_session(self._home, welcome.session)
        self._offer(welcome, connected=True)
        self._changed()

    def _offer(self, welcome: Welcome, connected: bool = False) -> None:
        self.form.offer(welcome.models, welcome.adapters, welcome.samplers)
        self.upscaling.offer(welcome.models)
        self.notice.tell_of(welcome.models, connected)

    def _finished(self, event: Finished) -> None:
        job = event.result.job
        self._over(job)
        self._editor.finish(event)
        for index, layer in enumerate(event.result.layers):
            size, pixels = self._editor.pixels(job, index)
            self.results.show((job, index), size, pixels, layer.seed)
        for old in self._editor.surplus():
            self._forget(old)
        if self.form.placing.at_once and len(event.result.layers) == 1 and self._editor.document(job) is not None:
            self.apply((job, 0))
        if self.history.is_open:
            self._client.history()

    def _forget(self, job: str) -> None:
        self._editor.discard(job)
        self.results.remove(job)

    def _over(self, job: str | None) -> None:
        if job in self._running:
            self._running.remove(job)
        if self._running:
            self.progress.begin("Waiting...")
        else:
            self.progress.end()

    def _complain(self, error: ScumbleError | Failed) -> None:
        self.notice.say(f"{error.message} {error.hint}".strip())

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def _result(self, job: str) -> Result:
        result = self._editor.result(job)
        if result is None:
            raise BadRequest("This result has been discarded.", "Bring it back from the history.")
        return result

    def _apply_elsewhere(self, variant: Variant) -> None:
        self.apply(variant, self._on_view(self._result(variant[0]).request.canvas), anyway=True)

    def _later(self, call: Callable[[], None]) -> None:
        """When GIMP is through with the canvas: it would wait for what is done meanwhile, and tear it apart."""

        def again() -> bool:
            if not self._ended:
                call()
            return False

        self.notice.say("GIMP is changing the canvas; it will be done after that.", bad=False)
        GLib.timeout_add(LOOK_MILLISECONDS, again)

    def _on_view(self, size: Size) -> GimpDocument:
        """A new image."""
        document = new_image(size)
        put_on_view(document)
        self._recall.follow(self._images.add(document))
        return document

    def _grown(self, job: str) -> None:
        """An extension that is in place is not to be done again by the next click; what has been filled in since stays."""
        if self.form.asked.edges == self._edges.get(job):
            self.form.show_edges(Edges())

    def _end(self) -> None:
        self._ended = True
        self._client.close()
        self._recall.keep()
