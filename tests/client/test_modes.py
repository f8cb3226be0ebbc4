from __future__ import annotations

from typing import Any

import pytest
from scumble.client.modes import choose_mode


@pytest.mark.parametrize(
    ("facts", "mode"),
    [
        ({"selected": True, "strength": 1.0}, "fill"),
        ({"selected": True, "strength": 0.5}, "refine"),
        ({"selected": False, "strength": 0.5}, "img2img"),
        ({"selected": False, "strength": 1.0}, "txt2img"),
        ({"selected": False, "strength": 0.5, "empty": True}, "txt2img"),
        ({"selected": True, "strength": 1.0, "empty": True}, "txt2img"),
        ({"selected": True, "strength": 1.0, "transparent": True}, "outpaint"),
        ({"selected": True, "strength": 0.6, "transparent": True}, "refine"),
        ({"selected": True, "strength": 0.6, "grows": True, "transparent": True}, "outpaint"),
        ({"selected": True, "strength": 0.6, "transparent": True, "model": "fill"}, "outpaint"),
        ({"selected": True, "strength": 1.0, "grows": True, "empty": True}, "outpaint"),
        ({"selected": False, "strength": 1.0, "grows": True}, "outpaint"),
        ({"selected": True, "strength": 1.0, "model": "fill"}, "remove"),
        ({"selected": True, "strength": 1.0, "model": "fill", "prompt": "  "}, "remove"),
        ({"selected": True, "strength": 1.0, "model": "fill", "prompt": "a cat"}, "fill"),
        ({"selected": True, "strength": 1.0, "model": "fill", "transparent": True}, "outpaint"),
    ],
)
def test_mode_follows_from_what_the_artist_has_in_front_of_them(facts: Any, mode: str) -> None:
    assert choose_mode(**facts) == mode
