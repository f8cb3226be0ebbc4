"""Every message of the wire, a dataclass each. Units and pixel conventions are said here, once.

- Coordinates: canvas pixels of the document as it was at submit, top-left origin, half-open (`geometry.Bounds`). Bounds
  may reach beyond the canvas: an outpaint's mask covers the area that the canvas is to grow over.
- Images: row-major, straight alpha, sRGB. Masks: gray8, 255 = change, 0 = keep, in between = partly.
- Times: seconds. Sizes of data: bytes. Ids: opaque strings.
- A session id is a secret of one client; a job id is chosen by the client (32 hex digits), so that a submit whose answer
  was lost can be sent again without running twice.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Dict, Literal, Optional, Tuple, Type, Union

from .checks import check_counting, check_job_id, check_placed, check_text, check_within
from .errors import BadRequest
from .geometry import MAX_SIDE, Bounds, Size

PROTOCOL_VERSION = 1

Mode = Literal["fill", "refine", "img2img", "txt2img", "outpaint", "remove", "upscale"]
Prefill = Literal["auto", "blur", "border", "neutral", "none"]
OnDisconnect = Literal["keep", "cancel"]
State = Literal["queued", "running", "done", "delivered", "failed", "cancelled"]
Stage = Literal["queued", "loading", "planning", "encoding", "denoising", "decoding", "compositing"]
Role = Literal["image", "mask", "control", "region", "reference", "layer", "preview"]
Format = Literal["rgba8", "rgba16", "gray8"]
Encoding = Literal["raw", "zlib", "png", "webp"]
ModelKind = Literal["fill", "diffusion", "upscaler"]
Capability = Literal["negative", "weights", "clip_skip", "embeddings", "loras", "controls", "references", "regions"]
"""What a request can tell a diffusion model beside its prompt: a negative one, weights of words in both, and so on."""
AdapterKind = Literal["lora", "control", "embedding", "reference", "vision", "depth"]
Preprocessor = Literal["none", "invert", "canny", "lineart", "soft_edges", "blur", "luminance", "depth"]

MODES_WITHOUT_MASK = ("img2img", "txt2img", "upscale")
HASTENS = 0.5
"""Of a LoRA's strength: below it, one that makes models paint in few steps is in use for something else."""


@dataclass(frozen=True)
class Buffer:
    """Pixels beside a message: `data` holds width x height pixels of `format`, coded as `encoding`."""

    role: Role
    width: int
    height: int
    format: Format
    encoding: Encoding
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class LoraUse:
    """A LoRA (an AdapterInfo's id) and how strong it is; 0 = not at all, negative = away from it."""

    id: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_within("weight of a LoRA", self.weight, -10.0, 10.0)


@dataclass(frozen=True)
class Control:
    """A picture that a ControlNet (an AdapterInfo's id) follows.

    image         where its buffer lies on the canvas. What is transparent in it, or not reached by it, holds nothing
    preprocessor  what is made of it first (`editing/preprocess.py`); none = it is what the network expects already
    weight        how strictly it is followed; 0 = not at all
    start, end    the part of the denoising steps in which it counts, 0 <= start < end <= 1
    """

    id: str
    image: Bounds
    preprocessor: Preprocessor = "none"
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        check_placed("control", self.image)
        check_counting("control", self.weight, self.start, self.end)


@dataclass(frozen=True)
class Reference:
    """A picture whose subject and style the model takes up through an IP-Adapter (an AdapterInfo's id). It lies nowhere on
    the canvas: all of it counts that is not transparent.

    size        of its buffer
    weight      how much it counts beside the prompt; 0 = not at all
    start, end  the part of the denoising steps in which it counts, 0 <= start < end <= 1
    """

    id: str
    size: Size
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        check_within("reference width", self.size.width, 1, MAX_SIDE)
        check_within("reference height", self.size.height, 1, MAX_SIDE)
        check_counting("reference", self.weight, self.start, self.end)


@dataclass(frozen=True)
class Region:
    """A part of the canvas with a prompt of its own, which there takes the place of the edit's. Where regions overlap their
    prompts share; a mask in between 0 and 255 shares with the edit's prompt.

    mask  where its buffer (gray8) lies on the canvas; outside it the region is not
    """

    prompt: str
    mask: Bounds

    def __post_init__(self) -> None:
        check_text("prompt of a region", self.prompt)
        check_placed("region", self.mask)


@dataclass(frozen=True)
class EditRequest:
    """One edit, complete: stored with its result it repeats the edit byte for byte on the same device.

    A client may leave `model`, `seed`, `steps`, `guidance` and `sampler` open (None); the server fills them in before it
    accepts, and the result carries the filled-in request.

    mode       what to do (`client/modes.py` chooses)
    canvas     size of the document
    image      where the image buffer lies on the canvas; it holds the crop with its context, not the document
    mask       where the mask buffer lies; outside it the mask is 0. None only for img2img and txt2img
    strength   0..1, how far to go from what is there; 1 = start from nothing
    prompt, negative   in the grammar of diffusion/prompts.py; image i draws its wildcards by seed + i
    guidance   classifier-free guidance scale, 1 = none
    seed       of the first image; image i uses seed + i
    count      images (layers) to return; the server makes it 1 for a model whose pictures would all be the same
    grow       px by which the mask is grown; `feather` px over which it fades inside its edge
    context    px of surroundings that the model sees around the mask, None = chosen
    resolution   px along a side of a square picture of the size that the model is given, None = what it was trained on
    prefill    what lies under the mask before denoising, auto = by mode
    color_match, membrane   the two steps that fit the result's colours to its surroundings
    clip_skip  which layer of the text encoder the prompts are taken from, counted from the end; 1 = the last
    loras      beside those that the prompt names; one that is named more than once counts with the sum of its weights
    controls   each with a buffer of its own, in this order
    regions    each with a buffer of its own, in this order, after those of the controls
    references   each with a buffer of its own, in this order, after those of the regions
    transparent  the plain background on which something is painted becomes transparent, where there is one
    factor     how many times larger an upscale makes the picture. It takes the whole canvas, and its result's coordinates
               are those of a canvas so many times larger; the other modes do not look at it
    """

    mode: Mode
    canvas: Size
    image: Bounds
    mask: Optional[Bounds] = None
    model: Optional[str] = None
    prompt: str = ""
    negative: str = ""
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
    loras: Tuple[LoraUse, ...] = ()
    controls: Tuple[Control, ...] = ()
    regions: Tuple[Region, ...] = ()
    references: Tuple[Reference, ...] = ()
    transparent: bool = False
    factor: int = 2

    def __post_init__(self) -> None:
        check_within("canvas width", self.canvas.width, 1, MAX_SIDE)
        check_within("canvas height", self.canvas.height, 1, MAX_SIDE)
        for name, bounds in (("image", self.image), ("mask", self.mask)):
            if bounds is not None:
                check_placed(name, bounds)
        if self.mask is None and self.mode not in MODES_WITHOUT_MASK:
            raise BadRequest(f"The mode {self.mode} needs a selection.", "Select what to change.")
        check_text("prompt", self.prompt)
        check_text("negative prompt", self.negative)
        check_within("strength", self.strength, 0.0, 1.0)
        check_within("count", self.count, 1, MAX_COUNT)
        check_within("grow", self.grow, 0, 4096)
        check_within("feather", self.feather, 0, 4096)
        check_within("clip skip", self.clip_skip, 1, 32)
        if self.steps is not None:
            check_within("steps", self.steps, 1, 1000)
        if self.guidance is not None:
            check_within("guidance", self.guidance, 0.0, 100.0)
        if self.seed is not None:
            check_within("seed", self.seed, 0, MAX_SEED)
        if self.context is not None:
            check_within("context", self.context, 0, MAX_SIDE)
        if self.resolution is not None:
            check_within("resolution", self.resolution, 64, 4096)
        check_within("factor", self.factor, 2, 4)


MAX_SEED = 2**32 - 1
MAX_COUNT = 64


# ---- what a client says ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """First message. `session` from an earlier welcome gives its jobs back; `on_disconnect` says what a lost connection
    means for unfinished jobs."""

    version: int
    client: str
    token: str
    session: Optional[str] = None
    on_disconnect: OnDisconnect = "keep"


@dataclass(frozen=True)
class Submit:
    """Binary message with the buffers image, then mask when the request has one, then its controls, its regions and
    its references. Sending the same job id again is answered with what is known of it. Lower `priority` numbers run
    later."""

    job: str
    request: EditRequest
    priority: int = 0

    def __post_init__(self) -> None:
        check_job_id(self.job)
        check_within("priority", self.priority, -10, 10)


@dataclass(frozen=True)
class Cancel:
    job: str


@dataclass(frozen=True)
class Acknowledge:
    """The client has inserted the result: it need not be sent again unasked."""

    job: str


@dataclass(frozen=True)
class Resume:
    """Asks for a job as it is now: answered with accepted, result, failed or cancelled. Works for delivered jobs in the
    history too."""

    job: str


@dataclass(frozen=True)
class History:
    """Asks for this session's jobs, newest first, older than `before` (seconds since 1970) where given."""

    limit: int = 50
    before: Optional[float] = None

    def __post_init__(self) -> None:
        check_within("limit", self.limit, 1, 1000)


@dataclass(frozen=True)
class Models:
    """Asks for the models; `refresh` looks at the folders again."""

    refresh: bool = False


# ---- what the server says --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """The server's caps. Pixels count width x height of one buffer."""

    max_frame_bytes: int = 1 << 30
    max_pixels: int = 1 << 28
    max_side: int = MAX_SIDE
    max_count: int = 16
    max_steps: int = 200
    max_prompt: int = 8000
    max_loras: int = 16
    max_controls: int = 8
    max_regions: int = 16
    max_references: int = 8
    max_queued: int = 100


@dataclass(frozen=True)
class ModelInfo:
    """A model as clients see it: never a path. `native` is the side in px that it was trained for; `licence` is empty
    where nobody says it. Of a diffusion model: the steps, guidance and sampler that suit it, all `samplers` that it can be
    painted with, and its `capabilities`; what is not among them counts for nothing in a request, or is refused."""

    id: str
    name: str
    kind: ModelKind
    family: str
    inpaint: bool
    native: int
    bytes: int
    steps: int = 0
    guidance: float = 0.0
    sampler: str = ""
    licence: str = ""
    samplers: Tuple[str, ...] = ()
    capabilities: Tuple[Capability, ...] = ()


@dataclass(frozen=True)
class AdapterInfo:
    """What is added to a model: never a path. `family` is the one of the models that it is made for; empty where its file
    does not say. The `name` of an embedding (a textual inversion) is the word by which prompts use it. A `reference` is an
    IP-Adapter; what these see with (`vision`) and what the preprocessor `depth` estimates with are found by themselves.

    A LoRA that makes models paint in few steps brings `steps`, `guidance` (0: that of the model) and `sampler`, where a
    request leaves them open and uses it from HASTENS of its strength on. Of all others they are 0 and empty."""

    id: str
    name: str
    kind: AdapterKind
    family: str
    bytes: int
    licence: str = ""
    steps: int = 0
    guidance: float = 0.0
    sampler: str = ""


@dataclass(frozen=True)
class Looking:
    """Before the welcome, each second: it waits for a first look at the models; `done` of `files` new ones have been
    looked at."""

    done: int
    files: int


@dataclass(frozen=True)
class Welcome:
    version: int
    server: str
    session: str
    limits: Limits
    models: Tuple[ModelInfo, ...]
    samplers: Tuple[str, ...]
    modes: Tuple[str, ...]
    adapters: Tuple[AdapterInfo, ...] = ()


@dataclass(frozen=True)
class Accepted:
    """The job is written down: from here on it is never lost. `position` counts the jobs before it; 0 = running."""

    job: str
    request: EditRequest
    position: int


@dataclass(frozen=True)
class Progress:
    """`step` of `steps` are done. `seconds_left` is None until it can be told. May carry one preview buffer."""

    job: str
    stage: Stage
    step: int
    steps: int
    seconds_left: Optional[float] = None


@dataclass(frozen=True)
class Layer:
    """One returned image: where its buffer belongs on the canvas (an upscale's: on the enlarged one), and the seed that
    makes it alone again."""

    bounds: Bounds
    seed: int


@dataclass(frozen=True)
class Result:
    """Binary message with one layer buffer (rgba8) for each of `layers`. `request` is complete; `crop` is what the model
    saw, in canvas pixels; `timings` are seconds by phase (queue, load, plan, generate, composite, ...)."""

    job: str
    request: EditRequest
    layers: Tuple[Layer, ...]
    crop: Bounds
    timings: Dict[str, float]
    created: float


@dataclass(frozen=True)
class Failed:
    """A job (or, without `job`, the message before) could not be done. `code` is one of errors.ERRORS."""

    code: str
    message: str
    hint: str
    job: Optional[str] = None


@dataclass(frozen=True)
class Cancelled:
    job: str


@dataclass(frozen=True)
class Queue:
    """Position of each waiting job of this client, sent when it changes; 0 = running."""

    positions: Dict[str, int]


@dataclass(frozen=True)
class HistoryEntry:
    job: str
    state: State
    created: float
    request: EditRequest


@dataclass(frozen=True)
class HistoryList:
    entries: Tuple[HistoryEntry, ...]


@dataclass(frozen=True)
class ModelList:
    models: Tuple[ModelInfo, ...]
    adapters: Tuple[AdapterInfo, ...] = ()


Message = Union[
    Hello, Submit, Cancel, Acknowledge, Resume, History, Models,
    Looking, Welcome, Accepted, Progress, Result, Failed, Cancelled, Queue, HistoryList, ModelList,
]  # fmt: skip

MESSAGES: Dict[str, Type[Message]] = {
    "hello": Hello,
    "submit": Submit,
    "cancel": Cancel,
    "acknowledge": Acknowledge,
    "resume": Resume,
    "history": History,
    "models": Models,
    "looking": Looking,
    "welcome": Welcome,
    "accepted": Accepted,
    "progress": Progress,
    "result": Result,
    "failed": Failed,
    "cancelled": Cancelled,
    "queue": Queue,
    "history_list": HistoryList,
    "model_list": ModelList,
}
NAMES: Dict[Type[Message], str] = {kind: name for name, kind in MESSAGES.items()}


def roles_of(message: Message) -> Tuple[Tuple[str, ...], ...]:
    """The sequences of buffer roles that may go with a message: one must match."""
    if isinstance(message, Submit):
        mask = () if message.request.mask is None else ("mask",)
        request = message.request
        counts = {"control": request.controls, "region": request.regions, "reference": request.references}
        return (("image", *mask, *(role for role, uses in counts.items() for _ in uses)),)
    if isinstance(message, Progress):
        return ((), ("preview",))
    if isinstance(message, Result):
        return (("layer",) * len(message.layers),)
    return ((),)


def replace(request: EditRequest, **changes: object) -> EditRequest:
    """A copy of the request with some fields changed (and checked again)."""
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]
