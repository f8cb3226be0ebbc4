"""Running out of memory, told in one way for every device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..protocol.errors import OutOfMemory


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns what torch and Python raise when memory runs out into OutOfMemory; other errors pass."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory("There is not enough memory for this.") from error
    except RuntimeError as error:
        # The CPU's allocator has no exception of its own.
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise OutOfMemory("There is not enough memory for this.") from error
        raise
