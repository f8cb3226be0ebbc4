"""Jobs, results, notices and the connection, with a client that is told what to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import fakes

JOB = "a" * 32


class ToldClient:
    """Says what the test wants, and notes what it was asked."""

    welcome = None

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.coming: list[Any] = []

    def submit(self, request: Any, image: bytes, mask: Any, job: Any = None, **others: Any) -> str:
        self.asked.append(("submit", request))
        return f"{len(self.asked):032x}"

    def events(self) -> list[Any]:
        events, self.coming = self.coming, []
        return events

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **more: self.asked.append((name, *arguments))


class Desk:
    """A workshop, its client and a document of 64 x 48 with a selection."""

    def __init__(self, home: Path, krita: fakes.Krita, monkeypatch: pytest.MonkeyPatch) -> None:
        from scumble_krita import workshop
        from scumble_krita.documents import Documents
        from scumble_krita.lib.scumble.home import Home
        from scumble_krita.preferences import Preferences

        self.client = ToldClient()
        monkeypatch.setattr(workshop, "Client", lambda *arguments, **more: self.client)
        self.handle = fakes.Document(64, 48)
        self.handle.base.setPixelData(fakes.QByteArray(bytes([10, 20, 30, 255]) * 64 * 48), 0, 0, 64, 48)
        self.handle.selected = fakes.Selection(8, 4, np.full((3, 5), 255, np.uint8))
        krita.open.append(self.handle)
        self.preferences = Preferences(Home(home))
        self.workshop = workshop.Workshop(Home(home), self.preferences, Documents(), lambda: None)
        self.document = self.workshop.documents.active()

    def start(self, **fields: Any) -> str:
        from scumble_krita.form import Form

        self.workshop.start(self.document, Form(**fields))
        return list(self.workshop.jobs)[-1]

    def hear(self, *events: Any) -> None:
        self.client.coming.extend(events)
        self.workshop.handle_events()

    def tell(self, message: Any) -> None:
        from scumble_krita.lib.scumble.client.events import Received

        self.hear(Received(message))

    def finish(self, job: str, count: int = 1) -> None:
        from scumble_krita.lib.scumble.client.events import Finished
        from scumble_krita.lib.scumble.protocol.geometry import Bounds, Size
        from scumble_krita.lib.scumble.protocol.messages import Buffer, EditRequest, Layer, Result

        bounds = Bounds(8, 4, 5, 3)
        request = EditRequest("fill", Size(64, 48), Bounds(0, 0, 64, 48), bounds, prompt="cat", seed=7, count=count)
        layers = tuple(Layer(bounds, 7 + index) for index in range(count))
        buffers = tuple(Buffer("layer", 5, 3, "rgba8", "raw", bytes([index, 0, 0, 255]) * 15) for index in range(count))
        self.hear(Finished(Result(job, request, layers, request.image, {}, 0.0), buffers))

    @property
    def submitted(self) -> list[Any]:
        """The requests, oldest first."""
        return [asked[1] for asked in self.client.asked if asked[0] == "submit"]

    @property
    def names(self) -> list[str]:
        return [node.name() for node in self.handle.root.children]


@pytest.fixture
def desk(tmp_path: Path, krita: fakes.Krita, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, krita, monkeypatch)


def test_a_result_becomes_a_layer_by_itself_once(desk: Desk) -> None:
    job = desk.start(prompt="cat")
    assert [found.id for found in desk.workshop.jobs_of(desk.document)] == [job]
    desk.finish(job)
    assert desk.names == ["base", "cat (7)"]
    assert desk.workshop.jobs == {}
    assert ("acknowledge", job) in desk.client.asked
    desk.finish(job)
    assert desk.names == ["base", "cat (7)"]
    assert [outcome.job for outcome in desk.workshop.outcomes] == [job]


def test_results_are_shown_with_their_document(desk: Desk, krita: fakes.Krita) -> None:
    job = desk.start()
    desk.finish(job)
    krita.open.append(fakes.Document(30, 20))
    other = desk.workshop.documents.active()
    assert [outcome.job for outcome in desk.workshop.results(desk.document)] == [job]
    assert desk.workshop.results(other) == []
    desk.handle.close()
    assert [outcome.job for outcome in desk.workshop.results(other)] == [job]


def test_a_session_is_remembered_until_another_backend_is_used(desk: Desk) -> None:
    from scumble_krita.lib.scumble.client.events import Connected
    from scumble_krita.lib.scumble.protocol.messages import Limits, Welcome

    desk.hear(Connected(Welcome(1, "0", "secret", Limits(), (), (), ())))
    assert desk.preferences["session"] == "secret"
    desk.workshop.use(("studio", 8737, "token"))
    assert desk.preferences["session"] is None


def test_an_event_that_cannot_be_handled_holds_up_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[str] = []

    def handle(event: Any) -> None:
        handled.append(event)
        if event == "bad":
            raise ValueError("of no use")

    monkeypatch.setattr(desk.workshop, "_handle", handle)
    with pytest.raises(ValueError, match="of no use"):
        desk.hear("bad", "good")
    assert handled == ["bad", "good"]


def test_what_comes_while_a_layer_is_added_waits_for_its_turn(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Krita 6 handles events inside of addChildNode."""
    add = fakes.Node.addChildNode

    def add_and_handle_events(node: fakes.Node, child: fakes.Node, above: None) -> None:
        monkeypatch.setattr(fakes.Node, "addChildNode", add)
        desk.workshop.step(desk.document, 1)
        desk.workshop.apply(job)
        assert desk.names == ["base"]
        add(node, child, above)

    job = desk.start(prompt="cat", count=3)
    monkeypatch.setattr(fakes.Node, "addChildNode", add_and_handle_events)
    desk.finish(job, 3)
    assert desk.names == ["base", "cat (8)"]
    assert desk.workshop.outcome(job).applied == {1}


def test_a_result_waits_for_the_end_of_a_stroke(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Krita ends it where a layer is added."""
    from scumble_krita.workshop import LOOK_AGAIN

    later: list[Any] = []
    wait = staticmethod(lambda delay, call: later.append(call) if delay == LOOK_AGAIN else call())
    first, second = desk.start(prompt="cat"), desk.start(prompt="cat")
    monkeypatch.setattr(fakes.QTimer, "singleShot", wait)
    desk.handle.busy = True
    desk.finish(first, 2)
    desk.finish(second, 2)
    desk.workshop.show(second, 1)  # a click does not wait
    assert desk.names == ["base", "cat (8)"]
    assert desk.workshop.jobs == {}
    desk.handle.busy = False
    for again in later:
        again()
    assert desk.names == ["base", "cat (8)", "cat (7)"]
    assert [outcome.shown for outcome in desk.workshop.outcomes] == [0, 1]


def test_an_upscale_enlarges_the_picture_first(desk: Desk) -> None:
    from scumble_krita.form import Form
    from scumble_krita.lib.scumble.client.events import Finished
    from scumble_krita.lib.scumble.protocol.geometry import Bounds
    from scumble_krita.lib.scumble.protocol.messages import Buffer, Layer, Result

    desk.workshop.start(desk.document, Form(factor=3, upscale_strength=20).upscaling)
    (job,) = desk.workshop.jobs
    request = desk.client.asked[0][1]
    assert (request.mode, request.factor, request.strength, request.mask) == ("upscale", 3, 0.2, None)
    whole = Bounds(0, 0, 192, 144)
    buffer = Buffer("layer", 192, 144, "rgba8", "raw", bytes([1, 2, 3, 255]) * whole.area)
    desk.hear(Finished(Result(job, request, (Layer(whole, 7),), request.image, {}, 0.0), (buffer,)))
    assert desk.handle.size == (192, 144)
    assert desk.names == ["base", "Upscale (7)"]
    assert desk.document._node_of(job, 0).pixelData(*whole).data() == buffer.data


def test_steps_go_round_and_apply_keeps(desk: Desk) -> None:
    job = desk.start()
    desk.finish(job, 3)
    seen = []
    for _ in range(3):
        desk.workshop.step(desk.document, 1)
        seen.append(desk.names)
    assert seen == [["base", "cat (8)"], ["base", "cat (9)"], ["base", "cat (7)"]]
    desk.workshop.step(desk.document, -1)
    desk.workshop.apply(job)
    assert desk.workshop.outcome(job).applied == {2}
    desk.workshop.step(desk.document, 1)
    assert desk.names == ["base", "cat (9)", "cat (7)"]
    desk.workshop.discard(job)
    assert desk.names == ["base", "cat (9)"]
    assert desk.workshop.outcomes == []


@pytest.mark.parametrize("by", [1, -1])
def test_steps_pass_over_what_was_applied(desk: Desk, by: int) -> None:
    job = desk.start()
    desk.finish(job, 3)
    desk.workshop.apply(job)
    seen = []
    for _ in range(3):
        desk.workshop.step(desk.document, by)
        seen.append(desk.names[2:])
    first, second = (["cat (8)"], ["cat (9)"])[::by]
    assert seen == [first, second, first]


def test_an_applied_image_that_was_undone_can_be_shown_again(desk: Desk) -> None:
    job = desk.start()
    desk.finish(job, 2)
    desk.workshop.apply(job)
    desk.workshop.show(job, 0)
    assert desk.names == ["base", "cat (7)"]
    desk.handle.root.children[-1].remove()  # undone
    desk.workshop.show(job, 0)
    assert desk.names == ["base", "cat (7)"]
    assert (desk.workshop.outcome(job).shown, desk.workshop.outcome(job).applied) == (0, set())


def test_what_was_clicked_last_is_meant_until_something_comes(desk: Desk) -> None:
    older, newer = desk.start(), desk.start()
    desk.finish(older, 2)
    desk.finish(newer)
    assert desk.workshop.latest(desk.document).job == newer
    desk.workshop.show(older, 1)
    assert desk.names == ["base", "cat (8)", "cat (7)"]  # in place of the one that was shown
    assert desk.workshop.latest(desk.document).job == older
    desk.workshop.step(desk.document, 1)
    assert desk.workshop.outcome(older).shown == 0
    desk.workshop.discard(older)
    assert desk.workshop.latest(desk.document).job == newer
    desk.finish(desk.start())
    assert desk.workshop.latest(desk.document).job not in (older, newer)


def test_a_layer_that_is_followed_goes_with_the_edit(desk: Desk) -> None:
    from scumble_krita.added import ControlRow, LoraRow
    from scumble_krita.lib.scumble.protocol.messages import Control, LoraUse

    rows = (ControlRow("c"), ControlRow("d", desk.document.layers()[0][0], "invert"))
    desk.start(prompt="a cat", loras=(LoraRow("l", 0.5),), controls=rows)
    (request,) = desk.submitted
    assert request.loras == (LoraUse("l", 0.5),)
    assert request.controls == (Control("c", request.image, "canny"), Control("d", request.image, "invert"))


def test_an_extension_is_none_of_the_intents(desk: Desk) -> None:
    """What is chosen for selections says nothing of canvas that was not there."""
    from scumble_krita.form import Form
    from scumble_krita.lib.scumble.client.document import Edges

    for mode in ("add", "remove"):
        desk.workshop.start(desk.document, Form(prompt="sky", mode=mode), Edges(left=8))
        request = desk.client.asked[-2][1]
        assert (request.mode, request.prompt, request.prefill) == ("outpaint", "sky", "auto")


def test_what_is_sent_depends_on_the_model_that_is_chosen(desk: Desk, flow: Any, able: Any) -> None:
    from scumble_krita.added import LoraRow
    from scumble_krita.lib.scumble.protocol.messages import LoraUse, ModelList

    desk.tell(ModelList((able, flow)))
    for model in ("f", "s", ""):
        desk.start(prompt="cat", model=model, sampler="euler_a", clip_skip=2, loras=(LoraRow("l"),))
    assert [(request.sampler, request.clip_skip, request.loras) for request in desk.submitted] == [
        (None, 1, ()),
        *[("euler_a", 2, (LoraUse("l"),))] * 2,
    ]


def test_an_upscale_is_sent_what_its_own_model_takes(desk: Desk, flow: Any, able: Any) -> None:
    from scumble_krita.added import LoraRow
    from scumble_krita.form import Form
    from scumble_krita.lib.scumble.protocol.messages import ModelList

    desk.tell(ModelList((able, flow)))
    form = Form(prompt="cat", model="s", upscale_model="f", sampler="euler_a", loras=(LoraRow("l"),))
    desk.workshop.start(desk.document, form.upscaling)
    (request,) = desk.submitted
    assert (request.mode, request.model, request.sampler, request.loras) == ("upscale", "f", None, ())


def test_progress_queue_and_cancel(desk: Desk) -> None:
    from scumble_krita.lib.scumble.protocol.messages import Cancelled, Progress, Queue

    first, second = desk.start(), desk.start()
    desk.tell(Progress(first, "denoising", 3, 20, 4.5))
    desk.tell(Queue({second: 1}))
    assert [(job.step, job.position) for job in desk.workshop.jobs_of(desk.document)] == [(3, 0), (0, 1)]
    desk.workshop.cancel(desk.document)
    assert desk.client.asked[-1] == ("cancel", first)
    desk.tell(Cancelled(first))
    assert list(desk.workshop.jobs) == [second]


def test_a_cancel_is_shown_at_once_and_the_next_one_ends_the_next_edit(desk: Desk) -> None:
    """The backend may take as long as a step to end an edit."""
    from scumble_krita.lib.scumble.protocol.messages import Progress

    first, second = desk.start(), desk.start()
    other = desk.workshop.jobs[second]
    desk.workshop.jobs["c" * 32] = replace(other, id="c" * 32, document=None)
    told: list[list[bool]] = []
    desk.workshop.views.append(lambda: told.append([job.cancelling for job in desk.workshop.jobs.values()]))
    desk.workshop.cancel(desk.document)
    assert told == [[True, False, False]]
    desk.tell(Progress(first, "denoising", 3, 20, 4.5))
    assert desk.workshop.jobs[first].cancelling
    desk.workshop.cancel(desk.document)
    desk.workshop.cancel(desk.document)  # not that of another document
    assert [asked for asked in desk.client.asked if asked[0] == "cancel"] == [("cancel", first), ("cancel", second)]


def test_a_closed_document_offers_a_new_one(desk: Desk, krita: fakes.Krita) -> None:
    job = desk.start()
    desk.handle.close()
    desk.finish(job)
    assert desk.workshop.notice.button == "Open as document"
    assert ("acknowledge", job) not in desk.client.asked
    desk.workshop.notice.act()
    (opened,) = krita.open
    assert [node.name() for node in opened.root.children] == ["cat (7)"]


def test_a_closed_document_offers_a_new_one_for_what_was_shown_on_it(desk: Desk, krita: fakes.Krita) -> None:
    job = desk.start()
    desk.finish(job)
    desk.handle.close()
    desk.workshop.apply(job)
    assert desk.workshop.notice.button == "Open as document"
    desk.workshop.notice.act()
    (opened,) = krita.open
    assert [node.name() for node in opened.root.children] == ["cat (7)"]


def test_what_is_brought_back_while_it_is_here_is_in_hand(desk: Desk) -> None:
    first, second = desk.start(), desk.start()
    desk.finish(first)
    desk.finish(second)
    assert desk.workshop.latest(desk.document).job == second
    desk.workshop.bring_back(first)
    assert desk.workshop.latest(desk.document).job == first
    assert not any(asked[0] == "resume" for asked in desk.client.asked)


def test_a_changed_canvas_asks(desk: Desk) -> None:
    job = desk.start()
    desk.handle.size = (128, 96)
    seen = []
    desk.workshop.views.append(lambda: seen.append(desk.workshop.notice))
    desk.finish(job)
    assert desk.workshop.notice.button == "Insert anyway"
    assert desk.names == ["base"]
    desk.workshop.dismiss()
    desk.workshop.step(desk.document, 1)  # a click is answered as well
    assert seen[-1].button == "Insert anyway"
    desk.workshop.notice.act()
    assert desk.names == ["base", "cat (7)"]


def test_a_result_of_an_earlier_session_waits_for_a_click(desk: Desk) -> None:
    desk.finish(JOB)
    assert desk.names == ["base"]
    assert desk.workshop.notice.button == "Insert"
    desk.workshop.notice.act()
    assert desk.names == ["base", "cat (7)"]


@pytest.mark.parametrize("answer", ["show", "discard"])
def test_a_question_about_a_result_goes_with_the_answer(desk: Desk, answer: str) -> None:
    job = desk.start()
    desk.handle.size = (128, 96)
    desk.finish(job)
    assert desk.workshop.notice.button == "Insert anyway"
    getattr(desk.workshop, answer)(job, *([0, True] if answer == "show" else []))
    assert desk.workshop.notice is None
    desk.finish(JOB)
    assert desk.workshop.notice.button == "Insert"
    getattr(desk.workshop, answer)(JOB, *([0, True] if answer == "show" else []))
    assert desk.workshop.notice is None


@pytest.mark.parametrize(
    ("code", "choice", "button"),
    [
        ("model_missing", True, "Choose a model"),
        ("model_missing", False, "Try again"),
        ("out_of_memory", True, "Try again"),
        ("bad_request", True, ""),
        ("disk_full", True, "Try again"),
    ],
)
def test_failures_have_one_button_that_helps(desk: Desk, able: Any, code: str, choice: bool, button: str) -> None:
    from scumble_krita.lib.scumble.protocol.messages import Failed, ModelList

    if choice:
        desk.tell(ModelList((able,)))
    job = desk.start(prompt="cat")
    desk.tell(Failed(code, "It went wrong.", "Do this.", job))
    assert (desk.workshop.notice.message, desk.workshop.notice.hint) == ("It went wrong.", "Do this.")
    assert desk.workshop.notice.button == button
    assert desk.workshop.jobs == {}
    if button == "Try again":
        desk.workshop.notice.act()
        submitted = desk.submitted
        assert len(submitted) == 2
        assert submitted[0] == submitted[1]


def test_the_connection_in_words(desk: Desk) -> None:
    from scumble_krita.lib.scumble.client.connection import Unreachable
    from scumble_krita.lib.scumble.client.events import Connected, Lost, Received
    from scumble_krita.lib.scumble.protocol.errors import NotAuthorised, UnsupportedVersion
    from scumble_krita.lib.scumble.protocol.messages import Limits, Looking, Welcome

    shop = desk.workshop
    shop.connect()
    assert (shop.link.state, shop.link.words) == ("starting", "Starting the backend")
    desk.hear(Lost(Unreachable("Not installed."), 0.5))
    assert (shop.link.state, shop.notice.button) == ("starting", "Try again")
    assert shop.link.words == "Not connected, trying again"
    shop.dismiss()
    desk.hear(Lost(Unreachable("Not installed."), 1.0))
    assert shop.notice is None  # it is the same at each try
    shop.connect()
    assert shop.link.words == "Starting the backend"
    desk.hear(Lost(Unreachable("Not installed."), 0.5))
    assert shop.notice.button == "Try again"
    desk.hear(Received(Looking(0, 0)))
    assert (shop.link.words, shop.notice) == ("Looking through the models", None)
    desk.hear(Received(Looking(1234, 3000)))
    assert (shop.link.state, shop.link.words) == ("starting", "Looking through the models: 1,234 of 3,000")
    desk.hear(Connected(Welcome(1, "0.1.0", "s", Limits(), (), ("euler",), ())))
    assert (shop.link.state, shop.notice, shop.samplers) == ("ready", None, ("euler",))
    desk.hear(Lost(Unreachable("Gone."), 0.5))
    assert (shop.link.state, shop.notice) == ("lost", None)
    desk.hear(Lost(UnsupportedVersion("Another version."), None))
    assert (shop.link.words, shop.notice.button) == ("Versions differ", "Try again")
    asked = []
    shop.ask_connection = lambda: asked.append(True)
    desk.hear(Lost(NotAuthorised("Wrong token."), None))
    shop.notice.act()
    assert asked == [True]


def test_no_document_is_said(desk: Desk) -> None:
    from scumble_krita.form import Form
    from scumble_krita.lib.scumble.protocol.errors import BadRequest

    with pytest.raises(BadRequest, match="No picture"):
        desk.workshop.start(None, Form())


def test_another_backend_begins_anew(desk: Desk) -> None:
    desk.finish(desk.start())
    desk.start()
    desk.workshop.use(("studio", 8737, "token"))
    assert desk.workshop.remote == ("studio", 8737, "token")
    assert (desk.workshop.outcomes, desk.workshop.jobs) == ([], {})
    assert desk.workshop.link.words == "Connecting"


def test_old_results_leave_the_memory(desk: Desk) -> None:
    jobs = [desk.start() for _ in range(15)]
    for job in jobs:
        desk.finish(job)
    assert [outcome.job for outcome in desk.workshop.outcomes] == jobs[-12:]
