"""From captions to what the denoiser attends to, while the text encoder is being trained: in batches, with gradients, and
with a vocabulary of only the tokens that the world needs. Weights do what they do in Scumble: its own functions read them.
"""

from __future__ import annotations

import functools
import random

import torch
from scumble.diffusion.families.clip import emphasised
from scumble.diffusion.prompts import parse
from torch import Tensor

from . import parts, world

LONGEST = 32
"""Tokens that training looks at: no caption of the world is longer."""


class Vocabulary:
    """`clip` lists the ids of CLIP's vocabulary that captions use, in order; an id of ours is a place in that list."""

    def __init__(self) -> None:
        self._tokenizer = parts.tokenizer()
        rng = random.Random(0)
        scenes = [world.sample_scene(rng, held_out=held_out) for held_out in (False, True) for _ in range(3000)]
        used = {token for scene in scenes for token, _ in self._tokens(world.caption(scene, rng))}
        self.clip = sorted(used | {parts.START, parts.END})
        self._compact = {token: i for i, token in enumerate(self.clip)}

    def __len__(self) -> int:
        return len(self.clip)

    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Ids and weights, each (n, 77)."""
        ids = torch.full((len(captions), parts.TOKENS), self._compact[parts.END])
        weights = torch.ones(len(captions), parts.TOKENS)
        for i, caption in enumerate(captions):
            said = [(parts.START, 1.0), *self._tokens(caption)]
            ids[i, : len(said)] = torch.tensor([self._compact[token] for token, _ in said])
            weights[i, : len(said)] = torch.tensor([weight for _, weight in said])
        return ids, weights

    def id(self, word: str) -> int:
        (token,) = self._read(word)
        return self._compact[token]

    def _tokens(self, caption: str) -> list[tuple[int, float]]:
        fragments = parse(caption).sections[0]
        return [(token, fragment.weight) for fragment in fragments for token in self._read(fragment.text)]

    @functools.lru_cache(maxsize=100_000)  # noqa: B019 - a vocabulary lives as long as the training
    def _read(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False).input_ids


def said(ids: Tensor, end: int) -> Tensor:
    """(n, 77) whether a token is one of the caption's own words: neither the start nor an end."""
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
    return (states - empty[:, : states.shape[1]].detach())[ids == end].square().mean()


def weighted(states: Tensor, weights: Tensor) -> Tensor:
    rows = [
        emphasised(row[None], w) if bool((w != 1).any()) else row[None] for row, w in zip(states, weights, strict=True)
    ]
    return torch.cat(rows)
