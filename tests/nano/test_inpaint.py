"""What an inpaint model (nine channels) does with holes, proven by what is to be seen in them."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from scumble.diffusion.engine import DiffusionEngine

from . import world
from .judge import Eyes, share
from .measure_edits import around, drawing
from .painting import edit, tensor

pytestmark = pytest.mark.slow
SEEDS = range(8)
STAR = world.Object("star", "red", "left", 0.27, 0.5, 0.22)


def test_what_the_prompt_says_appears_in_the_hole_and_nothing_changes_outside(
    nano_inpaint: DiffusionEngine, eyes: Eyes
) -> None:
    before, mask = drawing(world.Scene("meadow", (), 3)), around(STAR)
    right = 0
    for seed in SEEDS:
        after = edit(nano_inpaint, before, mask, prompt="a blue square on the left on a meadow", seed=seed)
        assert np.array_equal(after.picture[mask == 0], before[mask == 0])
        seen = eyes.objects(tensor(after.picture[None]))[0]
        right += [(one.colour, one.position) for one in seen] == [("blue", "left")]
    assert right >= 7


def test_an_object_is_gone_where_the_prompt_says_its_background(nano_inpaint: DiffusionEngine, eyes: Eyes) -> None:
    there = gone = 0
    for seed, (background, words) in zip(SEEDS, [("brick", "a brick wall"), ("sky", "a blue sky")] * 4, strict=True):
        before = drawing(world.Scene(background, (STAR,), seed))
        after = edit(nano_inpaint, before, around(STAR), prompt=words, seed=seed).picture
        there += bool(eyes.objects(tensor(before[None]))[0])
        gone += not eyes.objects(tensor(after[None]))[0]
    assert there >= 7
    assert gone >= 7


def test_it_sees_what_surrounds_the_hole(nano_inpaint: DiffusionEngine) -> None:
    """The prompt says nothing of the background, which goes on in the hole's corners all the same: nothing but the
    conditioning can say which. What would fit the colours afterwards is switched off."""
    for seed, background in enumerate(("plain green", "plain blue", "plain yellow", "plain purple")):
        before, mask = drawing(world.Scene(background, (STAR,), seed)), around(STAR)
        plain = {"color_match": False, "membrane": False}
        after = edit(nano_inpaint, before, mask, prompt="a white circle on the left", seed=seed, **plain).picture
        rows, columns = np.nonzero(mask)
        corner = after[rows.max() - 9 : rows.max() - 1, columns.max() - 9 : columns.max() - 1]
        assert np.abs(corner.mean((0, 1)) - before[-4, -4]).max() < 40


def test_at_a_low_strength_inpaint_weights_keep_what_is_there(
    nano_inpaint: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to a strength they work as a plain model does (`Defaults.inpaint_above`); told of the hole, they paint it anew."""
    before, mask = drawing(world.Scene("sky", (STAR,), 1)), around(STAR)

    def red() -> float:
        words = "a blue circle on the left in the sky"
        edits = [edit(nano_inpaint, before, mask, mode="refine", prompt=words, strength=0.45, seed=s) for s in range(4)]
        return float(np.mean([share(each.picture, "red") for each in edits]))

    kept, family = red(), copy(nano_inpaint.family)
    monkeypatch.setattr(family, "defaults", replace(family.defaults, inpaint_above=0.0), raising=True)
    monkeypatch.setattr(nano_inpaint, "family", family)
    assert kept > 0.04
    assert red() < 0.7 * kept
