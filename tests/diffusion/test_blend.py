"""Several predictions as one."""

from __future__ import annotations

import pytest
import torch
from scumble.diffusion.blend import Part, blended, faded
from scumble.diffusion.denoise import Predict
from scumble.protocol.geometry import Bounds, Size
from torch import Tensor

WHOLE = Size(24, 16)
LATENTS = torch.zeros(1, 4, WHOLE.height, WHOLE.width)
NOW = torch.tensor(9)


def says(value: float) -> Predict:
    return lambda latents, timestep: torch.full_like(latents, value)


def test_parts_that_agree_give_what_they_say_everywhere():
    windows = [Bounds(0, 0, 14, 16), Bounds(10, 0, 14, 10), Bounds(10, 6, 14, 10)]
    parts = [Part(window, faded(window, WHOLE, 4), says(3.0)) for window in windows]
    torch.testing.assert_close(blended(parts)(LATENTS, NOW), torch.full_like(LATENTS, 3.0))


def test_each_part_sees_and_changes_its_own_window_only():
    seen: list[Tensor] = []
    latents = torch.arange(24.0).expand(1, 4, 16, 24)
    window = Bounds(5, 2, 6, 4)

    def look(inner: Tensor, timestep: Tensor) -> Tensor:
        seen.append(inner)
        return inner * 0 + 7

    result = blended([Part(window, faded(window, WHOLE, 3), look)])(latents, NOW)
    assert torch.equal(seen[0], latents[..., 2:6, 5:11])
    inside = torch.zeros(16, 24, dtype=torch.bool)
    inside[2:6, 5:11] = True
    torch.testing.assert_close(result[..., inside], torch.full((1, 4, 24), 7.0))
    assert (result[..., ~inside] == 0).all()


def test_where_two_windows_meet_one_fades_into_the_other():
    left, right = Bounds(0, 0, 16, 16), Bounds(8, 0, 16, 16)
    parts = [Part(left, faded(left, WHOLE, 8), says(0.0)), Part(right, faded(right, WHOLE, 8), says(1.0))]
    row = blended(parts)(LATENTS, NOW)[0, 0, 0]
    assert (row[:8] == 0).all()
    assert (row[16:] == 1).all()
    steps = row.diff()
    assert steps.min() >= 0
    assert steps.max() <= 1 / 8 + 1e-6


def test_shares_by_mask_put_each_prediction_where_its_mask_is():
    mask = torch.zeros(1, 1, 16, 24)
    mask[..., 3:9, 4:12] = 1
    everything = Bounds.of_size(WHOLE)
    parts = [Part(everything, 1 - mask, says(-2.0)), Part(everything, mask, says(5.0))]
    result = blended(parts)(LATENTS, NOW)
    assert torch.equal(result, torch.where(mask > 0, 5.0, -2.0).expand_as(result))


def test_a_window_fades_towards_neighbours_and_not_towards_the_pictures_edge():
    share = faded(Bounds(0, 4, 10, 8), WHOLE, 4)[0, 0]
    assert share.shape == (8, 10)
    assert share[4, 0] == share.max() == pytest.approx(0.875), "the picture ends here"
    assert share[4, -1] == pytest.approx(0.875 * 0.125)
    assert share[0, 3] == share[-1, 3] == pytest.approx(0.125)
    assert (share > 0).all()


def test_between_parts_there_is_a_word():
    said: list[int] = []
    parts = [Part(Bounds.of_size(WHOLE), torch.ones(1, 1, 16, 24), says(1.0))] * 3
    blended(parts, lambda: said.append(len(said)))(LATENTS, NOW)
    assert said == [0, 1, 2]
