"""From an edit back onto the right pixels, exactly once; `test_prepare` is about the way there."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from scumble.client.client import Client
from scumble.client.document import Edges
from scumble.client.editor import (
    CanvasChanged,
    ControlLayer,
    Editor,
    EditSettings,
    ReferenceLayer,
    RegionLayer,
    layer_name,
    prepare,
)
from scumble.client.events import Finished
from scumble.client.placement import Placement, scaling
from scumble.protocol.errors import BadRequest
from scumble.protocol.frames import pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import (
    EditRequest,
    Layer,
    Limits,
    LoraUse,
    Mode,
    ModelInfo,
    Result,
    Welcome,
    replace,
)

from .memory_document import OPAQUE, SELECTED, MemoryDocument

JOB = "0" * 32


class QuietClient(Client):
    """Notes what would be sent."""

    def __init__(self) -> None:
        super().__init__("test", lambda: None)  # type: ignore[arg-type, return-value]
        self.said: list[tuple[str, Any]] = []

    def submit(
        self,
        request: EditRequest,
        image: bytes,
        mask: bytes | None = None,
        job: str | None = None,
        priority: int = 0,
        controls: Sequence[bytes] = (),
        regions: Sequence[bytes] = (),
        references: Sequence[bytes] = (),
    ) -> str:
        job = job or f"{len(self.said):032x}"
        self.said.append(("submit", request))
        return job

    def acknowledge(self, job: str) -> None:
        self.said.append(("acknowledge", job))

    def cancel(self, job: str) -> None:
        self.said.append(("cancel", job))


def finish(editor: Editor, job: str, request: EditRequest, *bounds: Bounds) -> None:
    layers = tuple(Layer(place, 7 + index) for index, place in enumerate(bounds))
    buffers = tuple(pack("layer", b.width, b.height, "rgba8", OPAQUE * b.area) for b in bounds)
    editor.finish(Finished(Result(job, replace(request, seed=7), layers, request.image, {}, 0.0), buffers))


@pytest.fixture
def client() -> QuietClient:
    return QuietClient()


@pytest.fixture
def editor(client: QuietClient) -> Editor:
    return Editor(client)


def start(editor: Editor, client: QuietClient, document: MemoryDocument, edges: Edges | None = None) -> tuple[str, Any]:
    job = editor.start(document, EditSettings(prompt="a cat"), edges)
    return job, client.said[-1][1]


def test_a_layer_or_a_lora_says_as_much_as_words(editor: Editor, client: QuietClient) -> None:
    """As the server chooses: a fill model can neither follow a layer nor take one up, and has no use for a LoRA."""
    models = (ModelInfo("d", "", "diffusion", "", False, 512, 1), ModelInfo("f", "", "fill", "", False, 512, 1))
    client._welcome = Welcome(1, "", "", Limits(), models, (), ())
    assert editor.model_kind(EditSettings()) == "fill"
    assert editor.model_kind(EditSettings(loras=(LoraUse("ink", 0.0),))) == "fill"
    for told in (
        EditSettings(loras=(LoraUse("ink", 0.8),)),
        EditSettings(prompt="a cat"),
        EditSettings(controls=(ControlLayer("c"),)),
        EditSettings(references=(ReferenceLayer("r"),)),
        EditSettings(regions=(RegionLayer("a star", "half"),)),
    ):
        assert editor.model_kind(told) == "diffusion"


def test_a_layer_that_is_gone_is_told_before_anything_is_sent(editor: Editor, client: QuietClient) -> None:
    with pytest.raises(BadRequest, match="no such layer"):
        editor.start(MemoryDocument(Size(30, 20)), EditSettings(prompt="x", controls=(ControlLayer("c", "gone"),)))
    assert client.said == []


# ---- result to document ----------------------------------------------------------------------------------------------


def test_a_layer_lands_where_it_was_made_and_is_acknowledged(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 64), selected=SELECTED)
    job, request = start(editor, client, document)
    finish(editor, job, request, SELECTED[0])
    assert editor.insert(job)
    (layer,) = document.layers
    assert (layer.bounds, layer.pixels, layer.name) == (SELECTED[0], OPAQUE * 12, "a cat (7)")
    assert (layer.request.seed, layer.request.count) == (7, 1)
    assert client.said[-1] == ("acknowledge", job)


def test_nothing_is_inserted_twice(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 64), selected=SELECTED)
    job, request = start(editor, client, document)
    finish(editor, job, request, SELECTED[0], SELECTED[0])
    assert editor.insert(job, 1)
    assert not editor.insert(job, 1)
    assert editor.insert(job, 0)
    assert [(layer.index, layer.request.seed) for layer in document.layers] == [(1, 8), (0, 7)]
    assert client.said.count(("acknowledge", job)) == 1


def test_nothing_is_inserted_twice_into_a_document_that_cannot_tell(editor: Editor, client: QuietClient) -> None:
    class Forgetful(MemoryDocument):
        def contains(self, job: str, index: int) -> None:  # type: ignore[override]
            return None

    document = Forgetful(Size(64, 64), selected=SELECTED)
    job, request = start(editor, client, document)
    finish(editor, job, request, SELECTED[0])
    assert editor.insert(job)
    assert not editor.insert(job)
    assert len(document.layers) == 1


def test_a_layer_that_the_host_refused_is_not_acknowledged(
    editor: Editor, client: QuietClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise BadRequest("The image has been closed.")

    document = MemoryDocument(Size(64, 64), selected=SELECTED)
    job, request = start(editor, client, document)
    finish(editor, job, request, SELECTED[0])
    with monkeypatch.context() as patch:
        patch.setattr(document, "insert_layer", refuse)
        with pytest.raises(BadRequest):
            editor.insert(job)
    assert client.said[-1][0] == "submit"
    assert editor.insert(job)
    assert client.said[-1] == ("acknowledge", job)


def test_a_canvas_that_grew_between_reading_and_sending_is_followed(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 64), selected=SELECTED)
    mark, edit = document.mark(), prepare(document, EditSettings(prompt="a cat"))
    document.grow_canvas(Edges(left=10, top=5))
    job = editor.submit(document, edit, mark=mark)
    finish(editor, job, edit.request, SELECTED[0])
    editor.insert(job)
    assert document.layers[0].bounds == SELECTED[0].translate(10, 5)


def test_a_layer_that_a_killed_host_had_inserted_is_only_acknowledged(client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 64), selected=SELECTED)
    first = Editor(client)
    job, request = start(first, client, document)
    finish(first, job, request, SELECTED[0])
    first.insert(job)
    second = Editor(client)
    finish(second, job, request, SELECTED[0])
    assert not second.insert(job, document=document)
    assert len(document.layers) == 1
    assert client.said[-1] == ("acknowledge", job)


def test_an_outpaint_grows_the_canvas_once_for_all_its_variants(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48))
    job, request = start(editor, client, document, Edges(10, 5, 2, 0))
    finish(editor, job, request, request.mask, request.mask)
    editor.insert(job, 0)
    editor.insert(job, 1)
    assert document.growths == [Edges(10, 5, 2, 0)]
    assert document.size == Size(76, 53)
    assert [layer.bounds for layer in document.layers] == [Bounds(0, 0, 76, 53)] * 2


def test_other_edits_follow_a_canvas_that_grew(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48), selected=SELECTED)
    wide, wide_request = start(editor, client, document, Edges(left=10))
    wider, wider_request = start(editor, client, document, Edges(left=4, top=3))
    fill, fill_request = start(editor, client, document)
    finish(editor, wide, wide_request, wide_request.mask)
    finish(editor, wider, wider_request, wider_request.mask)
    finish(editor, fill, fill_request, SELECTED[0])
    editor.insert(wide)
    editor.insert(fill)
    assert document.layers[1].bounds == SELECTED[0].translate(10, 0)
    editor.insert(wider)
    assert document.growths == [Edges(left=10), Edges(top=3)]
    assert document.layers[2].bounds == wider_request.mask.translate(10, 3)


def test_a_result_is_never_misplaced_silently(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48), selected=SELECTED)
    job, request = start(editor, client, document)
    finish(editor, job, request, SELECTED[0])
    document.size = Size(60, 48)  # cropped by the artist
    with pytest.raises(CanvasChanged) as caught:
        editor.insert(job)
    assert caught.value.hint
    assert document.layers == []
    assert client.said[-1][0] == "submit"  # not acknowledged: it is not lost
    assert editor.insert(job, anyway=True)
    assert document.layers[0].bounds == SELECTED[0]


def test_what_was_inserted_anyway_is_followed_from_then_on(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48))
    wide, request = start(editor, client, document, Edges(left=10))
    finish(editor, wide, request, request.mask, request.mask)
    enlarged = upscale(editor, client, document, 2)
    document.size = Size(60, 48)
    assert editor.enlargement(enlarged, 0, document, anyway=True) == 2
    document.enlarge(2)
    editor.enlarged(enlarged, document)
    editor.insert(enlarged, 0)
    editor.insert(enlarged, 1)
    assert (document.size, document.layers[1].bounds) == (Size(120, 96), Bounds(0, 0, 128, 96))
    editor.insert(wide, 0, anyway=True)
    editor.insert(wide, 1)
    assert document.growths == [Edges(left=10)]
    assert document.layers[2].bounds == document.layers[3].bounds


def test_a_result_follows_a_picture_that_was_cropped_and_scaled(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48), selected=SELECTED)
    job, request = start(editor, client, document)
    wide, wide_request = start(editor, client, document, Edges(left=10))
    finish(editor, job, request, SELECTED[0])
    finish(editor, wide, wide_request, wide_request.mask)
    document.size = Size(60, 40)
    document.follow(Placement(-4, -2))
    document.size = Size(30, 20)
    document.follow(scaling(Size(60, 40), Size(30, 20)))
    assert editor.insert(job)
    placed = Placement(-2, -1, Fraction(1, 2), Fraction(1, 2)).of(SELECTED[0])
    assert (document.layers[0].bounds, document.layers[0].size) == (placed, SELECTED[0].size)
    assert editor.insert(wide)
    assert document.growths == [Edges(left=7)]  # 10 beyond what was cropped by 4, at half the size; no other side


def test_a_result_follows_a_picture_that_was_mirrored(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48), selected=SELECTED)
    job, request = start(editor, client, document)
    wide, wide_request = start(editor, client, document, Edges(left=10))
    layer = SELECTED[0]
    finish(editor, job, request, layer)
    finish(editor, wide, wide_request, wide_request.mask)
    document.mark()
    document.follow(Placement(64, 0, -1, 1))
    editor.insert(job)
    assert document.layers[0].bounds == Bounds(64 - layer.right, layer.y, *layer.size)
    editor.insert(wide)
    assert document.growths == [Edges(right=10)]
    assert document.layers[1].bounds == Bounds(64, 0, 10, 48)


def test_an_edit_begun_after_the_canvas_changed_is_placed(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48), selected=SELECTED)
    start(editor, client, document)
    document.size = Size(60, 48)
    job, request = start(editor, client, document)
    finish(editor, job, request, SELECTED[0])
    assert editor.insert(job)


def test_a_job_of_an_earlier_run_goes_into_a_document_of_its_size_only(editor: Editor, client: QuietClient) -> None:
    request = EditRequest("fill", Size(64, 48), Bounds(0, 0, 64, 48), SELECTED[0])
    finish(editor, JOB, request, SELECTED[0])
    assert editor.document(JOB) is None
    with pytest.raises(KeyError):
        editor.insert(JOB)
    with pytest.raises(CanvasChanged):
        editor.insert(JOB, document=MemoryDocument(Size(64, 49)))
    document = MemoryDocument(Size(64, 48))
    assert editor.insert(JOB, document=document)
    assert document.layers[0].bounds == SELECTED[0]


def test_variants_of_an_earlier_runs_outpaint_follow_the_growth(editor: Editor, client: QuietClient) -> None:
    edit = prepare(MemoryDocument(Size(64, 48)), EditSettings(), edges=Edges(left=10))
    assert edit.request.mask is not None
    finish(editor, JOB, edit.request, edit.request.mask, edit.request.mask)
    document = MemoryDocument(Size(64, 48))
    editor.insert(JOB, 0, document)
    editor.insert(JOB, 1, document)
    assert document.growths == [Edges(left=10)]
    assert [layer.bounds for layer in document.layers] == [Bounds(0, 0, 10, 48)] * 2


def upscale(editor: Editor, client: QuietClient, document: MemoryDocument, images: int = 1) -> str:
    job = editor.start(document, EditSettings(mode="upscale", factor=2))
    finish(editor, job, client.said[-1][1], *[Bounds(0, 0, 2 * document.size.width, 2 * document.size.height)] * images)
    return job


def test_an_upscale_enlarges_the_picture_once_for_all_its_variants(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48), selected=SELECTED)
    fill, fill_request = start(editor, client, document)
    job = upscale(editor, client, document, 2)
    assert editor.enlargement(job, 0, document) == 2
    editor.insert(job, 0)
    assert editor.enlargement(job, 0, document) == 1
    editor.insert(job, 1)
    assert document.size == Size(128, 96)
    assert [(layer.bounds, layer.size) for layer in document.layers] == [(Bounds(0, 0, 128, 96), (128, 96))] * 2
    finish(editor, fill, fill_request, SELECTED[0])
    editor.insert(fill)  # another edit follows
    assert (document.layers[-1].bounds, document.layers[-1].size) == (Bounds(60, 40, 8, 6), (4, 3))


def test_an_upscale_that_was_undone_enlarges_once_more(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48))
    job = upscale(editor, client, document, 2)
    editor.insert(job, 0)
    document.layers.clear()
    document.size = Size(64, 48)
    document.follow(scaling(Size(128, 96), Size(64, 48)))
    editor.insert(job, 1)
    assert document.size == Size(128, 96)
    assert document.layers[0].bounds == Bounds(0, 0, 128, 96)


def test_an_upscale_follows_a_picture_that_was_cropped(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48))
    job = upscale(editor, client, document, 2)
    document.size = Size(60, 40)
    document.follow(Placement(-4, -3))
    editor.insert(job, 0)
    assert document.size == Size(120, 80)
    assert document.layers[0].bounds == Bounds(-8, -6, 128, 96)
    document.size = Size(100, 80)
    document.follow(Placement(-20, 0))
    editor.insert(job, 1)
    assert document.layers[1].bounds == Bounds(-28, -6, 128, 96)


def test_an_upscale_follows_a_picture_that_was_scaled_as_well(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48))
    job = upscale(editor, client, document)
    document.size = Size(128, 96)
    document.follow(scaling(Size(64, 48), Size(128, 96)))
    editor.insert(job)
    assert document.size == Size(256, 192)  # twice as large as what the artist has made of it
    assert document.layers[0].bounds == Bounds(0, 0, 256, 192)


def test_an_upscale_follows_a_picture_that_was_mirrored(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48))
    job = upscale(editor, client, document, 2)
    document.follow(Placement(64, 0, -1, 1))
    editor.insert(job, 0)
    editor.insert(job, 1)
    assert document.size == Size(128, 96)
    assert [layer.bounds for layer in document.layers] == [Bounds(0, 0, 128, 96)] * 2


def test_an_upscale_of_an_earlier_run_goes_into_the_picture_before_and_after(
    editor: Editor, client: QuietClient
) -> None:
    job = upscale(editor, client, MemoryDocument(Size(64, 48)))
    later = Editor(client)
    later.finish(Finished(editor.result(job), [pack("layer", 128, 96, "rgba8", OPAQUE * 128 * 96)]))  # type: ignore[arg-type]
    for size in (Size(64, 48), Size(128, 96)):
        document = MemoryDocument(size)
        later.insert(job, 0, document)
        assert document.size == Size(128, 96)
        assert document.layers[0].bounds == Bounds(0, 0, 128, 96)
    with pytest.raises(CanvasChanged):
        later.insert(job, 0, MemoryDocument(Size(65, 48)))


def test_old_and_large_results_are_for_the_history(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    document = MemoryDocument(Size(64, 48), selected=SELECTED)
    request = prepare(document, EditSettings()).request
    jobs = [f"{number:032x}" for number in range(15)]
    for job in jobs:
        finish(editor, job, request, Bounds(0, 0, 10, 10))
    assert sorted(editor.surplus()) == jobs[:3]
    monkeypatch.setattr("scumble.client.editor.KEPT_BYTES", 850)  # of 400 each
    assert sorted(editor.surplus()) == jobs[:13]
    finish(editor, "f" * 32, request, Bounds(0, 0, 20, 20))
    assert sorted(editor.surplus()) == jobs  # but for the newest, whatever it takes
    for job in editor.surplus():
        editor.discard(job)
    assert editor.surplus() == []


def test_discard_forgets_a_result_and_cancels_what_runs(editor: Editor, client: QuietClient) -> None:
    document = MemoryDocument(Size(64, 48), selected=SELECTED)
    job, request = start(editor, client, document)
    assert editor.jobs(document) == [job]
    editor.discard(job)
    assert client.said[-1] == ("cancel", job)
    finish(editor, job, request, SELECTED[0])
    editor.discard(job)
    assert client.said[-1] == ("acknowledge", job)
    assert editor.jobs(document) == []
    assert editor.result(job) is None


@pytest.mark.parametrize(
    ("mode", "prompt", "name"),
    [
        ("fill", "", "Fill (3)"),
        ("outpaint", "", "Extend (3)"),
        ("fill", "a\n red  cat", "a red cat (3)"),
        ("fill", "x" * 100, "x" * 39 + "\u2026 (3)"),
    ],
)
def test_layer_names(mode: Mode, prompt: str, name: str) -> None:
    request = EditRequest(mode, Size(8, 8), Bounds(0, 0, 8, 8), Bounds(0, 0, 1, 1), prompt=prompt)
    assert layer_name(request, 3) == name
