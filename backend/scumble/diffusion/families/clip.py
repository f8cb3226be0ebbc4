"""A CLIP text encoder and its tokenizer: from a prompt to what a denoiser attends to. Imports torch.

What a prompt's grammar means is what Stable Diffusion web UI (AUTOMATIC1111) does with it, so that prompts that are passed
around give what they gave to others:

- Tokens are laid into chunks of 75, each with its own start and end, and encoded chunk by chunk; the results lie one after
  the other. A chunk that is full ends after its last comma where that is among its last 20 tokens.
- The hidden states of a token are multiplied by its weight, and then all states of the chunk by one factor that gives
  them their mean back. A chunk in which every weight is 1 is left exactly as the encoder made it.
- `clip_skip` counts layers from the end, 1 = the last; the final norm is applied to whichever is taken where the denoiser
  was trained so (SDXL was not).
- The prompt as a whole is that of its first chunk; weights do not touch it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...protocol.errors import BadRequest
from ..conditioning import Conditioning
from ..embeddings import split_words
from ..prompts import Fragment, Prompt

_NEAR = 20  # tokens
_NO_MEAN = 1e-3  # of the spread: below, a mean is rounding, as with an encoder whose final norm has no bias


class Token(NamedTuple):
    """`vector` (width,) stands in for the token's own embedding where a textual inversion gives one."""

    id: int
    weight: float
    vector: Tensor | None = None


class ClipText:
    """A text encoder as one kind of denoiser uses it.

    encoder  a CLIPTextModel, or a CLIPTextModelWithProjection where the prompt as a whole is asked for
    device   that it runs on
    layer    the layer that the denoiser was trained on, counted from the end of the encoder as it was trained
    cut      how many of its last layers the encoder here has not
    normed   whether the final norm is applied to the layer
    """

    def __init__(
        self, encoder: Any, tokenizer: Any, device: torch.device, layer: int = 1, cut: int = 0, normed: bool = True
    ) -> None:
        self._encoder, self._tokenizer, self._device = encoder, tokenizer, device
        self._layer, self._cut, self._normed = layer, cut, normed

    def fits(self, vectors: Tensor) -> bool:
        """Whether a textual inversion's (n, width) vectors are made for an encoder of this width."""
        return bool(vectors.shape[1] == self._encoder.config.hidden_size)

    @torch.no_grad()
    def encode(self, prompt: Prompt, clip_skip: int, embeddings: Mapping[str, Tensor]) -> Conditioning:
        """Hidden states (1, chunks * tokens of a chunk, width), and the prompt as a whole where the encoder gives it.

        embeddings  the words of the prompt that are textual inversions -> their (n, width) vectors, which fit

        Raises BadRequest (fewer layers than are to be skipped, a textual inversion that is longer than a chunk).
        """
        layers = self._encoder.config.num_hidden_layers + self._cut
        if clip_skip > layers:
            raise BadRequest(f"This model's text encoder has only {layers} layers.", "Choose a smaller clip skip.")
        layer = max(clip_skip, self._layer) - self._cut
        size = self._encoder.config.max_position_embeddings - 2
        comma = self._tokenizer.convert_tokens_to_ids(",</w>")
        for name, vectors in embeddings.items():
            if len(vectors) > size:
                raise BadRequest(f"The embedding {name} is longer than {size} tokens.", "Take it out of the prompt.")
        chunks = []
        for section in prompt.sections:
            units = (unit for words in section for unit in self._units(words, embeddings))
            chunks += chunked(units, size, comma)
        first, *rest = [self._encode(chunk, size, layer) for chunk in chunks]
        return reduce(Conditioning.followed_by, rest, first)

    def _units(self, fragment: Fragment, embeddings: Mapping[str, Tensor]) -> Iterator[list[Token]]:
        """Tokens, those together that must not be torn apart."""
        place = self._tokenizer.bos_token_id  # never the end: there the whole is read off
        for words, name in split_words(fragment.text, embeddings):
            if name is None:
                # Special tokens are words like others: of OpenCLIP's encoders the padding is called "!", which in training
                # a prompt's exclamation marks were not.
                ids = self._tokenizer(words, add_special_tokens=False, split_special_tokens=True).input_ids
                for token in ids:
                    yield [Token(token, fragment.weight)]
            else:
                yield [Token(place, fragment.weight, vector) for vector in embeddings[name]]

    def _encode(self, chunk: Sequence[Token], size: int, layer: int) -> Conditioning:
        """At most `size` tokens as size + 2 hidden states."""
        tokenizer, device = self._tokenizer, self._device
        padding = size - len(chunk)
        ids = [
            tokenizer.bos_token_id,
            *(token.id for token in chunk),
            tokenizer.eos_token_id,
            *[tokenizer.pad_token_id] * padding,
        ]
        vectors = {place: token.vector for place, token in enumerate(chunk, start=1) if token.vector is not None}
        with _in_place(self._encoder.get_input_embeddings(), vectors):
            output = self._encoder(
                torch.tensor([ids], device=device),
                output_hidden_states=layer > 1 or not self._normed,
            )
        states: Tensor = output.last_hidden_state
        if not self._normed:
            states = output.hidden_states[-layer]
        elif layer > 1:
            states = self._encoder.final_layer_norm(output.hidden_states[-layer])
        weights = [1.0, *(token.weight for token in chunk), *[1.0] * (padding + 1)]
        if set(weights) != {1.0}:
            states = emphasised(states, torch.tensor([weights], device=device))
        return Conditioning(states, output.get("text_embeds"))


def chunked(units: Iterable[Sequence[Token]], size: int, comma: int) -> list[list[Token]]:
    """Chunks (at least one) of at most `size` tokens; no unit is longer than that, and none is torn apart."""
    chunks: list[list[Token]] = [[]]
    after_comma = 0
    for unit in units:
        if len(chunks[-1]) + len(unit) > size:
            full = chunks.pop()
            end = after_comma if after_comma >= max(len(full) - _NEAR, 1) else len(full)
            chunks += [full[:end], full[end:]]
            after_comma = 0
            if len(chunks[-1]) + len(unit) > size:
                chunks.append([])
        chunks[-1] += unit
        if unit[-1].id == comma:
            after_comma = len(chunks[-1])
    return chunks


def emphasised(states: Tensor, weights: Tensor) -> Tensor:
    """(b, n, width) hidden states, each of the n tokens of a chunk times its weight (b, n), those of a chunk all together
    with the mean that they had.

    Where there is no mean to speak of, or the weights take it away or turn its sign, they are only weighted.
    """
    before = states.float()
    after = before * weights[..., None]
    (mean, now), spread = (
        (each.mean((1, 2), keepdim=True) for each in (before, after)),
        before.std((1, 2), keepdim=True),
    )
    has_mean = torch.minimum(mean.abs(), mean.sign() * now) > _NO_MEAN * spread
    return (after * torch.where(has_mean, mean / now, 1.0)).to(states.dtype)


@contextlib.contextmanager
def _in_place(table: torch.nn.Module, vectors: Mapping[int, Tensor]) -> Iterator[None]:
    """Within, what the table gives for the tokens at these places is replaced by the vectors."""

    def replace(module: Any, arguments: Any, output: Tensor) -> Tensor:
        output = output.clone()
        for place, vector in vectors.items():
            output[:, place] = vector.to(output)
        return output

    handle = table.register_forward_hook(replace) if vectors else contextlib.nullcontext()
    with handle:
        yield
