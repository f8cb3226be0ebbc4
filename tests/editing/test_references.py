"""What a model is shown of a reference."""

from __future__ import annotations

import numpy as np
from scumble.editing.references import shown


def test_what_is_not_transparent_is_shown_on_white() -> None:
    layer = np.zeros((50, 60, 4), np.uint8)
    layer[10:20, 30:50] = (200, 100, 50, 255)
    layer[19, 49] = (0, 0, 0, 128)
    layer[10, 30] = (7, 7, 7, 0)
    seen = shown(layer)
    assert seen.shape == (10, 20, 3)
    assert seen[5, 5].tolist() == [200, 100, 50]
    assert seen[9, 19].tolist() == [127, 127, 127]
    assert seen[0, 0].tolist() == [255, 255, 255]


def test_an_empty_layer_is_white_paper() -> None:
    seen = shown(np.zeros((5, 6, 4), np.uint8))
    assert seen.shape == (5, 6, 3)
    assert (seen == 255).all()
