"""What control networks are shown of a picture. Pure functions of (h, w, 3) pixels; what needs a model is elsewhere
(diffusion/depth.py).

Edges come from OpenCV: its Canny (with these thresholds) is what the networks for edges were trained with (Zhang et al.,
2023, Adding Conditional Control to Text-to-Image Diffusion Models, section 4.3). Lines and edges are white on black, as
such networks expect them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ..protocol.messages import Preprocessor
from .masks import Field
from .pixels import as_bytes
from .plan import Pixels

CANNY = (100, 200)
"""Gradients (of 0..255, summed over the Sobel kernel) from which an edge goes on, and from which one begins."""
SIDE = 512
"""Px of the side of a square picture for which the widths below are said; others scale them."""
STROKE = 6.0
SOFT = 2.5
BLUR = 6.0
"""Standard deviations in px: of the surroundings from which a stroke stands out, of soft edges, of the blur."""
FAINTEST = 16.0
"""Of 255: a picture whose strongest lines are below this has none, only noise."""


def preprocess(kind: Preprocessor, image: Pixels) -> Pixels:
    """The (h, w, 3) picture that a control network is shown in place of this one, of the same size."""
    return _MAKERS[kind](image)


def _as_it_is(image: Pixels) -> Pixels:
    return image


def _invert(image: Pixels) -> Pixels:
    """Dark strokes on white paper as white ones on black."""
    return 255 - image


def _canny(image: Pixels) -> Pixels:
    edges: Pixels = cv2.Canny(np.ascontiguousarray(image), *CANNY).astype(np.uint8)
    return _grey(edges)


def _lineart(image: Pixels) -> Pixels:
    """How much darker than its surroundings each pixel is: strokes, and no areas. A difference of Gaussians (Winnemoeller
    et al., 2012, XDoG), the inner one of width 0."""
    values = image.astype(np.float32)
    return _grey(_stretched((_blurred(values, STROKE) - values).max(axis=2)))


def _soft_edges(image: Pixels) -> Pixels:
    """The gradient's length, in the channel where it is longest: wide edges without a threshold, strong ones brighter."""
    smooth = _blurred(image.astype(np.float32), SOFT)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, dx, dy) for dx, dy in ((1, 0), (0, 1)))
    return _grey(_stretched(np.hypot(across, down).max(axis=2) / 4))  # a Sobel kernel sums up to 4


def _blur(image: Pixels) -> Pixels:
    """Colours and rough shapes only, for networks that add detail ("tile", "blur")."""
    return as_bytes(_blurred(image.astype(np.float32), BLUR))


def _luminance(image: Pixels) -> Pixels:
    grey: Pixels = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.uint8)
    return _grey(grey)


_MAKERS: dict[Preprocessor, Callable[[Pixels], Pixels]] = {
    "none": _as_it_is,
    "invert": _invert,
    "canny": _canny,
    "lineart": _lineart,
    "soft_edges": _soft_edges,
    "blur": _blur,
    "luminance": _luminance,
}


def _blurred(values: Field, width: float) -> Field:
    sigma = width * math.sqrt(values.shape[0] * values.shape[1]) / SIDE
    result: Field = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    return result


def _stretched(lines: NDArray[np.float32]) -> Pixels:
    """The strongest lines white; a picture without any stays black."""
    strongest = max(float(np.percentile(lines, 99)), float(lines.max()) / 2, FAINTEST)
    return as_bytes(lines * (255 / strongest))


def _grey(values: Pixels) -> Pixels:
    return np.repeat(values[..., None], 3, axis=2)
