"""The plan of an edit: everything a model needs to see, and everything the compositor needs to put its answer back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..protocol.geometry import Bounds, Size
from ..protocol.messages import EditRequest, Stage
from .adapters import Adapter

Pixels = NDArray[np.uint8]
"""(height, width, 3 or 4) colour or (height, width) mask, 0..255."""


@dataclass(frozen=True)
class Source:
    """What the document sent, decoded. `image` is (h, w, 4) RGBA and lies at request.image; `mask` is (h, w) and lies at
    request.mask, None where the request has none; `controls` are (h, w, 4) RGBA, one for each of request.controls, and
    `regions` (h, w) masks, one for each of request.regions; `references` (h, w, 4), one for each of request.references.

    `adapters` are those that there are, for the request and its prompt to choose from.
    """

    image: Pixels = field(repr=False)
    mask: Pixels | None = field(repr=False, default=None)
    controls: tuple[Pixels, ...] = field(repr=False, default=())
    adapters: tuple[Adapter, ...] = ()
    regions: tuple[Pixels, ...] = field(repr=False, default=())
    references: tuple[Pixels, ...] = field(repr=False, default=())


LEAST_SIDE = 4
"""A side of a picture to compose is at least native / LEAST_SIDE."""


@dataclass(frozen=True)
class Traits:
    """What the planner must know of a model.

    native      side in px of the pictures it was trained on
    multiple    a side of its input must be a multiple of this
    max_area    most px of one input (memory, or where composition falls apart)
    prompt      it follows a prompt (False: it only continues surroundings)
    reach       px, at its own scale, that it can invent from a known edge in one pass
    refine_area most px of a second pass over what was composed smaller; 0 = it does none
    """

    native: int
    multiple: int
    max_area: int
    prompt: bool
    reach: int
    refine_area: int = 0

    @property
    def least(self) -> int:
        """Px of a side of a picture to compose: models make nothing of a narrow strip."""
        return -(-self.native // LEAST_SIDE // self.multiple) * self.multiple if self.prompt else self.multiple


@dataclass(frozen=True)
class Refinement:
    """A plan's second pass: the first one's picture, enlarged, painted over in part. All (H, W) arrays are of `size`.

    size      of the picture; crop maps onto it by resampling, corner to corner
    image     (H, W, 3) the document
    known     (H, W) bool, True where it shows nothing but what is known
    mask      (H, W) 255 = change; soft
    tiles     overlapping windows in px of this pass, to be denoised as one picture
    strength  0..1, how far to go from the first pass's picture
    """

    size: Size
    image: Pixels = field(repr=False)
    known: NDArray[np.bool_] = field(repr=False)
    mask: Pixels = field(repr=False)
    tiles: tuple[Bounds, ...]
    strength: float


@dataclass(frozen=True)
class Plan:
    """One edit, geometry and pixels decided; no model has run yet.

    Canvas scale (what the compositor needs), all (h, w) arrays cover `crop`:
      crop    bounds on the canvas that the model sees; may reach beyond the canvas
      image   (h, w, 3) the document there; what is transparent lies on paper or is continued from what is known
      known   (h, w) bool, True where the document has colours of its own, or shows paper
      mask    (h, w) the grown selection: the ceiling of the returned alpha (C1)
    Model scale (what the engine needs):
      size        of the model's picture; crop maps onto it by resampling, corner to corner
      work_image  (H, W, 3) the crop with the prefill under the mask
      work_mask   (H, W) the mask, 255 = change; soft. All of it where there is nothing around that could stay
      tiles       inputs for the model, in model-scale px. Without a prompt: in order, each sees what the ones before
                  painted. With a prompt: overlapping windows, to be denoised as one picture
      refinement  the second pass, where one picture at `size` would lose detail; else None
    controls, adapters, references   the source's
    regions  (h', w') masks of the crop at any scale, one for each of request.regions
    """

    request: EditRequest
    crop: Bounds
    image: Pixels = field(repr=False)
    known: NDArray[np.bool_] = field(repr=False)
    mask: Pixels = field(repr=False)
    size: Size
    work_image: Pixels = field(repr=False)
    work_mask: Pixels = field(repr=False)
    tiles: tuple[Bounds, ...]
    refinement: Refinement | None = None
    controls: tuple[Pixels, ...] = field(repr=False, default=())
    adapters: tuple[Adapter, ...] = ()
    regions: tuple[Pixels, ...] = field(repr=False, default=())
    references: tuple[Pixels, ...] = field(repr=False, default=())


class Cancelled(Exception):
    """The artist cancelled the job: raised by a Report, passes through the engine untouched."""


class DeviceLost(Exception):
    """The GPU does not answer this process any more; it may answer a new one."""


class Report(Protocol):
    """How an engine tells where it is; called at least once for each denoising step.

    `preview` makes a small (h, w, 3) picture and is only called when one is due. `times`, before the first step: how many
    times larger than what a step works on a picture is that will be decoded. Raises Cancelled.
    """

    def __call__(
        self,
        stage: Stage,
        step: int = 0,
        steps: int = 0,
        preview: Callable[[], Pixels] | None = None,
        times: float = 0.0,
    ) -> None: ...

    def check(self) -> None:
        """Raises Cancelled, and tells nothing: to be called as often as one likes."""
        ...


class Silent:
    """The Report of what nobody hears of, and nobody cancels."""

    def __call__(self, *_: object, **__: object) -> None: ...

    def check(self) -> None: ...


class Engine(Protocol):
    """A loaded model."""

    @property
    def traits(self) -> Traits: ...

    @property
    def bytes(self) -> int:
        """What its weights take where it runs."""
        ...

    def free(self) -> int:
        """Bytes that are free there, what was only kept for reuse included."""
        ...

    def generate(self, plan: Plan, report: Report, thrifty: bool = False) -> list[Pixels]:
        """request.count pictures (H, W, 3), of the size of the plan's last pass. Same plan, same bytes (C3).

        thrifty   memory has run out at the first try: slower, with as little of it as can be

        Raises OutOfMemory, Cancelled.
        """
        ...
