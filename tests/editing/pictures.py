"""Pictures, selections and requests for tests, made from seeds."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scumble.editing.plan import Pixels, Plan, Source, Traits
from scumble.editing.planner import plan_edit
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest

DIFFUSION = Traits(native=512, multiple=8, max_area=768 * 768, prompt=True, reach=1 << 20)


@functools.cache
def photo(width: int, height: int, seed: int = 0) -> Pixels:
    """(h, w, 3) smooth shapes with some grain, 30..225."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.full((height, width, 3), 128.0, np.float32)
    for wavelength in (400, 150, 60):
        for channel in range(3):
            angle, phase = random.uniform(0, 2 * np.pi, 2)
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / wavelength + phase)
            picture[..., channel] += 25 * wave
    result = np.clip(picture + random.normal(0, 2, picture.shape), 30, 225).astype(np.uint8)
    result.setflags(write=False)
    return result


def opaque(picture: Pixels) -> Pixels:
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def disc(side: int, soft: float = 0) -> Pixels:
    """(side, side) a round selection; `soft` px wide is its edge."""
    y, x = np.mgrid[0:side, 0:side] + 0.5
    inside = side / 2 - np.hypot(y - side / 2, x - side / 2)
    return (np.clip(inside / soft if soft else (inside > 0), 0, 1) * 255).astype(np.uint8)


def plan_of(
    picture: Pixels, mask: Pixels | None, at: tuple[int, int] = (0, 0), traits: Traits = DIFFUSION, **fields: Any
) -> Plan:
    """The plan for a document of one RGB or RGBA picture that is sent whole; the mask's corner lies `at` (x, y)."""
    height, width = picture.shape[:2]
    request = EditRequest(
        mode=fields.pop("mode", "fill"),
        canvas=Size(width, height),
        image=Bounds(0, 0, width, height),
        mask=None if mask is None else Bounds(*at, mask.shape[1], mask.shape[0]),
        **fields,
    )
    image = picture.view() if picture.shape[2] == 4 else opaque(picture)
    image.setflags(write=False)  # as what came over the wire is
    return plan_edit(request, Source(image, mask), traits)


def merged(picture: Pixels, bounds: Bounds, rgba: Pixels) -> Pixels:
    """The picture with a layer over it, cut to the picture."""
    result = picture.copy()
    common = bounds.intersect(Bounds(0, 0, picture.shape[1], picture.shape[0]))
    layer = rgba[common.relative_to(bounds).slices()].astype(np.float32)
    share, part = layer[..., 3:] / 255, common.slices()
    result[part] = (picture[part] * (1 - share) + layer[..., :3] * share + 0.5).astype(np.uint8)
    return result
