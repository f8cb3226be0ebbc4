"""What the panel's fields say, apart from any widget. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .added import (
    EMPTY,
    ControlRow,
    LoraRow,
    ReferenceRow,
    RegionRow,
    rows_of,
    rows_of_request,
    to_controls,
    to_loras,
    to_references,
    to_regions,
)
from .extend import edges_of_request

PER_DOCUMENT = (
    "prompt",
    "negative",
    "mode",
    "strength",
    "count",
    "seed",
    "seed_locked",
    "from_layer",
    "transparent",
    *EMPTY,
)
"""Fields that are remembered with a document; the others are remembered for all."""


@dataclass(frozen=True)
class Form:
    """The fields as the artist sees them: strength in percent; "", 0 and -1 leave a choice to the backend.

    `mode` is one of the protocol's or "add". `seed` counts only when locked. `context` and `resolution` in px; -1 and 0 =
    chosen.
    """

    prompt: str = ""
    negative: str = ""
    mode: str = ""
    strength: int = 100
    count: int = 1
    seed: int = 0
    seed_locked: bool = False
    from_layer: bool = False
    transparent: bool = False
    model: str = ""
    sampler: str = ""
    steps: int = 0
    guidance: float = 0.0
    grow: int = 0
    feather: int = 0
    context: int = -1
    resolution: int = 0
    clip_skip: int = 1
    loras: tuple[LoraRow, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    references: tuple[ReferenceRow, ...] = ()
    regions: tuple[RegionRow, ...] = ()
    factor: int = 2
    upscale_model: str = ""
    upscale_strength: int = 35

    @property
    def upscaling(self) -> Form:
        """The form of an upscale, which has a model and a strength of its own."""
        return replace(self, mode="upscale", model=self.upscale_model, strength=self.upscale_strength)

    def to_settings(self) -> dict[str, Any]:
        """The arguments of EditSettings."""
        return {
            "mode": "fill" if self.mode == "add" else self.mode or None,
            "intent": self.mode if self.mode in ("add", "remove") else "fill",
            "prompt": self.prompt,
            "negative": self.negative,
            "model": self.model or None,
            "strength": self.strength / 100,
            "steps": self.steps or None,
            "guidance": self.guidance or None,
            "sampler": self.sampler or None,
            "seed": self.seed if self.seed_locked else None,
            "count": self.count,
            "grow": self.grow,
            "feather": self.feather,
            "context": None if self.context < 0 else self.context,
            "resolution": self.resolution or None,
            "clip_skip": self.clip_skip,
            "transparent": self.transparent,
            "loras": to_loras(self.loras),
            "controls": to_controls(self.controls),
            "references": to_references(self.references),
            "regions": to_regions(self.regions),
            "factor": self.factor,
        }


def form_of(values: dict[str, Any], base: Form | None = None) -> Form:
    """The form with the stored values on top of `base`; what does not fit (another version wrote it) is passed over."""
    base = base or Form()
    values = {**values, **{name: rows_of(row, values[name]) for name, row in EMPTY.items() if name in values}}
    fitting = {
        field.name: values[field.name]
        for field in fields(Form)
        if field.name in values and type(values[field.name]) is type(getattr(base, field.name))
    }
    return replace(base, **fitting)


def without_layers(form: Form) -> Form:
    """For another document: without the rows that follow a layer of this one."""
    return replace(
        form,
        controls=tuple(row for row in form.controls if not row.layer),
        references=tuple(row for row in form.references if not row.layer),
        regions=tuple(row for row in form.regions if not row.layer),
    )


def split(form: Form) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to remember with the document, and what for all."""
    values = asdict(form)
    return {name: values.pop(name) for name in PER_DOCUMENT}, values


def form_of_request(request: Any, base: Form) -> Form:
    """The form that repeats a request, with the seed locked."""
    strength, model = round(request.strength * 100), request.model or ""
    if request.mode == "upscale":
        own = {"factor": request.factor, "upscale_model": model, "upscale_strength": strength}
    else:
        mode = request.mode
        if mode == "fill" and request.prefill == "neutral":
            mode = "add"
        elif mode == "outpaint" and any(edges_of_request(request)):
            mode = ""  # by the numbers of the panel for that, not over a selection
        own = {"mode": mode, "model": model, "strength": strength}
    return replace(
        base,
        **own,
        prompt=request.prompt,
        negative=request.negative,
        count=request.count,
        seed=request.seed or 0,
        seed_locked=request.seed is not None,
        sampler=request.sampler or "",
        steps=request.steps or 0,
        guidance=request.guidance or 0.0,
        grow=request.grow,
        feather=request.feather,
        context=-1 if request.context is None else request.context,
        resolution=request.resolution or 0,
        clip_skip=request.clip_skip,
        transparent=request.transparent,
        **rows_of_request(request, base.controls, base.references, base.regions),
    )
