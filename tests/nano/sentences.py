"""From captions to what the denoiser attends to, while the text encoder is being trained: in batches, with gradients, and
with a vocabulary of only the tokens that the world needs. Weights do what they do in Scumble: its own functions read them.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scumble.diffusion.families.clip import emphasised
from scumble.diffusion.prompts import parse
from torch import Tensor

from . import parts, world

LONGEST = 32
"""Tokens that training looks at: no caption of the world is longer."""


@dataclass(frozen=True)
class Captions:
    """Ids and weights, both (..., tokens)."""

    ids: Tensor
    weights: Tensor

    def __getitem__(self, places: Any) -> Captions:
        return Captions(self.ids[places], self.weights[places])

    def to(self, device: torch.device) -> Captions:
        return Captions(self.ids.to(device), self.weights.to(device))

    def unflatten(self, count: int) -> Captions:
        """(n * k, tokens) as (n, k, tokens)."""
        return Captions(*(each.unflatten(0, (-1, count)) for each in (self.ids, self.weights)))

    def flatten(self) -> Captions:
        """(n, k, tokens) as (n * k, tokens)."""
        return Captions(self.ids.flatten(0, 1), self.weights.flatten(0, 1))

    def or_nothing(self, silent: Tensor, nothing: Captions) -> Captions:
        """Those of n captions (n, tokens) that are `silent` (n,) are the empty one (1, tokens)."""
        silent = silent[:, None]
        return Captions(torch.where(silent, nothing.ids, self.ids), torch.where(silent, nothing.weights, self.weights))


class Vocabulary:
    """`clip` lists the ids of CLIP's vocabulary that captions use, in order; an id of ours is a place in that list."""

    def __init__(self) -> None:
        self._tokenizer = parts.tokenizer()
        rng = random.Random(0)
        scenes = [world.sample_scene(rng, held_out=held_out) for held_out in (False, True) for _ in range(3000)]
        used = {token for scene in scenes for token, _ in self._tokens(world.caption(scene, rng))}
        self.clip = sorted(used | {parts.START, parts.END})
        self.end = self.clip.index(parts.END)
        self._compact = {token: i for i, token in enumerate(self.clip)}

    def __len__(self) -> int:
        return len(self.clip)

    def __call__(self, captions: Sequence[str], length: int = parts.TOKENS) -> Captions:
        """(n, length), ended and filled up as Stable Diffusion's are."""
        start, filler = (self._compact[parts.START], 1.0), (self.end, 1.0)
        rows = []
        for caption in captions:
            said = [start, *((self._compact[token], weight) for token, weight in self._tokens(caption))]
            rows.append(said + [filler] * (length - len(said)))
        ids, weights = ([[token[side] for token in row] for row in rows] for side in (0, 1))
        return Captions(torch.tensor(ids), torch.tensor(weights))

    def id(self, word: str) -> int:
        (token,) = self._read(word)
        return self._compact[token]

    def _tokens(self, caption: str) -> list[tuple[int, float]]:
        fragments = parse(caption).sections[0]
        return [(token, fragment.weight) for fragment in fragments for token in self._read(fragment.text)]

    @functools.lru_cache(maxsize=100_000)  # noqa: B019 - a vocabulary lives as long as the training
    def _read(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False).input_ids


@functools.cache
def vocabulary() -> Vocabulary:
    return Vocabulary()


def said(ids: Tensor, end: int) -> Tensor:
    """(n, k) whether a token is one of the caption's own words: neither the start nor an end."""
    words = ids != end
    words[:, 0] = False
    return words


def unpadded(states: Tensor, ids: Tensor, end: int, empty: Tensor) -> Tensor:
    """(n, 77, width): hidden states (n, k, width) of the first k tokens with every end token replaced by that of the empty
    caption (1, 77, width). What a denoiser learns from these it learns from the words' own tokens, so that weights count.
    """
    k = states.shape[1]
    own = torch.where((ids == end)[..., None], empty[:, :k], states)
    return torch.cat([own, empty[:, k:].expand(len(states), -1, -1)], 1)


def padding_loss(states: Tensor, ids: Tensor, end: int, empty: Tensor) -> Tensor:
    """How far the end tokens of the first k tokens (n, k, width) are from those of the empty caption (1, 77, width)."""
    apart = (states - empty[:, : states.shape[1]].detach()).square().mean(2)
    return (apart * (ids == end)).sum() / (ids == end).sum()


def weighted(states: Tensor, weights: Tensor) -> Tensor:
    """(n, 77, width) of which the first k tokens have weights (n, k)."""
    rest = weights.new_ones(len(states), states.shape[1] - weights.shape[1])
    return emphasised(states, torch.cat([weights, rest], 1))
