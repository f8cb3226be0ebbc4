"""Our reading of prompts beside that of compel (https://github.com/damian0815/compel), where its grammar says the same in
other signs: `(red)1.3` there is `(red:1.3)` here. How weights act differs by design: compel moves states away from those of
no prompt, we multiply them as the web UI does; so with weights only the words and their weights are compared."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compel import Compel
from compel.embeddings_provider import SplitLongTextMode
from compel.prompt_parser import PromptParser
from scumble.diffusion.contents import read_contents
from scumble.diffusion.families import find_family, identify
from scumble.diffusion.prompts import parse

from .test_engine import CPU
from .tiny import make_sd1_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_sd1_folder(tmp_path_factory.mktemp("model") / "tiny")
    identity = identify(read_contents(folder))
    assert identity is not None
    return find_family(identity.family).load(folder, identity, CPU, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("a boat at sea", "a boat at sea"),
        ("a (red dress:1.3) here", "a (red dress)1.3 here"),
        ("(red dress:0.5)", "(red dress)0.5"),
        ("a (b (c:1.2) d:1.1) e", "a (b (c)1.2 d)1.1 e"),
        ("a ((b:1.5):1.2)", "a ((b)1.5)1.2"),
        ("(red) boat", "(red)+ boat"),
        ("((red)) boat", "(red)++ boat"),
        ("a, (b:1.25), c", "a, (b)1.25, c"),
    ],
)
def test_each_word_has_the_weight_that_compel_gives_it(ours: str, theirs: str) -> None:
    (section,) = parse(ours).sections
    (prompt,) = PromptParser().parse_conjunction(theirs).prompts

    def words(fragments: Any) -> list[tuple[str, float]]:
        return [
            (word, pytest.approx(part.weight)) for part in fragments for word in part.text.replace(",", " , ").split()
        ]

    assert words(section) == words(prompt.children)


@pytest.mark.parametrize("prompt", ["a boat at sea", "", "very " * 15, "very " * 40])
def test_without_weights_the_states_are_those_of_compel(prompt: str, model: Any) -> None:
    compel = Compel(
        tokenizer=model._tokenizer,
        text_encoder=_Encoder(model),
        truncate_long_prompts=False,
        split_long_text_mode=SplitLongTextMode.BRUTAL,  # where the chunk is full; its own way is between words
    )
    theirs = compel(prompt)
    ours = model.encode_prompt(parse(prompt)).tokens
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs)


class _Encoder:
    """The model's own, which is told its positions (they are in no file)."""

    def __init__(self, model: Any) -> None:
        self._encoder = model._text_encoder
        self.device, self.dtype, self.config = self._encoder.device, self._encoder.dtype, self._encoder.config

    def __call__(self, ids: torch.Tensor, attention_mask: Any = None, **options: Any) -> Any:
        positions = torch.arange(ids.shape[1])[None]
        return self._encoder(ids, attention_mask=attention_mask, position_ids=positions, **options)
