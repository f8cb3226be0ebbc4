"""In which of the denoising steps something counts. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..protocol.messages import Control, Reference


def counts(use: Control | Reference, step: int, steps: int) -> bool:
    """Whether it counts in step 0 <= step < steps: those that lie wholly within its part, as in the pipelines of
    diffusers."""
    return use.weight > 0 and step / steps >= use.start and (step + 1) / steps <= use.end


def numbered(timesteps: Tensor) -> Mapping[float, int]:
    """From a timestep to the first step that has it."""
    return {float(timestep): index for index, timestep in reversed(list(enumerate(timesteps)))}
