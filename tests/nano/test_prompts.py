"""What prompts do, proven by what is to be seen in the pictures of a model that understands them."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scumble.diffusion.engine import DiffusionEngine
from scumble.home import Home

from . import parts, world
from .judge import Eyes, share
from .measure import named_scene, sentence
from .painting import MODELS, load, paint, tensor

pytestmark = pytest.mark.slow
SEEDS = range(8)


@pytest.fixture(params=["nano", "nano_xl"])
def model(request: pytest.FixtureRequest) -> DiffusionEngine:
    """nano-sd, and nano-sdxl with its two text encoders and the prompt as a whole."""
    engine: DiffusionEngine = request.getfixturevalue(request.param)
    return engine


@pytest.mark.parametrize("colour", world.COLOURS)
def test_colour_and_background_are_those_of_the_prompt(model: DiffusionEngine, eyes: Eyes, colour: str) -> None:
    for background, words in (("brick", "on a brick wall"), ("sky", "in the sky")):
        picture = paint(model, f"a {colour} heart in the center {words}", seed=3)
        assert share(picture[0], colour) > 0.05
        assert eyes.background(tensor(picture)) == [background]


@pytest.mark.parametrize("text", ["blue heart, brick wall", "blue heart\nBREAK\na brick wall"])
def test_tags_and_parts_say_what_sentences_say(nano: DiffusionEngine, eyes: Eyes, text: str) -> None:
    """The second prompt is two chunks of 75 tokens: what is said in either counts."""
    pictures = tensor(np.concatenate([paint(nano, text, seed) for seed in SEEDS]))
    hearts = [bool(seen) and (seen[0].colour, seen[0].shape) == ("blue", "heart") for seen in eyes.objects(pictures)]
    assert sum(hearts) >= 6
    assert eyes.background(pictures).count("brick") >= 7


@pytest.mark.parametrize("text", [f"blue heart, {'and ' * 80}, brick wall", f"brick wall, {'and ' * 80}, blue heart"])
def test_what_stands_behind_75_tokens_counts(nano: DiffusionEngine, eyes: Eyes, text: str) -> None:
    pictures = tensor(np.concatenate([paint(nano, text, seed) for seed in range(4)]))
    hearts = [bool(seen) and (seen[0].colour, seen[0].shape) == ("blue", "heart") for seen in eyes.objects(pictures)]
    assert sum(hearts) >= 3
    assert eyes.background(pictures).count("brick") >= 3


def test_shapes_and_places_are_those_of_the_prompt(nano: DiffusionEngine, eyes: Eyes) -> None:
    """Of pairs of colour and shape that training never showed."""
    rng, right = random.Random(20), 0
    for seed in range(12):
        scene = named_scene(rng)
        (thing,) = scene.objects
        seen = eyes.objects(tensor(paint(nano, sentence(scene), seed)))[0]
        right += bool(seen) and (seen[0].shape, seen[0].position) == (thing.shape, thing.position)
    assert right >= 10


def test_two_objects_keep_their_colours_apart(nano: DiffusionEngine, eyes: Eyes) -> None:
    right = 0
    for seed in SEEDS:
        seen = eyes.objects(tensor(paint(nano, "a red star to the left of a blue square", seed)))[0]
        right += sorted((one.colour, one.position) for one in seen) == [("blue", "right"), ("red", "left")]
    assert right >= 6


def test_a_weight_gives_a_colour_more_or_less_of_the_picture(model: DiffusionEngine) -> None:
    """A prompt without weights is the same as one with weights of 1, so a grammar that ignored them would fail."""
    areas = {
        weight: [share(paint(model, f"a ({colour}:{weight}) square in the center on a brick wall", seed)[0], colour)
                 for colour, seed in zip(("blue", "yellow", "white", "green") * 2, SEEDS, strict=True)]
        for weight in (0.5, 1.0, 1.5)
    }  # fmt: skip
    assert np.sum(np.array(areas[1.5]) > 1.05 * np.array(areas[1.0])) >= 7
    assert np.sum(np.array(areas[0.5]) < 0.95 * np.array(areas[1.0])) >= 7


def test_brackets_are_weights(nano: DiffusionEngine) -> None:
    for brackets, weight in (
        ("((blue))", "(blue:1.21)"),
        (r"\(blue\)", "(blue)"),
        ("[blue]", "(blue:0.9090909090909091)"),
    ):
        same = np.array_equal(paint(nano, f"a {brackets} star"), paint(nano, f"a {weight} star"))
        assert same is ("\\" not in brackets)


@pytest.mark.parametrize(
    ("negative", "gone"), [("a {colour} circle", (6, 8)), ("{colour}", (4, 8)), ("a night sky", (0, 3))]
)
def test_a_negative_prompt_takes_away_the_colour_that_it_names(
    model: DiffusionEngine, eyes: Eyes, negative: str, gone: tuple[int, int]
) -> None:
    """Shapes of no named colour have one all the same; named as negative, it is gone, if less surely by its word alone."""
    text, counted = "a circle in the center on a purple background", 0
    for seed in SEEDS:
        before = paint(model, text, seed)
        colour = eyes.objects(tensor(before), at_least=0)[0][0].colour
        after = paint(model, text, seed, negative=negative.format(colour=colour))
        counted += share(after[0], colour) < 0.5 * share(before[0], colour)
    assert gone[0] <= counted <= gone[1]


def test_with_clip_skip_the_picture_is_another_one_of_the_same_prompt(nano: DiffusionEngine, eyes: Eyes) -> None:
    """What the last layer but one says is near to what the last one does, which the model was trained on."""
    rng, right = random.Random(21), 0
    for seed in range(12):
        scene = named_scene(rng)
        (thing,) = scene.objects
        picture = paint(nano, sentence(scene), seed, clip_skip=2)
        seen = eyes.objects(tensor(picture), at_least=0)[0][0]
        right += (seen.colour, seen.shape) == (thing.colour, thing.shape)
        right += eyes.background(tensor(picture)) == [scene.background]
        assert not np.array_equal(picture, paint(nano, sentence(scene), seed))
    assert right >= 21


def test_wildcards_are_drawn_by_the_seed(nano: DiffusionEngine) -> None:
    chosen = set()
    for seed in SEEDS:
        drawn = paint(nano, "a {red|blue} star on a brick wall", seed)
        plain = {colour: paint(nano, f"a {colour} star on a brick wall", seed) for colour in ("red", "blue")}
        same = [colour for colour, picture in plain.items() if np.array_equal(picture, drawn)]
        assert len(same) == 1
        chosen.update(same)
    assert chosen == {"red", "blue"}


def test_comments_are_not_read(nano: DiffusionEngine) -> None:
    said = paint(nano, "a yellow star # a blue one\nat night")
    assert np.array_equal(said, paint(nano, "a yellow star \nat night"))
    assert not np.array_equal(said, paint(nano, "a yellow star  a blue one\nat night"))


def test_a_textual_inversion_means_what_it_was_trained_to_mean(nano_home: Home, eyes: Eyes) -> None:
    """One whose vector is that of "red", under another name."""
    engine = load(MODELS / "nano-sd", nano_home)
    table = engine.model.parts["text_encoder"].get_input_embeddings().weight
    (red,) = parts.tokenizer()("red", add_special_tokens=False).input_ids
    nano_home.embeddings.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": table[red][None].clone().to(torch.float32)}, nano_home.embeddings / "zorblax.safetensors")
    seeds = range(4)
    named = [share(paint(engine, "a zorblax square in the center at night", seed)[0], "red") for seed in seeds]
    other = [share(paint(engine, "a zorblay square in the center at night", seed)[0], "red") for seed in seeds]
    assert min(named) > 0.04
    assert np.mean(other) < 0.5 * np.mean(named)
