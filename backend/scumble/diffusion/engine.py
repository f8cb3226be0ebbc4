"""A diffusion model at work on a plan."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..editing.adapters import by_id, by_name
from ..editing.controls import control_image
from ..editing.plan import Pixels, Plan, Report, Traits
from ..home import Home
from ..protocol.errors import Internal
from ..protocol.geometry import Size
from ..protocol.messages import MAX_SIDE
from .adapters import Loras
from .conditioning import Conditioning
from .controls import ControlNets, Guide
from .device import choose_device
from .embeddings import find_embeddings, read_embedding
from .families import find_family
from .families.base import Family, Identity, Model
from .latents import pixels
from .memory import memory_errors
from .picture import Picture
from .prompts import BLANK, Prompt, parse
from .recent import Recent
from .wildcards import draw, read_lists

REFINE_AREA = {"cpu": 4, "gpu": 16}
"""Native areas that a second pass works over at most: two, or four times the native side. Beyond, it is a matter of minutes
(of an hour on a CPU), and one of upscaling."""


def load_engine(path: Path, identity: Identity, home: Home) -> DiffusionEngine:
    """The model at `path`, on this machine's best device. Raises ModelUnreadable, OutOfMemory."""
    family = find_family(identity.family)
    with memory_errors():
        return DiffusionEngine(family.load(path, identity, choose_device(), home.cache), family, home)


class DiffusionEngine:
    """Implements editing.plan.Engine. Pictures are made one by one: a batch gains nothing on a CPU, and each picture is
    then the same whatever the count."""

    def __init__(self, model: Model, family: Family, home: Home | None = None) -> None:
        """`home`: where wildcards and textual inversions are; without it there are none."""
        self.model = model
        self.family = family
        self._lists = read_lists(home.wildcards if home else None)
        self._embeddings = home.embeddings if home else None
        self._loras = Loras(model.parts)
        self._controls = ControlNets(model)
        self._prompts: Recent[tuple[Any, ...], Conditioning] = Recent(32)
        self._latents: Recent[bytes, Tensor] = Recent(16)

    @property
    def traits(self) -> Traits:
        native = self.model.identity.native
        # Half as large again as in training keeps one composition (768 x 512 for 512); a GPU is quick enough for more.
        kind = "cpu" if torch.device(self.model.device).type == "cpu" else "gpu"
        share = 1.5 if kind == "cpu" else 2.25
        return Traits(
            native=native,
            multiple=self.family.multiple,
            max_area=int(native**2 * share),
            prompt=True,
            reach=MAX_SIDE,  # a prompt needs no surroundings
            refine_area=REFINE_AREA[kind] * native**2,
        )

    def generate(self, plan: Plan, report: Report) -> list[Pixels]:
        """request.count pictures of (H, W, 3), of the size of the plan's last pass; picture i is that of seed + i alone.

        Outside the mask they show what the model made of the surroundings, so that the compositor can measure how far its
        colours are off. Raises OutOfMemory, Cancelled, BadRequest (unknown sampler, ...), ModelMissing (a LoRA that is not
        there), Internal (not a number).
        """
        with torch.inference_mode(), memory_errors():
            return [Picture(self, plan, index, report).paint() for index in range(plan.request.count)]

    def read_prompt(self, text: str, seed: str) -> Prompt:
        """What a prompt says once its wildcards are drawn."""
        return parse(draw(text, Random(seed), self._lists))  # noqa: S311 - no secret

    def use_loras(self, plan: Plan, prompt: Prompt) -> None:
        """Puts those of the request and of its prompt onto the model, and takes all others off.

        Raises ModelMissing, BadRequest (made for another kind of model), ModelUnreadable.
        """
        family = self.family.name
        chosen = [(by_id(plan.adapters, "lora", use.id, family), use.weight) for use in plan.request.loras]
        named = [(by_name(plan.adapters, "lora", lora.name, family), lora.weight) for lora in prompt.loras]
        self._loras.use([*chosen, *named])

    def guides(self, plan: Plan, size: Size) -> list[Guide]:
        """The request's controls for a pass at this size. Raises as `use_loras`."""
        family = self.family.name
        return [
            self._controls.guide(
                control,
                by_id(plan.adapters, "control", control.id, family),
                control_image(control, sent, plan.crop, size),
            )
            for control, sent in zip(plan.request.controls, plan.controls, strict=True)
            if control.weight > 0
        ]

    def encode_prompts(self, prompts: Sequence[Prompt], clip_skip: int = 1) -> list[Conditioning]:
        """Each on its own; the shorter ones go on with chunks that say nothing, so that all are
        equally long and can be denoised as one batch."""
        encoded = [self._encode_prompt(prompt, clip_skip) for prompt in prompts]
        length = max(each.tokens.shape[1] for each in encoded)
        # What conditions nothing (with SDXL no encoded text but zeros) goes on as it is.
        fillers = [BLANK if any(prompt.sections) else prompt for prompt in prompts]
        return [self._prolonged(each, filler, length, clip_skip) for each, filler in zip(encoded, fillers, strict=True)]

    def _encode_prompt(self, prompt: Prompt, clip_skip: int) -> Conditioning:
        used = find_embeddings(self._embeddings, prompt)

        def encode() -> Conditioning:
            embeddings = {embedding.word: read_embedding(embedding.path) for embedding in used}
            return self.model.encode_prompt(prompt, clip_skip, embeddings)

        return self._prompts.get((prompt, clip_skip, used, self._loras.active), encode)

    def _prolonged(self, conditioning: Conditioning, filler: Prompt, length: int, clip_skip: int) -> Conditioning:
        while conditioning.tokens.shape[1] < length:
            conditioning = conditioning.followed_by(self._encode_prompt(filler, clip_skip))
        return conditioning

    def encode(self, image: Pixels) -> Tensor:
        """(1, c, h / scale, w / scale) float32 latents of the (h, w, 3) image: the mean of what the autoencoder gives.

        The pipelines of diffusers draw from around that mean instead; a draw is further from the picture, and would be
        another one for each seed.
        """
        key = hashlib.blake2b(image.tobytes(), key=repr(image.shape).encode()).digest()
        return self._latents.get(key, lambda: self.model.encode_image(self._tensor(image))[0].float())

    def decode(self, latents: Tensor) -> Pixels:
        """The (h, w, 3) picture. Raises Internal where the numbers have left the range of the model's format."""
        image = self.model.decode_latents(latents.to(self.model.dtype)).float()
        if not image.isfinite().all():
            raise Internal(
                "The model's numbers ran out of range, so there is no picture.",
                "Try a lower guidance or another sampler; if that does not help, another model.",
            )
        return pixels(image)

    def _tensor(self, image: Pixels) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(image)).to(self.model.device).permute(2, 0, 1)[None]
        return (tensor.float() / 127.5 - 1).to(self.model.dtype)
