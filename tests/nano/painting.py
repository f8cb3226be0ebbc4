"""Pictures by a nano model through Scumble itself: request, plan, engine; what is measured is the product."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import find_family, identify
from scumble.editing.adapters import Adapter
from scumble.editing.compositor import composite
from scumble.editing.plan import Pixels, Silent, Source
from scumble.editing.planner import plan_edit
from scumble.home import Home
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest
from torch import Tensor

from . import world

MODELS = Path(__file__).parent / "models"
STEPS = 12
GUIDANCE = 5.0
PIECE = Size(world.SIZE, world.SIZE)
ONE_THREAD = Device("cpu", torch.float32, channels_last=False)
"""What is measured does not depend on the machine."""


def load(folder: Path, home: Home) -> DiffusionEngine:
    """The model on ONE_THREAD, in float32."""
    identity = identify(read_contents(folder))
    assert identity is not None
    family = find_family(identity.family)
    return DiffusionEngine(family.load(folder, identity, ONE_THREAD, home.cache), family, home)


def paint(
    engine: DiffusionEngine,
    prompt: str,
    seed: int = 0,
    count: int = 1,
    adapters: tuple[Adapter, ...] = (),
    hints: tuple[Pixels, ...] = (),
    shown: tuple[Pixels, ...] = (),
    **settings: Any,
) -> NDArray[np.uint8]:
    """(count, 128, 128, 3) pictures of a prompt, from nothing.

    `settings` are those of EditRequest, `hints` the (128, 128, 4) pictures of its controls, `shown` the (h, w, 4) ones of
    its references.
    """
    request = EditRequest(
        **{
            "mode": "txt2img",
            "canvas": PIECE,
            "image": Bounds.of_size(PIECE),
            "prompt": prompt,
            "seed": seed,
            "count": count,
            "steps": STEPS,
            "guidance": GUIDANCE,
            "sampler": "dpmpp_2m_karras",
            **settings,
        }
    )
    empty: Pixels = np.zeros((PIECE.height, PIECE.width, 4), np.uint8)
    source = Source(empty, controls=hints, adapters=adapters, references=shown)
    return np.stack(engine.generate(plan_edit(request, source, engine.traits), Silent()))


class Edited(NamedTuple):
    """picture  (h, w, 3) of the canvas with the first layer merged into it
    alpha    (h, w) of that layer on the canvas"""

    picture: Pixels
    alpha: Pixels


def edit(engine: DiffusionEngine, picture: Pixels, mask: Pixels | None = None, **settings: Any) -> Edited:
    """An edit of a whole (h, w, 3) picture, (h, w) selection, as the backend does it: plan, engine, layers. To extend the
    picture, give `canvas` and a mask of its size."""
    size = Size(picture.shape[1], picture.shape[0])
    request = EditRequest(
        **{
            "mode": "fill" if mask is not None else "img2img",
            "canvas": size,
            "image": Bounds.of_size(size),
            "mask": None if mask is None else Bounds(0, 0, mask.shape[1], mask.shape[0]),
            "seed": 0,
            "steps": STEPS,
            "guidance": GUIDANCE,
            "sampler": "dpmpp_2m_karras",
            **settings,
        }
    )
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    plan = plan_edit(request, Source(opaque, mask), engine.traits)
    layer = composite(plan, engine.generate(plan, Silent()))[0]
    merged = np.zeros((request.canvas.height, request.canvas.width, 3), np.uint8)
    merged[: size.height, : size.width] = picture
    alpha = np.zeros(merged.shape[:2], np.uint8)
    place = layer.bounds.slices()
    alpha[place] = layer.rgba[..., 3]
    share = alpha[place][..., None].astype(np.float32) / 255
    merged[place] = (merged[place] * (1 - share) + layer.rgba[..., :3] * share).round()
    return Edited(merged, alpha)


def tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(n, 3, h, w) in -1..1 of (n, h, w, 3), as the judge looks at them."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
