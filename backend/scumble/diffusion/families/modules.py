"""What every family does with its modules. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor

from ...protocol.errors import ModelUnreadable


def silence_libraries() -> None:
    """They print tables and bars about files that are as they should be."""
    for library in (diffusers.utils, transformers.utils):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()


def fill(module: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Gives a module that was built on the meta device its weights. Raises ModelUnreadable where they are not its own."""
    try:
        missing, _ = module.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:  # shapes that differ
        raise ModelUnreadable("The parts of this model do not fit together.") from error
    if missing:
        raise ModelUnreadable("A part of this model is missing.")
    for part in module.modules():
        counted = part._buffers.get("position_ids")  # CLIP's, which are in no file
        if counted is not None:
            part._buffers["position_ids"] = torch.arange(counted.shape[-1])[None]
    module.requires_grad_(False).eval()


def in_range(autoencoder: Any, run: Callable[[], Any], numbers: Callable[[Any], Tensor]) -> Any:
    """What `run` gives of the autoencoder, for which it makes room; `numbers` are those of it that must be finite.

    Some autoencoders leave the range of float16, first of all SDXL's; one that does stays in float32 from then on.
    """
    output = run()
    if autoencoder.dtype == torch.float16 and not numbers(output).isfinite().all():
        autoencoder.float()
        output = run()
    return output
