"""What a denoiser is told beside its latents: the prompt, and what control networks see. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """Prompts as a denoiser takes them in. All of a batch have equally many tokens.

    tokens    (n, tokens, width): what it attends to; a prompt in several chunks has them one after the other
    pooled    (n, width): the prompt as a whole, for architectures that ask for it (SDXL); else None
    guidance  for denoisers that are told it (`Model.told_guidance`); else None
    said      (n, tokens): whether a token counts, for architectures that see no padding; else None
    references  (n, pictures, tokens, width) of each IP-Adapter in use, which it attends to beside the tokens
    """

    tokens: Tensor
    pooled: Tensor | None = None
    guidance: float | None = None
    said: Tensor | None = None
    references: tuple[Tensor, ...] = ()

    def followed_by(self, other: Conditioning) -> Conditioning:
        """The same prompts with further tokens; the whole stays that of the first chunk."""
        return replace(self, tokens=torch.cat([self.tokens, other.tokens], dim=1))

    def zeroed(self) -> Conditioning:
        """As many tokens that are all 0."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled)
        return replace(self, tokens=torch.zeros_like(self.tokens), pooled=pooled)


def batch(parts: Sequence[Conditioning]) -> Conditioning:
    """Prompts of equally many tokens, and of one guidance, as one batch, in this order."""
    pooled = [part.pooled for part in parts if part.pooled is not None]
    said = [part.said for part in parts if part.said is not None]
    return Conditioning(
        tokens=torch.cat([part.tokens for part in parts]),
        pooled=torch.cat(pooled) if pooled else None,
        guidance=parts[0].guidance,
        said=torch.cat(said) if said else None,
        references=tuple(torch.cat(each) for each in zip(*(part.references for part in parts), strict=True)),
    )


@dataclass(frozen=True)
class Residuals:
    """What control networks add inside a UNet, already weighted and summed over the networks.

    down  one tensor (n, c, h, w) for each skip connection, in the order in which the UNet makes them (the first is that
          of its first convolution)
    mid   (n, c, h, w), added to what its middle block gives
    """

    down: tuple[Tensor, ...]
    mid: Tensor
