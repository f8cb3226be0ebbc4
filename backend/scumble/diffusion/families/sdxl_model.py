"""A loaded SDXL model. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...protocol.errors import ModelUnreadable
from ..conditioning import Conditioning
from ..prompts import Prompt
from ..recent import Recent
from .base import NO_EMBEDDINGS
from .clip import ClipText
from .unet_model import Colours, UNetModel


class SdxlModel(UNetModel):
    """See base.Model. Both text encoders read the prompt; their states lie side by side, token by token."""

    encoders = ("text_encoder", "text_encoder_2")
    # A quarter of all its weights, and what they said of a prompt is remembered.
    brief = encoders
    pads = ("<|endoftext|>", "!")
    colours: ClassVar[Colours] = (
        ((0.349, 0.422, 0.410), (-0.233, 0.014, 0.112), (0.121, 0.150, -0.085), (-0.320, -0.209, -0.207)),
        (0.132, -0.027, -0.087),
    )
    """The one with the least squared error on photographs encoded with the tiny autoencoder of SDXL (error 0.20, spread of
    the colours 0.53)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        _, _, modules, tokenizers, configs = arguments
        self._text_encoder_2, self._tokenizer_2 = modules["text_encoder_2"], tokenizers[1]
        self._text_2 = ClipText(self._text_encoder_2, self._tokenizer_2, self.device, layer=2, normed=False)
        self._sizes: Recent[tuple[int, int], Tensor] = Recent(8)
        # Where a file does not say otherwise: SDXL was trained so.
        self._zeros = configs.get("model_index", {}).get("force_zeros_for_empty_prompt", True)

    def _make_text(self) -> ClipText:
        return ClipText(self._text_encoder, self._tokenizer, self.device, layer=2, normed=False)

    def encode_prompt(
        self, prompt: Prompt, clip_skip: int = 1, embeddings: Mapping[str, Mapping[str, Tensor]] = NO_EMBEDDINGS
    ) -> Conditioning:
        pairs = {word: pair for word, tensors in embeddings.items() if (pair := self._pair(word, tensors))}
        self.residents.bring(self._text_encoder)
        first = self._text.encode(prompt, clip_skip, {word: pair[0] for word, pair in pairs.items()})
        self.residents.bring(self._text_encoder_2)
        second = self._text_2.encode(prompt, clip_skip, {word: pair[1] for word, pair in pairs.items()})
        both = Conditioning(torch.cat([first.tokens, second.tokens], dim=2), second.pooled)
        return both.zeroed() if self._zeros and not any(prompt.sections) else both

    def _pair(self, word: str, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
        """A textual inversion's vectors for each of the text encoders; None where it is made for another kind of model."""
        if set(tensors) != {"clip_l", "clip_g"}:
            return None
        first, second = tensors["clip_l"], tensors["clip_g"]
        if len(first) != len(second):
            raise ModelUnreadable(f"The embedding {word} is damaged.", "Take it out of the prompt, or get it again.")
        return (first, second) if self._text.fits(first) and self._text_2.fits(second) else None

    def told(self, latents: Tensor, conditioning: Conditioning) -> Mapping[str, Any]:
        height, width = (side * self.scale for side in latents.shape[-2:])
        # The size before and after the crop that the picture would be in training, and where the crop began. Remembered,
        # as a GPU stops for what is sent to it.
        sizes = self._sizes.get(
            (height, width), lambda: torch.tensor([[height, width, 0, 0, height, width]]).to(self.device, torch.float32)
        )
        added = {"text_embeds": conditioning.pooled, "time_ids": sizes.expand(len(latents), -1)}
        return {**super().told(latents, conditioning), "added_cond_kwargs": added}
