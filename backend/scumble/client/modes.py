"""Which kind of edit the artist means (README, What Scumble promises)."""

from __future__ import annotations

from typing import Any, Dict, Literal

from ..protocol.messages import Mode, ModelKind

Intent = Literal["fill", "add", "remove"]
"""What is wanted of a selection, where what the artist has in front of them does not tell: to go on as its surroundings do,
to hold something that is not like them (at full strength: below it, what is there is the start), or to lose what is in
it."""

INTENTS: Dict[Intent, Dict[str, Any]] = {
    "fill": {},
    # From grey instead of what surrounds it: a red thing on a green meadow need not win against green.
    "add": {"prefill": "neutral"},
    # No words, and the model that needs none.
    "remove": {
        "mode": "remove",
        "model": None,
        "strength": 1.0,
        "prompt": "",
        "negative": "",
        "loras": (),
        "controls": (),
        "regions": (),
        "references": (),
    },
}
"""What each makes of an edit's settings (`editor.EditSettings`)."""


def choose_mode(
    *,
    selected: bool,
    strength: float,
    prompt: str = "",
    model: ModelKind = "diffusion",
    empty: bool = False,
    transparent: bool = False,
    grows: bool = False,
) -> Mode:
    """The mode that follows from what the artist has in front of them.

    selected     something is selected
    strength     0..1, 1 = start from nothing
    model        the kind of the chosen model
    empty        the document has no opaque pixel where it matters
    transparent  the selection touches pixels that are not fully opaque
    grows        the canvas is to grow

    An empty document has nothing that could be continued, so a selection in it only says where to paint. Below full
    strength what is there is the start, of a drawing on nothing too: it is not continued.
    """
    if grows:
        return "outpaint"
    if empty:
        return "txt2img"
    if not selected:
        return "txt2img" if strength >= 1 else "img2img"
    if transparent and (strength >= 1 or model == "fill"):
        return "outpaint"
    if model == "fill" and not prompt.strip():
        return "remove"
    return "fill" if strength >= 1 else "refine"
