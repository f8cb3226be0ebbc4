"""How a model with a limited view paints a large hole: tile after tile, from what is known outwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..protocol.geometry import Bounds, Size
from .masks import covered, feathered, grown
from .membrane import fit_seam
from .pixels import as_bytes
from .plan import Pixels, Traits

CELL = 16
"""Side in px of the squares in which the order is decided."""
OVERLAP = 24
"""Px of earlier painting that a tile paints once more, to fade into it."""
KNOWN_ENOUGH = 0.4
"""Share of a view that has to be known for its tile to be painted well (by eye, MI-GAN on photographs)."""


def order_tiles(mask: Pixels, traits: Traits) -> tuple[Bounds, ...]:
    """Tiles that, painted in this order, cover all of the (h, w) mask.

    One, the whole picture, where its middle is within the model's reach from both sides. Otherwise tiles of twice the reach
    a side, each in the middle of a view of traits.native px: next goes the one that paints most, among those whose view
    knows enough by then; where none does, the one that has most of both.
    """
    height, width = mask.shape
    side = min(2 * traits.reach, traits.native)
    if max(width, height) <= max(side, 2 * traits.reach):
        return (Bounds(0, 0, width, height),)
    tile = Size(min(side, width), min(side, height))
    cells = Size(-(-width // CELL), -(-height // CELL))
    # The last cells reach beyond the picture: squeezed into it they would not be where the tiles are.
    remaining = np.zeros((cells.height * CELL, cells.width * CELL), np.uint8)
    remaining[:height, :width] = mask > 0
    # Whole cells, so that a tile paints all that it was chosen for.
    rows = cells.height if tile.height == height else tile.height // CELL
    columns = cells.width if tile.width == width else tile.width // CELL
    margin = (traits.native - side) // 2 // CELL
    view = rows + 2 * margin, columns + 2 * margin
    # What lies beyond the picture is neither known nor missed.
    seen = _window_sums(np.pad(np.ones((cells.height, cells.width), np.bool_), margin), *view)
    tiles = []
    while remaining.any():
        hole = covered(remaining, cells) > 0
        painted = _window_sums(hole, rows, columns)
        row, column = _best(painted, _window_sums(np.pad(~hole, margin), *view) / seen)
        place = Bounds(min(column * CELL, width - tile.width), min(row * CELL, height - tile.height), *tile)
        tiles.append(place)
        remaining[place.slices()] = 0
    return tuple(tiles)


def _window_sums(cells: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.int64]:
    """How many cells are True in each rows x columns window, by its top left cell."""
    sums = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), np.int64)
    sums[1:, 1:] = cells.cumsum(0).cumsum(1)
    result: NDArray[np.int64] = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns]
    return result + sums[:-rows, :-columns]


def _best(painted: NDArray[np.int64], known: NDArray[np.float64]) -> tuple[int, int]:
    good = (painted > 0) & (known >= KNOWN_ENOUGH)
    score = np.where(good, painted, 0) if good.any() else painted * (known + 0.01)
    ties = np.argwhere(score == score.max())
    # The middle one: what it paints then has known pixels on all sides.
    row, column = ties[np.abs(ties - ties.mean(axis=0)).sum(axis=1).argmin()]
    return int(row), int(column)


class TiledPicture:
    """A picture in work: what it shows by now, and what is still to paint."""

    def __init__(self, image: Pixels, mask: Pixels) -> None:
        """From the plan's work_image and work_mask; neither is changed."""
        self.image = image.copy()
        self._masked = mask > 0
        self._remaining = self._masked.copy()
        self._bounds = Bounds(0, 0, mask.shape[1], mask.shape[0])

    def look(self, tile: Bounds, view: Bounds) -> tuple[Pixels, NDArray[np.bool_]]:
        """(h, w, 3) pixels and (h, w) hole of a view, which may reach beyond the picture.

        Hole is all that is not painted yet, all beyond the picture, and the band in which the tile fades into earlier ones.
        """
        image = np.zeros((view.height, view.width, 3), np.uint8)
        hole = np.ones((view.height, view.width), np.bool_)
        common = view.intersect(self._bounds)
        inside = common.relative_to(view).slices()
        image[inside] = self.image[common.slices()]
        hole[inside] = self._remaining[common.slices()]
        region, band = self._reach_of(tile, view)
        hole[region.relative_to(view).slices()] |= band
        return image, hole

    def paste(self, tile: Bounds, view: Bounds, painted: Pixels) -> None:
        """Takes over the tile's pixels from the (h, w, 3) painting of the view: all that remained, fading over the band."""
        region, hole = self._reach_of(tile, view)
        part = region.slices()
        elsewhere = self._remaining[part].copy()
        elsewhere[tile.relative_to(region).slices()] = False
        share = feathered(hole.astype(np.uint8) * 255, OVERLAP)
        share[self._remaining[part] & ~elsewhere] = 1
        old = self.image[part].astype(np.float32)
        new = painted[region.relative_to(view).slices()].astype(np.float32)
        new = fit_seam(new, old, hole, ~hole & ~elsewhere)
        self.image[part] = as_bytes(old + (new - old) * share[..., None])
        self._remaining[tile.slices()] = False

    def _reach_of(self, tile: Bounds, view: Bounds) -> tuple[Bounds, NDArray[np.bool_]]:
        """The tile with the band around it (within the view), and which of its pixels the tile paints."""
        region = tile.pad(OVERLAP).intersect(view).intersect(self._bounds)
        inside = tile.relative_to(region).slices()
        own = np.zeros((region.height, region.width), np.uint8)
        own[inside] = self._remaining[tile.slices()]
        elsewhere = self._remaining[region.slices()].copy()
        elsewhere[inside] = False
        hole: NDArray[np.bool_] = (grown(own, OVERLAP) > 0) & self._masked[region.slices()] & ~elsewhere
        return region, hole
