"""What a client left open in a request: which model, and the settings that suit it. Pure but for the drawn seed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..diffusion.families.base import Defaults
from ..diffusion.families.variants import hastened
from ..diffusion.prompts import parse
from ..diffusion.samplers import SAMPLERS
from ..editing.adapters import Adapter, by_id, named
from ..protocol.errors import BadRequest, ModelMissing
from ..protocol.frames import MAX_LISTS
from ..protocol.messages import AdapterInfo, EditRequest, ModelInfo, ModelList, replace
from ..protocol.schema import to_json

if TYPE_CHECKING:
    from ..models.store import ModelFile

Info = TypeVar("Info", ModelInfo, AdapterInfo)

FILL_MODES = ("fill", "outpaint", "remove")
"""What a fill model can do; a diffusion model does all modes."""
_ROOM = MAX_LISTS // 2 - 4096
"""Bytes for models, and as many for adapters; the rest of a welcome takes less than twice what is left."""
DIFFUSION_MODES = ("fill", "refine", "img2img", "txt2img", "outpaint", "remove", "upscale")


def modes(models: Sequence[ModelInfo]) -> tuple[str, ...]:
    """The modes that these models can do together."""
    kinds = {model.kind for model in models}
    if "diffusion" in kinds:
        return DIFFUSION_MODES
    return (FILL_MODES if "fill" in kinds else ()) + (("upscale",) if "upscaler" in kinds else ())


def listed(models: Sequence[ModelFile], adapters: Sequence[Adapter]) -> ModelList:
    """What clients are told of them: as many of both as fit into one text message, where none is left out for want of room
    before a diffusion model is. Prompts reach the other adapters by name."""
    infos = [model.info for model in models]
    told = {info.id for info in _fitting(sorted(infos, key=lambda info: info.kind == "diffusion"), _ROOM)}
    return ModelList(
        tuple(info for info in infos if info.id in told), _fitting([adapter.info for adapter in adapters], _ROOM)
    )


def _fitting(infos: Sequence[Info], room: int) -> tuple[Info, ...]:
    """The first ones that take no more than so many bytes as JSON."""
    for index, info in enumerate(infos):
        room -= len(json.dumps(to_json(info), ensure_ascii=False, separators=(",", ":")).encode()) + 1
        if room < 0:
            return tuple(infos[:index])
    return tuple(infos)


def draw_seed() -> int:
    """Leaves room for the seeds of further images of the same edit. Of the 32 bits that a seed may have no more than 31, as
    the fields of GIMP's dialogs and the arguments of its procedures hold."""
    return secrets.randbelow(2**31 - 64)


def complete(
    request: EditRequest,
    models: Sequence[ModelFile],
    adapters: Sequence[Adapter] = (),
    new_seed: Callable[[], int] = draw_seed,
) -> tuple[EditRequest, ModelFile]:
    """The request with model, seed and, for a diffusion model, steps, guidance and sampler filled in; and its model. These
    follow the model, or a LoRA that makes it paint in few steps, in whichever wildcard of the prompt it stands. Other
    kinds of models make one picture, however many are asked for.

    Without a named model: the fill model to remove, and to fill or extend where nothing says what is to be there; to
    upscale an upscaler where nothing does; else the first diffusion model, for a fill or outpaint preferably one made for
    inpainting, for anything else preferably one that is not; among those that its LoRAs, controls and references are made
    for and that its sampler goes with, where there are any.

    Raises ModelMissing (unknown id, or none that can do this), BadRequest (unknown sampler, a model that cannot, a strength
    of 0, or an adapter that is made for another).
    """
    if request.sampler is not None and request.sampler not in SAMPLERS:
        raise BadRequest("This sampler is unknown.", f"Choose one of {', '.join(SAMPLERS)}.")
    if request.model is None:
        model = _choose(request, _suited(request, models, adapters))
    else:
        model = _named(request, request.model, models)
    info = model.info
    if request.sampler is not None and info.samplers and request.sampler not in info.samplers:
        known = " or ".join(info.samplers)
        raise BadRequest("This model cannot be painted with this sampler.", f"Choose {known}, or leave it automatic.")
    seed = new_seed() if request.seed is None else request.seed
    _check_adapters(request, info, adapters)
    if info.kind != "diffusion":
        # Nothing is left to chance there: further pictures would be the same.
        return replace(request, model=info.id, seed=seed, count=1), model
    if request.strength == 0 and request.mode != "txt2img":
        raise BadRequest("With a strength of 0 nothing changes.", "Choose a higher one.")
    suits = _suits(request, info, adapters)
    settings = {
        "steps": suits.steps if request.steps is None else request.steps,
        "guidance": suits.guidance if request.guidance is None else request.guidance,
        "sampler": suits.sampler if request.sampler is None else request.sampler,
    }
    return replace(request, model=info.id, seed=seed, **settings), model


def _suits(request: EditRequest, info: ModelInfo, adapters: Sequence[Adapter]) -> Defaults:
    """The model's settings, or those of a LoRA in use that makes it paint in few steps."""
    infos = {adapter.info.id: adapter.info for adapter in adapters if adapter.info.kind == "lora"}
    # By the family that one says itself: clients have been told the same.
    chosen = [(infos[use.id].name, use.weight, infos[use.id].family) for use in request.loras]
    called = [
        (each.info.name, lora.weight, each.info.family)
        for lora in parse(request.prompt).loras
        for each in named(adapters, "lora", lora.name)
        if each.info.family in ("", info.family)
    ]
    found = (hastened(name, weight, info.guidance, family) for name, weight, family in (*chosen, *called))
    return next(filter(None, found), Defaults(info.steps, info.guidance, info.sampler))


def _check_adapters(request: EditRequest, info: ModelInfo, adapters: Sequence[Adapter]) -> None:
    """What the prompt names is looked for when its wildcards are drawn. Other kinds of models have no use for LoRAs, as for
    guidance and steps."""
    if info.kind != "diffusion":
        if request.controls:
            raise BadRequest("This model follows no controls.", "Choose a Stable Diffusion model.")
        if request.references:
            raise BadRequest("This model follows no references.", "Choose a Stable Diffusion model.")
        if request.regions:
            raise BadRequest("This model follows no prompts, also not in regions.", "Choose a Stable Diffusion model.")
        return
    for use in request.loras:
        by_id(adapters, "lora", use.id, info.family)
    for control in request.controls:
        by_id(adapters, "control", control.id, info.family)
    for reference in request.references:
        by_id(adapters, "reference", reference.id, info.family)


def _named(request: EditRequest, name: str, models: Sequence[ModelFile]) -> ModelFile:
    model = next((model for model in models if model.info.id == name), None)
    if model is None:
        raise ModelMissing("The chosen model is not here any more.")
    if model.info.kind == "fill":
        if request.mode not in FILL_MODES:
            raise BadRequest("This model only fills, extends and removes.", "Choose a Stable Diffusion model.")
        if request.prompt.strip() and request.mode != "remove":
            raise BadRequest("This model follows no prompt.", "Clear the prompt, or choose a Stable Diffusion model.")
    if model.info.kind == "upscaler" and request.mode != "upscale":
        raise BadRequest("An upscaler only upscales.", "Choose a Stable Diffusion model.")
    return model


def _choose(request: EditRequest, models: Sequence[ModelFile]) -> ModelFile:
    fill = next((model for model in models if model.info.kind == "fill"), None)
    diffusion = [model for model in models if model.info.kind == "diffusion"]
    if request.mode == "upscale":
        return _choose_upscaler(request, models)
    told = _is_shown(request) if request.mode == "remove" else _is_told(request)
    if fill is not None and request.mode in FILL_MODES and not told:
        return fill
    if diffusion:
        if request.mode in FILL_MODES:
            return next((model for model in diffusion if model.info.inpaint), diffusion[0])
        return next((model for model in diffusion if not model.info.inpaint), diffusion[0])
    if fill is not None:
        if request.mode not in FILL_MODES:
            what, instead = "This needs", ""
        elif request.prompt.strip() and request.mode != "remove":
            what, instead = "A prompt needs", ", or clear the prompt to fill without one."
        else:
            what, instead = "LoRAs, controls, regions and references need", ", or take them off to fill without one."
        raise ModelMissing(
            f"{what} a Stable Diffusion model, and none is installed.", f"Add one with: scumble models add{instead}"
        )
    raise ModelMissing("No model is installed.", "Add one with: scumble models add, or run the installer again.")


def _suited(request: EditRequest, models: Sequence[ModelFile], adapters: Sequence[Adapter]) -> Sequence[ModelFile]:
    """Without the diffusion models that cannot do it with what it names; all of them where none can: what does not fit is
    then told."""
    ids = {use.id for use in request.loras} | {use.id for use in request.controls}
    ids |= {reference.id for reference in request.references}
    needs = [{each.info.family} for each in adapters if each.info.id in ids]
    needs += [{each.info.family for each in named(adapters, "lora", lora.name)} for lora in parse(request.prompt).loras]

    def can(info: ModelInfo) -> bool:
        has_sampler = request.sampler is None or not info.samplers or request.sampler in info.samplers
        return has_sampler and all(not families or families & {info.family, ""} for families in needs)

    suited = [model for model in models if model.info.kind != "diffusion" or can(model.info)]
    return suited if any(model.info.kind == "diffusion" for model in suited) else models


def _is_told(request: EditRequest) -> bool:
    """Whether it asks for what only a diffusion model can give."""
    return bool(request.prompt.strip() or any(use.weight for use in request.loras) or _is_shown(request))


def _is_shown(request: EditRequest) -> bool:
    """The part of it that counts in a removal too; a prompt or a LoRA may be left over there from before."""
    return bool(request.controls or request.regions or request.references)


def _choose_upscaler(request: EditRequest, models: Sequence[ModelFile]) -> ModelFile:
    upscalers = [model for model in models if model.info.kind == "upscaler"]
    diffusion = sorted((m for m in models if m.info.kind == "diffusion"), key=lambda model: model.info.inpaint)
    order = [*diffusion, *upscalers] if _is_told(request) else [*upscalers, *diffusion]
    if not order:
        raise ModelMissing(
            "Upscaling needs an upscaler or a Stable Diffusion model, and none is installed.",
            "Add one with: scumble models add",
        )
    return order[0]
