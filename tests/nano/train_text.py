"""Teaches the text encoder to read captions, which stands in for CLIP's own training: without it a denoiser that is trained
from nothing learns no conditioning for thousands of steps.

What a caption says has to be found in its words' own tokens. The end tokens, which fill most of the 77 places, are trained
to say nothing: where they carry the caption, too, the weights of words have no effect.
"""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from . import parts, sentences, world
from .data import SAID
from .drawing import sample_scenes
from .fitting import fit

SCENES = 20_000
BATCH = 256
RATE = 2e-3
SILENCE = 5.0
"""Weight of the loss of the end tokens."""
_PLACES = (*world.POSITIONS, "absent")
_COLOURS = tuple(world.COLOURS)
_NONE = -1


class Reading(torch.nn.Module):
    """A text encoder, and what its states are asked for."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.text = parts.text_encoder(vocabulary)
        # Weighting keeps the mean of all states: it needs one.
        torch.nn.init.constant_(self.text.final_layer_norm.bias, 0.3)
        self.background = torch.nn.Linear(parts.WIDTH, len(world.BACKGROUNDS))
        self.colours = torch.nn.Linear(parts.WIDTH, len(_COLOURS) * len(_PLACES))
        self.shapes = torch.nn.Linear(parts.WIDTH, len(world.SHAPES) * len(_PLACES))
        self.pairs = torch.nn.Linear(parts.WIDTH, len(_COLOURS) * len(world.SHAPES))
        self.own_colour = torch.nn.Linear(parts.WIDTH, len(_COLOURS))


def train(minutes: float, device: torch.device, seed: int = 0) -> torch.nn.Module:
    """A text encoder with the compact vocabulary of `sentences.Vocabulary`."""
    torch.manual_seed(seed)
    vocabulary = sentences.vocabulary()
    questions = [each.to(device) for each in _questions(sample_scenes(SCENES, seed), vocabulary, random.Random(seed))]
    nothing = vocabulary([""]).ids.to(device)

    def loss(model: torch.nn.Module) -> tuple[Tensor, Tensor]:
        picked = torch.randint(0, SCENES, (BATCH,), device=device)
        which = torch.randint(0, SAID, (BATCH,), device=device)
        ids, places, own, background, colours, shapes, pairs = questions
        states = model.text(input_ids=ids[picked, which]).last_hidden_state
        empty = model.text(input_ids=nothing).last_hidden_state
        silence = sentences.padding_loss(states, ids[picked, which], vocabulary.end, empty)
        words = sentences.said(ids[picked, which], vocabulary.end)[..., None]
        pooled = (states * words).sum(1) / words.sum(1).clamp(min=1)
        found = model.background(pooled)
        spoken = states[torch.arange(BATCH, device=device)[:, None], places[picked, which]]
        total = (
            F.cross_entropy(found, background[picked])
            + 3 * F.cross_entropy(model.colours(pooled).view(-1, len(_PLACES)), colours[picked].view(-1))
            + 3 * F.cross_entropy(model.shapes(pooled).view(-1, len(_PLACES)), shapes[picked].view(-1))
            + 10 * F.binary_cross_entropy_with_logits(model.pairs(pooled), pairs[picked].flatten(1))
            + F.cross_entropy(model.own_colour(spoken).flatten(0, 1), own[picked, which].flatten(), ignore_index=_NONE)
            + SILENCE * silence
        )
        return total, (found.argmax(1) == background[picked]).float().mean()

    return fit(Reading(len(vocabulary)).to(device), loss, minutes, RATE).text


def _questions(
    scenes: list[world.Scene], vocabulary: sentences.Vocabulary, rng: random.Random
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """ids (n, SAID, LONGEST) of the captions of n scenes; places and own (n, SAID, 2) where a caption says a shape and the
    colour of it; background (n,); the places of colours (n, colours) and shapes (n, shapes); pairs (n, colours, shapes)."""
    count = len(scenes)
    captions = [world.caption(scene, rng) for scene in scenes for _ in range(SAID)]
    ids = vocabulary(captions, sentences.LONGEST).unflatten(SAID).ids
    places, own = torch.zeros(count, SAID, 2, dtype=torch.long), torch.full((count, SAID, 2), _NONE)
    colours = torch.full((count, len(_COLOURS)), len(_PLACES) - 1)
    shapes = torch.full((count, len(world.SHAPES)), len(_PLACES) - 1)
    pairs = torch.zeros(count, len(_COLOURS), len(world.SHAPES))
    words = {shape: vocabulary.id(shape) for shape in world.SHAPES}
    for i, scene in enumerate(scenes):
        for j, thing in enumerate(scene.objects):
            colour, shape = _COLOURS.index(thing.colour), world.SHAPES.index(thing.shape)
            colours[i, colour] = shapes[i, shape] = _PLACES.index(thing.position)
            pairs[i, colour, shape] = 1
            here = ids[i] == words[thing.shape]
            places[i, :, j] = here.int().argmax(1)
            own[i, :, j] = torch.where(here.any(1), colour, _NONE)
    background = torch.tensor([world.BACKGROUNDS.index(scene.background) for scene in scenes])
    return ids, places, own, background, colours, shapes, pairs
