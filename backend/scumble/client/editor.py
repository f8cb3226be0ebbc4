"""From an open document and the panel's settings to an edit, and from its result to layers on the right pixels.

All methods are called on the host's main thread and none of them waits: `Client` does the slow things on its threads.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from ..protocol.errors import BadRequest, ScumbleError
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import (
    MAX_SEED,
    Control,
    EditRequest,
    LoraUse,
    Mode,
    ModelKind,
    Prefill,
    Preprocessor,
    Reference,
    Region,
    Result,
    replace,
)
from .area import alpha_of, bounds_to_send, edges_around, is_blank, is_empty, mask_of_edges, touches_empty
from .client import Client
from .document import Document, Edges, Mark, NewLayer, Pixels
from .events import Finished
from .mirroring import mirrored
from .modes import INTENTS, Intent, choose_mode
from .names import mode_name
from .placement import Number, Placement, scaling

KEPT_RESULTS = 12
KEPT_BYTES = 1 << 30
"""Results whose pixels stay in memory, and how much of it they may take but for the newest; the backend's history has
more."""


class CanvasChanged(ScumbleError):
    """The canvas is not what it was when the edit began, so nobody can tell where the result belongs. Never crosses the
    wire; nothing is lost: it can still be inserted where it was made (`anyway`)."""

    code = "canvas_changed"
    default_hint = "Undo the change of the canvas, or insert the layer at its old position and move it."


@dataclass(frozen=True)
class ControlLayer:
    """A layer (the host's own id of it) that a ControlNet follows, None for the visible picture; the other fields as in
    Control."""

    id: str
    layer: Optional[str] = None
    preprocessor: Preprocessor = "none"
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class ReferenceLayer:
    """A layer (the host's own id of it) that the model takes up, None for the visible picture; the other fields as in
    Reference."""

    id: str
    layer: Optional[str] = None
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class RegionLayer:
    """A prompt for where a layer (the host's own id of it) is."""

    prompt: str
    layer: str


@dataclass(frozen=True)
class EditSettings:
    """What the panel says; the fields as in EditRequest. `mode` None: follows from the document (`choose_mode`). `intent`
    comes before what it decides."""

    mode: Optional[Mode] = None
    prompt: str = ""
    negative: str = ""
    model: Optional[str] = None
    strength: float = 1.0
    steps: Optional[int] = None
    guidance: Optional[float] = None
    sampler: Optional[str] = None
    seed: Optional[int] = None
    count: int = 1
    grow: int = 0
    feather: int = 0
    context: Optional[int] = None
    resolution: Optional[int] = None
    prefill: Prefill = "auto"
    color_match: bool = True
    membrane: bool = True
    clip_skip: int = 1
    transparent: bool = False
    factor: int = 2
    loras: Tuple[LoraUse, ...] = ()
    controls: Tuple[ControlLayer, ...] = ()
    regions: Tuple[RegionLayer, ...] = ()
    references: Tuple[ReferenceLayer, ...] = ()
    intent: Intent = "fill"


@dataclass(frozen=True)
class Edit:
    """A request with its raw pixels: rgba8 of request.image, gray8 of request.mask, rgba8 of each of request.controls,
    gray8 of each of request.regions and rgba8 of each of request.references."""

    request: EditRequest
    image: Pixels = field(repr=False)
    mask: Optional[bytes] = field(repr=False)
    controls: Tuple[Pixels, ...] = field(repr=False, default=())
    regions: Tuple[Pixels, ...] = field(repr=False, default=())
    references: Tuple[Pixels, ...] = field(repr=False, default=())


def prepare(
    document: Document, settings: EditSettings, model: ModelKind = "diffusion", edges: Optional[Edges] = None
) -> Edit:
    """Reads what the edit needs from the document: the selection, and the picture under it with its surroundings.

    `model` is the kind of the chosen model. With `edges` the canvas is to grow and the selection does not matter.
    Raises BadRequest, also for an edit that needs a selection and has none.
    """
    settings = dataclasses.replace(settings, **INTENTS[settings.intent])
    canvas = document.canvas
    selected = mask_of_edges(canvas, edges) if edges else document.selection()
    if settings.mode == "upscale":
        selected = None
    if selected is not None and is_blank(selected[1]):
        raise BadRequest("Nothing is selected.", "Select what to change.")
    if selected is None:
        image, pixels = _whole(document, settings)
    else:
        image = bounds_to_send(selected[0], canvas, settings.grow, settings.context or 0, settings.resolution or 0)
        pixels = document.read(image)
    mode = settings.mode
    if mode is None:
        mode = choose_mode(
            selected=selected is not None,
            strength=settings.strength,
            prompt=settings.prompt,
            model=model,
            empty=is_empty(pixels),
            transparent=selected is not None and touches_empty(selected[1], selected[0], alpha_of(pixels), image),
            grows=edges is not None,
        )
    seen = [document.read_reference(layer.layer) for layer in settings.references]
    area = image if selected else Bounds.of_size(canvas)
    request = EditRequest(
        canvas=canvas,
        image=image,
        mask=selected[0] if selected else None,
        **{
            **{name: value for name, value in vars(settings).items() if name != "intent"},
            "mode": mode,
            "controls": tuple(_placed(layer, area) for layer in settings.controls),
            "regions": tuple(Region(layer.prompt, area) for layer in settings.regions),
            "references": tuple(
                Reference(layer.id, size, layer.weight, layer.start, layer.end)
                for layer, (size, _) in zip(settings.references, seen)
            ),
        },
    )
    controls = tuple(_read(document, layer.layer, area) for layer in settings.controls)
    regions = tuple(document.read_region(layer.layer, area) for layer in settings.regions)
    mask = selected[1] if selected else None
    return Edit(request, pixels, mask, controls, regions, tuple(pixels for _, pixels in seen))


def _placed(layer: ControlLayer, area: Bounds) -> Control:
    return Control(layer.id, area, layer.preprocessor, layer.weight, layer.start, layer.end)


def _read(document: Document, layer: Optional[str], bounds: Bounds) -> Pixels:
    return document.read_visible(bounds) if layer is None else document.read_layer(layer, bounds)


def _whole(document: Document, settings: EditSettings) -> Tuple[Bounds, Pixels]:
    """What to send when nothing is selected. Starting from nothing needs no picture: one empty pixel stands for it."""
    if settings.mode == "txt2img" or (settings.mode is None and settings.strength >= 1):
        return Bounds(0, 0, 1, 1), bytes(4)
    bounds = Bounds.of_size(document.canvas)
    return bounds, document.read(bounds)


def layer_name(request: EditRequest, seed: int) -> str:
    """What the layers panel shows: the prompt's beginning, or what was done, and the seed."""
    words = " ".join(request.prompt.split())
    if len(words) > 40:
        words = words[:39].rstrip() + "\u2026"
    return f"{words or mode_name(request.mode)} ({seed})"


@dataclass
class _Place:
    """Where a job's result belongs. `enlarged`: an upscale's picture has been made as large as its result is."""

    document: Document
    mark: Mark
    enlarged: bool = False


class _Insertion(NamedTuple):
    """A layer (None: it is there already), and what happens to the canvas before it goes in: it grows by `edges`, or the
    picture becomes `factor` times as large."""

    layer: Optional[NewLayer]
    edges: Edges = Edges()
    factor: int = 1


class Editor:
    """Keeps, for one client, which document each job belongs to, its finished result, and what has been inserted.

    The host passes every `Finished` event to `finish`, shows the images (`pixels`), and calls `insert` or `discard`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places: Dict[str, _Place] = {}
        self._results: Dict[str, Finished] = {}
        self._inserted: Set[Tuple[str, int]] = set()

    def start(self, document: Document, settings: EditSettings, edges: Optional[Edges] = None) -> str:
        """Reads the document, hands the edit to the client and returns the job's id. Raises BadRequest."""
        return self.submit(document, prepare(document, settings, self.model_kind(settings), edges))

    def submit(self, document: Document, edit: Edit, job: Optional[str] = None, mark: Optional[Mark] = None) -> str:
        """The second half of `start`; with the id of a job that was submitted before, that one is taken up again. `mark` is
        the document's from when the edit was read, None: just now."""
        place = _Place(document, mark or document.mark())
        # Last: from here on the client's threads want the interpreter too.
        job = self._client.submit(
            edit.request,
            edit.image,
            edit.mask,
            job,
            controls=edit.controls,
            regions=edit.regions,
            references=edit.references,
        )
        self._places[job] = place
        return job

    def model_kind(self, settings: EditSettings) -> ModelKind:
        """The kind of the chosen model, or of the one that the backend would choose."""
        models = self._client.welcome.models if self._client.welcome else ()
        for model in models:
            if model.id == settings.model:
                return model.kind
        shown = settings.controls or settings.regions or settings.references
        told = settings.prompt.strip() or any(use.weight for use in settings.loras) or shown
        plain = settings.model is None and settings.strength >= 1 and not told
        return "fill" if plain and any(model.kind == "fill" for model in models) else "diffusion"

    def finish(self, event: Finished) -> None:
        """Keeps a result until it is discarded."""
        self._results[event.result.job] = event

    def document(self, job: str) -> Optional[Document]:
        """The document that the job was started from; None for a job of an earlier run of the host."""
        place = self._places.get(job)
        return place.document if place else None

    def jobs(self, document: Document) -> List[str]:
        """The jobs, running or finished, that were started from this document and not discarded."""
        return [job for job, place in self._places.items() if place.document.identity == document.identity]

    def result(self, job: str) -> Optional[Result]:
        """What has come back for a job; None as long as nothing has."""
        event = self._results.get(job)
        return event.result if event else None

    def pixels(self, job: str, index: int) -> Tuple[Size, bytes]:
        """Size and rgba8 pixels of one image of a finished job, for a thumbnail. Raises KeyError, IndexError."""
        buffer = self._results[job].layers[index]
        return Size(buffer.width, buffer.height), buffer.data

    def insert(self, job: str, index: int = 0, document: Optional[Document] = None, anyway: bool = False) -> bool:
        """Puts an image of a finished job into its document, grows the canvas where it was to grow or enlarges the picture
        where that was to be upscaled, and acknowledges.

        `document` must be given for a job of an earlier run. Returns False when that layer is there already. Raises
        CanvasChanged when its place is unknown, unless `anyway` puts it at its old coordinates; KeyError, IndexError.
        """
        document = document or self._places[job].document
        layer, edges, factor = self._plan(job, index, document, anyway)
        if layer is None:
            self._settle(job, index)
            return False
        self._belongs(job, document)
        with document.undo_group(f"Scumble: {layer.name}"):
            if any(edges):
                document.grow_canvas(edges)
            if factor > 1:
                document.enlarge(factor)
                self.enlarged(job, document)
            document.insert_layer(layer)
        self._settle(job, index)
        return True

    def layer(self, job: str, index: int, document: Document, anyway: bool = False) -> Optional[NewLayer]:
        """What `insert` would put in as things are now, for a host that gets a large layer ready before it has its turn;
        None when it is there already. Raises as `insert`."""
        return self._plan(job, index, document, anyway).layer

    def enlargement(self, job: str, index: int, document: Document, anyway: bool = False) -> int:
        """How many times larger `insert` would make the picture, for a host that takes its time with that and then calls
        `enlarged`; 1 for not at all. From now on the job's images follow this document. Raises as `insert`."""
        factor = self._plan(job, index, document, anyway).factor
        self._belongs(job, document)
        return factor

    def enlarged(self, job: str, document: Document) -> None:
        """Notes that the document has been made as large as this upscale's result."""
        self._belongs(job, document).enlarged = True

    def _belongs(self, job: str, document: Document) -> _Place:
        """From now on all images of a job, also one of an earlier run, follow this document."""
        if job not in self._places:
            self._places[job] = _Place(document, document.mark())
        return self._places[job]

    def _plan(self, job: str, index: int, document: Document, anyway: bool) -> _Insertion:
        result, buffer = self._results[job].result, self._results[job].layers[index]
        request, layer = result.request, result.layers[index]
        there = document.contains(job, index)
        if there or (there is None and (job, index) in self._inserted):
            return _Insertion(None)
        place = self._places.get(job)
        if place is not None and place.document is not document:
            place = None  # a copy, say
        moved = self._moved(document, place, request, anyway)
        edges = _growth(request, document.canvas, moved)
        factor = 1
        if request.mode == "upscale":
            # Where its artist has undone it, the picture is of its old size again.
            done = abs(moved.across) != 1 and (place is None or place.enlarged)
            factor = 1 if done else request.factor
            moved = _by(Fraction(1, request.factor)).then(moved).then(_by(factor))
        single = replace(request, seed=min(layer.seed, MAX_SEED), count=1)
        bounds = moved.of(layer.bounds).translate(edges.left, edges.top)
        size = Size(buffer.width, buffer.height)
        pixels = mirrored(buffer.data, size, *moved.mirrored) if any(moved.mirrored) else buffer.data
        new = NewLayer(bounds, pixels, layer_name(single, layer.seed), job, index, single, size)
        return _Insertion(new, edges, factor)

    def surplus(self) -> List[str]:
        """The jobs whose results are more than KEPT_RESULTS and KEPT_BYTES allow, for the program to discard: the oldest
        ones, and never the newest."""
        jobs, room = list(reversed(self._results)), KEPT_BYTES
        for age, job in enumerate(jobs):
            room -= sum(len(buffer.data) for buffer in self._results[job].layers)
            if age and (room < 0 or age >= KEPT_RESULTS):
                return jobs[age:]
        return []

    def discard(self, job: str) -> None:
        """Forgets a job: a result need not come again, an unfinished job is cancelled."""
        if self._results.pop(job, None) is not None:
            self._client.acknowledge(job)
        else:
            self._client.cancel(job)
        self._places.pop(job, None)

    def _settle(self, job: str, index: int) -> None:
        if not any(done == job for done, _ in self._inserted):
            self._client.acknowledge(job)
        self._inserted.add((job, index))

    def _moved(self, document: Document, place: Optional[_Place], request: EditRequest, anyway: bool) -> Placement:
        """Where everything has gone since the edit began."""
        if place is not None:
            moved = document.moved_since(place.mark)
        elif document.canvas == request.canvas:
            moved = Placement()
        elif request.mode == "upscale" and document.canvas == _times(request.canvas, request.factor):
            moved = scaling(request.canvas, document.canvas)
        else:
            moved = None
        if moved is None and not anyway:
            raise CanvasChanged("The canvas was changed while this edit ran, so its place is unknown.")
        if moved is None and place is not None:
            place.mark = document.mark()  # its artist says that it still belongs there
        return moved or Placement()


def _growth(request: EditRequest, canvas: Size, moved: Placement) -> Edges:
    """By how much the present canvas must grow to hold all of the mask, even where alpha came out 0: only on the sides on
    which it was to grow."""
    if request.mask is None:
        return Edges()
    frame, mask = moved.of(Bounds.of_size(request.canvas)), moved.of(request.mask)
    asked, needed = edges_around(frame.size, mask.relative_to(frame)), edges_around(canvas, mask)
    return Edges(*(there if side else 0 for side, there in zip(asked, needed)))


def _by(factor: Number) -> Placement:
    return Placement(0, 0, factor, factor)


def _times(size: Size, factor: int) -> Size:
    return Size(size.width * factor, size.height * factor)
