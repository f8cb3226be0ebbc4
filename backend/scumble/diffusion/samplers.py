"""The samplers by name, and the part of a schedule that a strength selects. Importing this does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol.errors import BadRequest

if TYPE_CHECKING:
    from torch import Tensor

SAMPLERS: tuple[str, ...] = ("dpmpp_2m_karras", "euler", "euler_a", "ddim", "unipc", "lcm")

# Name -> the scheduler class of diffusers and what it needs beside the model's own configuration. DDIM's own default is
# to clip its estimates to -1..1, which holds for pixels but not for latents.
_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}

_NEAR = 0.0501
"""So much strength may be lost where steps are counted: one of twenty."""
_FINEST = 100
"""Steps of a schedule at most, where more are made for a strength."""

FLOW = "FlowMatchEulerDiscreteScheduler"
"""The scheduler that models of flow matching are published with."""


class Schedule(NamedTuple):
    """A scheduler of diffusers set to run over `timesteps` (1-d, from noisy to clean). It carries the state of one
    picture: make a new one for each."""

    scheduler: Any
    timesteps: Tensor


def make_scheduler(name: str, scheduler_config: Mapping[str, Any]) -> Any:
    """A scheduler of diffusers with the model's own betas and prediction type.

    Raises BadRequest when the name is not one of SAMPLERS, or none for this kind of model.
    """
    if scheduler_config.get("_class_name") == FLOW:
        if name != "euler":
            raise BadRequest("This model has only one sampler, euler.", "Choose euler, or leave the sampler automatic.")
        from .flow import FlowEuler

        return FlowEuler.from_config(dict(scheduler_config))
    if name not in _SCHEDULERS:
        raise BadRequest("This sampler is not known.", f"Choose one of {', '.join(SAMPLERS)}.")
    import diffusers

    kind, options = _SCHEDULERS[name]
    return getattr(diffusers, kind).from_config(dict(scheduler_config), **options)


def make_schedule(
    name: str, scheduler_config: Mapping[str, Any], steps: int, strength: float = 1.0, time_shift: float | None = None
) -> Schedule:
    """As many steps as `strength` leaves of `steps` (`divided`). `time_shift`: see base.Model.

    The timesteps stay on the CPU: a scheduler looks its tables up by them, and each look-up from a GPU would wait for it.
    """
    scheduler = make_scheduler(name, scheduler_config)
    executed, whole = divided(steps, strength)
    scheduler.set_timesteps(**_spacing(scheduler.config, whole, time_shift))
    start = whole - executed
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    return Schedule(scheduler, scheduler.timesteps[start:])


def _spacing(config: Mapping[str, Any], steps: int, time_shift: float | None) -> dict[str, Any]:
    """What a scheduler is told about its timesteps."""
    if time_shift is not None:
        return {"sigmas": [1 - i / steps for i in range(steps)], "mu": time_shift}
    # LCM takes its steps from the 50 it was distilled over; asked for more, it needs a finer grid.
    distilled = config.get("original_inference_steps")
    finer = {"original_inference_steps": max(distilled, steps)} if distilled else {}
    return {"num_inference_steps": steps, **finer}


def divided(steps: int, strength: float) -> tuple[int, int]:
    """How many steps run at `strength` (0..1) where `steps` (>= 1) would at 1, and of how many they are the last ones.

    As in the pipelines of diffusers, but at least one; and where so few steps come nowhere near the strength (one step is
    all or nothing, of four a half run at 74 % too) of a schedule with more steps, of which at most two more run.
    """
    usual = max(1, min(int(steps * strength), steps))
    if abs(usual / steps - strength) <= _NEAR:
        return usual, steps
    ideal = {run: run / max(strength, 1 / _FINEST) for run in range(usual, usual + 3)}
    choices = {
        (run, min(max(round_(whole), run, steps), _FINEST))
        for run, whole in ideal.items()
        for round_ in (math.floor, math.ceil)
    }

    def cost(choice: tuple[int, int]) -> tuple[float, int, float]:
        miss = abs(choice[0] / choice[1] - strength)
        return max(miss - _NEAR, 0), choice[0], miss

    return min(choices, key=cost)
