"""What every family does with its autoencoder. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def in_range(autoencoder: Any, run: Callable[[], Any], numbers: Callable[[Any], Tensor]) -> Any:
    """What `run` gives of the autoencoder; `numbers` are those of it that must be finite.

    Some autoencoders leave the range of float16, first of all SDXL's; one that does stays in float32 from then on.
    """
    output = run()
    if autoencoder.dtype == torch.float16 and not numbers(output).isfinite().all():
        autoencoder.float()
        output = run()
    return output
