"""What of an edit that is to be done again its request does not name.

Its layers: a request has their pixels and not which layers these were. That is taken from the layers that are in use now,
where one is for the same network or has the same words. And by how much the canvas grew.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, Iterable, Sequence, Tuple, TypeVar

from ..protocol.messages import EditRequest
from .area import edges_around
from .document import Edges
from .editor import ControlLayer, ReferenceLayer, RegionLayer

LayerUse = TypeVar("LayerUse", ControlLayer, ReferenceLayer, RegionLayer)


def layers_again(
    request: EditRequest,
    controls: Sequence[ControlLayer],
    references: Sequence[ReferenceLayer],
    regions: Sequence[RegionLayer],
    unknown: str,
) -> Dict[str, Tuple[Any, ...]]:
    """The controls, references and regions of EditSettings that repeat the request, from those in use now; `unknown` in
    place of a layer's id where nobody knows which one it was."""
    return {
        "controls": _on_their_layers(
            (
                ControlLayer(use.id, unknown, use.preprocessor, use.weight, use.start, use.end)
                for use in request.controls
            ),
            controls,
        ),
        "references": _on_their_layers(
            (ReferenceLayer(use.id, unknown, use.weight, use.start, use.end) for use in request.references), references
        ),
        "regions": _on_their_layers((RegionLayer(region.prompt, unknown) for region in request.regions), regions),
    }


def edges_again(request: EditRequest) -> Edges:
    """By how much the edit's canvas was to grow."""
    return edges_around(request.canvas, request.mask) if request.mask else Edges()


def _on_their_layers(uses: Iterable[LayerUse], known: Sequence[LayerUse]) -> Tuple[LayerUse, ...]:
    """Each with the layer of the first known one that is alike and has not given its layer to another one."""
    left, found = list(known), []
    for use in uses:
        like = next((other for other in left if _what(other) == _what(use)), None)
        if like is not None:
            left.remove(like)
            use = dataclasses.replace(use, layer=like.layer)
        found.append(use)
    return tuple(found)


def _what(use: LayerUse) -> str:
    return use.prompt if isinstance(use, RegionLayer) else use.id
