"""From prompts to conditioning: chunks, weights, skipped layers and textual inversions, on a small random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.embeddings import find_embeddings, read_embedding, split_words
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import identify
from scumble.diffusion.families.clip import Token, chunked, emphasised
from scumble.diffusion.families.sd1 import SD1
from scumble.diffusion.prompts import Prompt, parse
from scumble.editing.adapters import Adapter
from scumble.home import Home
from scumble.protocol.errors import BadRequest, ModelUnreadable
from scumble.protocol.messages import AdapterInfo
from torch import Tensor

from .test_engine import run
from .tiny import make_sd1_folder

CPU = Device("cpu", torch.float32, channels_last=False)
CHUNK, WIDTH = 77, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sd1_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return SD1.load(folder, identify(read_contents(folder)), CPU, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.embeddings.mkdir(parents=True)
    home.wildcards.mkdir()
    return home


@pytest.fixture
def engine(model: Any, home: Home) -> DiffusionEngine:
    return DiffusionEngine(model, SD1, home)


def encode(model: Any, text: str, **options: Any) -> Tensor:
    return model.encode_prompt(parse(text), **options).tokens


def equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


# ---- chunks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["(a red boat:1)", "((a red boat:0.5):2)", "a (red:1.0) boat", "a red boat # or so"])
def test_weight_one_is_the_plain_prompt_to_the_byte(model: Any, text: str) -> None:
    assert equal(encode(model, text), encode(model, "a red boat"))


def test_a_long_prompt_is_its_chunks_one_after_the_other(model: Any) -> None:
    """The tokenizer of the small model makes a token of every letter."""
    one, two, three = "abcde " * 15, "fghij " * 15, "klm "
    assert equal(
        encode(model, one + two + three), torch.cat([encode(model, part) for part in (one, two, three)], dim=1)
    )
    assert encode(model, one).shape == (1, CHUNK, WIDTH)
    assert encode(model, one + "x").shape == (1, 2 * CHUNK, WIDTH)


def test_break_begins_a_chunk(model: Any) -> None:
    both = encode(model, "a boat BREAK (a tree:1.3)")
    assert equal(both, torch.cat([encode(model, "a boat"), encode(model, "(a tree:1.3)")], dim=1))


def tokens(*ids: int) -> list[Token]:
    return [Token(id, 1.0) for id in ids]


COMMA = 9


@pytest.mark.parametrize(
    ("ids", "lengths"),
    [
        ([], [0]),
        ([1] * 30, [30]),
        ([1] * 31, [30, 1]),
        ([1] * 9 + [COMMA] + [1] * 21, [10, 21]),  # 20 tokens after the comma
        ([1] * 8 + [COMMA] + [1] * 22, [30, 1]),  # 21
        ([COMMA] + [1] * 30, [30, 1]),
        ([1] * 29 + [COMMA] + [1] * 3, [30, 3]),
        ([1] * 20 + [COMMA] + [1] * 40 + [COMMA] + [1] * 30, [21, 30, 11, 30]),
    ],
)
def test_a_full_chunk_ends_after_a_comma_that_is_near(ids: list[int], lengths: list[int]) -> None:
    chunks = chunked(([token] for token in tokens(*ids)), 30, COMMA)
    assert [token.id for chunk in chunks for token in chunk] == ids
    assert [len(chunk) for chunk in chunks] == lengths


def test_what_belongs_together_is_not_torn_apart() -> None:
    chunks = chunked([tokens(1), tokens(2, 3, 4), tokens(5, 6), tokens(7, 8, 9, 10)], 4, 0)
    assert [[token.id for token in chunk] for chunk in chunks] == [[1, 2, 3, 4], [5, 6], [7, 8, 9, 10]]
    chunks = chunked([*([unit] for unit in tokens(1, COMMA, 2)), tokens(3, 4, 5)], 4, COMMA)
    assert [[token.id for token in chunk] for chunk in chunks] == [[1, COMMA], [2, 3, 4, 5]]


def test_all_prompts_of_a_batch_are_equally_long(engine: DiffusionEngine, model: Any) -> None:
    long = "abcde " * 40
    positive, negative = engine.encode_prompts((parse("a boat"), parse(long)))
    nothing = encode(model, "")
    assert equal(positive.tokens, torch.cat([encode(model, "a boat"), nothing, nothing], dim=1))
    assert equal(negative.tokens, encode(model, long))
    assert [each.tokens.shape[1] for each in engine.encode_prompts((parse(long), Prompt()))] == [3 * CHUNK] * 2
    assert run(engine, prompt="a boat", negative=long)[0].std() > 1


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_states_are_multiplied_and_get_their_mean_back() -> None:
    states = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)) + 2
    weights = torch.tensor([[1, 1, 1.5, 0.5, 1], [1, 1, 0.2, 1, 1]])
    result = emphasised(states, weights)
    ratio = result / states
    torch.testing.assert_close(ratio / ratio[:, :1], weights[..., None].expand(2, 5, 8))
    torch.testing.assert_close(result.mean((1, 2)), states.mean((1, 2)))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [-1.0, -1.0], [1.0, -1.0]])
def test_where_no_mean_is_left_states_are_only_weighted(weights: list[float]) -> None:
    states = torch.tensor([[[1.0, 3.0], [1.0, 3.0]]])
    assert equal(emphasised(states, torch.tensor([weights])), states * torch.tensor(weights)[None, :, None])


def test_a_mean_that_is_rounding_is_not_restored() -> None:
    states = torch.tensor([[[1.0, -1.0 + 1e-7], [2.0, -2.0]]])
    assert equal(emphasised(states, torch.tensor([[1.0, 1.5]]))[0, 0], states[0, 0])


def test_only_the_weighted_tokens_change(model: Any) -> None:
    """But for the one factor that all states have in common. In the small model there is none: its states have no mean."""
    plain, weighted = encode(model, "ab cd ef"), encode(model, "ab (cd:1.5) ef")
    expected = torch.ones(CHUNK)
    expected[3:5] = 1.5
    torch.testing.assert_close(weighted, plain * expected[None, :, None])


def test_weights_work_in_each_chunk_by_itself(model: Any) -> None:
    one, two = "abcde " * 15, "fghij " * 15
    assert equal(
        encode(model, f"{one}({two}:1.4)"), torch.cat([encode(model, one), encode(model, f"({two}:1.4)")], dim=1)
    )


# ---- clip skip -------------------------------------------------------------------------------------------------------


def test_a_skipped_layer_is_that_of_diffusers_own_way(model: Any, folder: Path) -> None:
    encoder, prompt = model._text_encoder, "a red circle"
    pipeline = StableDiffusionPipeline.from_pretrained(str(folder), local_files_only=True)
    ids = pipeline.tokenizer(prompt, padding="max_length", max_length=CHUNK, return_tensors="pt").input_ids
    with torch.no_grad():
        states = pipeline.text_encoder(ids, output_hidden_states=True).hidden_states
        assert len(states) == encoder.config.num_hidden_layers + 1
        expected = pipeline.text_encoder.final_layer_norm(states[-2])
    torch.testing.assert_close(encode(model, prompt, clip_skip=2), expected)
    assert not torch.allclose(encode(model, prompt), expected)


def test_the_request_says_the_layer(engine: DiffusionEngine) -> None:
    plain, first, again = (run(engine, clip_skip=skip)[0] for skip in (1, 2, 1))
    assert (plain == again).all()
    assert (plain != first).any()
    with pytest.raises(BadRequest, match="2 layers"):
        run(engine, clip_skip=3)


# ---- wildcards and adapters ------------------------------------------------------------------------------------------


def test_each_picture_draws_by_its_own_seed(engine: DiffusionEngine, home: Home) -> None:
    (home.wildcards / "thing.txt").write_text("boat\ntree\nhouse\n")
    prompt = "{big|small} __thing__"
    drawn = [engine.read_prompt(prompt, f"{seed}") for seed in range(40)]
    assert len(set(drawn)) == 6
    pictures = run(engine, prompt=prompt, seed=3, count=2)
    for i, picture in enumerate(pictures):
        (words,) = drawn[3 + i].sections[0]
        assert (picture == run(engine, prompt=words.text, seed=3 + i)[0]).all()


def test_prompt_and_negative_prompt_draw_apart(engine: DiffusionEngine) -> None:
    draws = {
        tuple(engine.read_prompt("{red|blue}", seed) for seed in (f"{i}", f"{i} negative")) for i in range(50)
    }  # fmt: skip
    assert len(draws) == 4


# ---- textual inversion -----------------------------------------------------------------------------------------------


def save(path: Path, **tensors: Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("name", ["emb_params", "*", "<my-style>"])
@pytest.mark.parametrize("shape", [(WIDTH,), (1, WIDTH), (3, WIDTH)])
def test_files_of_all_layouts_are_read(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    vectors = torch.randn(shape)
    (read,) = read_embedding(save(tmp_path / "style.safetensors", **{name: vectors.half()})).values()
    torch.testing.assert_close(read, vectors.half().float().reshape(-1, WIDTH))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("cat", [("cat", "cat")]),
        ("a Cat, CAT", [("a ", None), ("Cat", "cat"), (", ", None), ("CAT", "cat")]),
        ("category wildcat cat-like cat_x", [("category wildcat cat-like cat_x", None)]),
        ("bad cat-2 bad", [("bad cat-2", "bad cat-2"), (" bad", None)]),
        ("a embedding:cat, Embedding:dog", [("a ", None), ("embedding:cat", "cat"), (", Embedding:dog", None)]),
        ("embedding:sd1/Cat.pt x", [("embedding:sd1/Cat.pt", "cat"), (" x", None)]),
        ("embedding:a b/cat", [("embedding:a b/", None), ("cat", "cat")]),
        (r"embedding:a\b\bad cat-2.safetensors", [(r"embedding:a\b\bad cat-2.safetensors", "bad cat-2")]),
        ("cat.safetensors cat.", [("cat.safetensors", "cat"), (" ", None), ("cat", "cat"), (".", None)]),
        ("", []),
    ],
)
def test_only_whole_words_are_embeddings(text: str, pieces: list[tuple[str, str | None]]) -> None:
    assert list(split_words(text, ["cat", "bad cat-2"])) == pieces


def test_an_embedding_of_a_words_own_vectors_is_that_word(model: Any, home: Home, engine: DiffusionEngine) -> None:
    ids = model._tokenizer("boat", add_special_tokens=False).input_ids
    table = model._text_encoder.get_input_embeddings().weight
    save(home.embeddings / "sub" / "My-Style.safetensors", emb_params=table[ids].clone())
    for text in ("a {0} here", "a ({0}:1.3), {0}", "a (embedding:{0}:1.3)"):
        (ours,) = engine.encode_prompts([parse(text.format("My-Style"))])
        assert equal(ours.tokens, encode(model, text.replace("embedding:", "").format("boat")))
    # Unlike a word, it is not torn apart at the end of a chunk.
    (ours,) = engine.encode_prompts([parse("abcde " * 14 + "xy my-style")])
    assert equal(ours.tokens, torch.cat([encode(model, "abcde " * 14 + "xy"), encode(model, "boat")], dim=1))
    (plain,) = engine.encode_prompts([parse("my-style-2")])
    assert equal(plain.tokens, encode(model, "my-style-2"))


def test_a_file_that_changed_is_read_again(home: Home, engine: DiffusionEngine) -> None:
    path, prompt = home.embeddings / "style.safetensors", parse("a style")
    encoded = [engine.encode_prompts([prompt])[0].tokens]
    for vectors in (torch.ones(1, WIDTH), torch.ones(2, WIDTH) * 5):
        save(path, emb_params=vectors)
        encoded.append(engine.encode_prompts([prompt])[0].tokens)
    path.unlink()
    encoded.append(engine.encode_prompts([prompt])[0].tokens)
    assert equal(encoded[0], encoded[3])
    assert len({each.numpy().tobytes() for each in encoded}) == 3


def test_what_cannot_be_used_is_named(home: Home, engine: DiffusionEngine) -> None:
    save(home.embeddings / "long.safetensors", emb_params=torch.ones(76, WIDTH))
    save(home.embeddings / "unet.safetensors", weight=torch.ones(4, 4, 3, 3))
    save(home.embeddings / "both.safetensors", emb_params=torch.ones(1, WIDTH))
    for name in ("old.pt", "both.pt"):
        (home.embeddings / name).write_bytes(b"PK\x03\x04")
    (home.embeddings / "broken.safetensors").write_bytes(b"nothing")
    for word, error, what in (
        ("long", BadRequest, "75 tokens"),
        ("unet", ModelUnreadable, "no textual inversion"),
        ("old", ModelUnreadable, "pickle"),
        ("broken", ModelUnreadable, "not a model file"),
    ):
        with pytest.raises(error, match=what) as caught:
            run(engine, prompt=f"a {word} boat")
        assert str(home.root) not in caught.value.message + caught.value.hint
        run(engine, prompt=f"a {word}-x boat", steps=1)  # another word
    run(engine, prompt="both", steps=1)


def test_what_is_made_for_another_kind_of_model_is_a_word_like_others(
    model: Any, home: Home, engine: DiffusionEngine, tmp_path: Path
) -> None:
    """In the folder, and in one that the user named; nor does it hide a shorter one that fits."""
    text = "a red star and a moon"
    plain = encode(model, text)
    save(home.embeddings / "red star.safetensors", clip_l=torch.ones(1, 768), clip_g=torch.ones(1, 1280))
    save(home.embeddings / "moon.safetensors", emb_params=torch.ones(1, WIDTH + 8))  # nobody knows what for
    save(home.embeddings / "and.safetensors", emb_params=torch.ones(1, 1024))
    red = Adapter(AdapterInfo("1", "red", "embedding", "sd2", 1), tmp_path / "elsewhere.safetensors")
    (ours,) = engine.encode_prompts([parse(text)], adapters=(red,))
    assert equal(ours.tokens, plain)
    save(home.embeddings / "star.safetensors", emb_params=torch.ones(1, WIDTH))
    (ours,) = engine.encode_prompts([parse(text)], adapters=(red,))
    assert not equal(ours.tokens, plain)


def test_without_the_folder_all_words_are_plain(tmp_path: Path) -> None:
    prompt = parse("a style")
    assert find_embeddings(None, prompt) == find_embeddings(tmp_path / "not there", prompt) == ()
