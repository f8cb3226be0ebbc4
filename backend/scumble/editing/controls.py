"""Controls: pictures that lie on the canvas like the document itself, and are cropped and scaled as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..protocol.geometry import Bounds, Size
from ..protocol.messages import Control, Preprocessor
from .masks import covered
from .pixels import on_paper, resize
from .plan import Pixels

ByModel = Mapping[Preprocessor, Callable[[Pixels], Pixels]]
"""The preprocessors that need a model: from (h, w, 3) to what is shown, of the same size."""

_OF_AREAS = ("blur", "luminance", "depth")
"""What shows areas rather than lines goes on beyond the buffer's edge; of lines there are none."""


def control_image(
    control: Control, pixels: Pixels, crop: Bounds, size: Size, by_model: ByModel = MappingProxyType({})
) -> Pixels:
    """The (H, W, 3) picture of `size` that a control network is shown, from the (h, w, 4) RGBA pixels at control.image.

    The crop maps onto it as the document's picture does, pixel for pixel. What is transparent counts as paper, white; a
    picture that is what the network expects already lies on black. Where the buffer does not reach there are no lines.
    """
    from .preprocess import preprocess  # brings OpenCV, a quarter of a second that most edits need not wait for

    rows, beyond_y = _reached(control.image.top, control.image.bottom, crop.top, crop.bottom)
    columns, beyond_x = _reached(control.image.left, control.image.right, crop.left, crop.right)
    # Beyond the buffer the nearest pixel stands in, so that its rim does not look like an edge.
    part = pixels[rows][:, columns]
    image = resize(on_paper(part, 0 if control.preprocessor == "none" else 255), size)
    make = by_model.get(control.preprocessor)
    shown = make(image) if make else preprocess(control.preprocessor, image)
    beyond = beyond_y[:, None] | beyond_x
    if control.preprocessor in _OF_AREAS or not beyond.any():
        return shown
    unknown = covered(np.where(beyond, 255, 0).astype(np.uint8), size) > 0
    return np.where(unknown[..., None], np.uint8(0), shown)


def _reached(first: int, end: int, low: int, high: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each px low..high of the canvas: the nearest one of a buffer from `first` to `end`, and whether it is beyond."""
    places = np.arange(low, high)
    return np.clip(places, first, end - 1) - first, (places < first) | (places >= end)
