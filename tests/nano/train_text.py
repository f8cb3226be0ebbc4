"""Teaches the text encoder to read captions, which stands in for CLIP's own training: without it a denoiser that is trained
from nothing learns no conditioning for thousands of steps.

What a caption says has to be found in its words' own tokens. The end tokens, which fill most of the 77 places, are trained
to say nothing: where they carry the caption, too, the weights of words have no effect.
"""

from __future__ import annotations

import random
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from . import parts, sentences, world

BATCH = 96
RATE = 2e-3
SILENCE = 5.0
"""Weight of the loss of the end tokens."""
_PLACES = (*world.POSITIONS, "absent")
_COLOURS = tuple(world.COLOURS)


def train(minutes: float, seed: int = 0) -> torch.nn.Module:
    """A text encoder with the compact vocabulary of `sentences.Vocabulary`."""
    torch.manual_seed(seed)
    vocabulary = sentences.Vocabulary()
    encoder = parts.text_encoder(len(vocabulary))
    # Weighting keeps the mean of all states: it needs one.
    torch.nn.init.constant_(encoder.final_layer_norm.bias, 0.3)
    heads = torch.nn.ModuleDict(
        {
            "background": torch.nn.Linear(parts.WIDTH, len(world.BACKGROUNDS)),
            "colours": torch.nn.Linear(parts.WIDTH, len(_COLOURS) * len(_PLACES)),
            "shapes": torch.nn.Linear(parts.WIDTH, len(world.SHAPES) * len(_PLACES)),
            "pairs": torch.nn.Linear(parts.WIDTH, len(_COLOURS) * len(world.SHAPES)),
            "own colour": torch.nn.Linear(parts.WIDTH, len(_COLOURS)),
        }
    )
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=RATE, betas=(0.9, 0.99))
    rng, start, step = random.Random(seed), time.monotonic(), 0
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 30) * (1.05 - progress)
        loss, right = _loss(encoder, heads, vocabulary, rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(f"text {step}: loss {loss.item():.3f}, {right}, {time.monotonic() - start:.0f} s", flush=True)
    return encoder


def _loss(
    encoder: torch.nn.Module, heads: torch.nn.ModuleDict, vocabulary: sentences.Vocabulary, rng: random.Random
) -> tuple[Tensor, str]:
    scenes = [world.sample_scene(rng) for _ in range(BATCH)]
    ids, _ = vocabulary([world.caption(scene, rng) for scene in scenes])
    ids, end = ids[:, : sentences.LONGEST], vocabulary.clip.index(parts.END)
    states = encoder(input_ids=ids).last_hidden_state
    silence = sentences.padding_loss(states, ids, end, encoder(input_ids=vocabulary([""])[0]).last_hidden_state)
    words = sentences.said(ids, end)[..., None]
    pooled = (states * words).sum(1) / words.sum(1).clamp(min=1)
    background = torch.tensor([world.BACKGROUNDS.index(scene.background) for scene in scenes])
    colours = torch.full((BATCH, len(_COLOURS)), len(_PLACES) - 1)
    shapes = torch.full((BATCH, len(world.SHAPES)), len(_PLACES) - 1)
    pairs = torch.zeros(BATCH, len(_COLOURS), len(world.SHAPES))
    spoken = []  # (row, place of the shape's word, its colour)
    for i, scene in enumerate(scenes):
        for thing in scene.objects:
            colour, shape = _COLOURS.index(thing.colour), world.SHAPES.index(thing.shape)
            colours[i, colour] = shapes[i, shape] = _PLACES.index(thing.position)
            pairs[i, colour, shape] = 1
            at = (ids[i] == vocabulary.id(thing.shape)).nonzero()
            spoken += [(i, at[0].item(), colour)] if len(at) else []
    rows, places, own = torch.tensor(spoken).T
    found = heads["background"](pooled)
    loss = (
        F.cross_entropy(found, background)
        + 3 * F.cross_entropy(heads["colours"](pooled).view(-1, len(_PLACES)), colours.view(-1))
        + 3 * F.cross_entropy(heads["shapes"](pooled).view(-1, len(_PLACES)), shapes.view(-1))
        + 10 * F.binary_cross_entropy_with_logits(heads["pairs"](pooled), pairs.flatten(1))
        + F.cross_entropy(heads["own colour"](states[rows, places]), own)
        + SILENCE * silence
    )
    right = (found.argmax(1) == background).float().mean().item()
    return loss, f"background {right:.2f}, silence {silence.item():.4f}"
