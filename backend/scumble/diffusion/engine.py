"""A diffusion model at work on a plan."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..editing.adapters import Adapter, by_id, by_name
from ..editing.controls import control_image
from ..editing.plan import Pixels, Plan, Report, Traits
from ..home import Home
from ..protocol.errors import Internal
from ..protocol.geometry import MAX_SIDE, Bounds, Size
from .adapters import Loras
from .conditioning import Conditioning
from .controls import ControlNets, Guide
from .depth import estimate_depth
from .device import choose_device
from .embeddings import Embedding, find_embeddings, read_embedding
from .families import find_family
from .families.base import Family, Identity, Model
from .families.variants import hastened
from .latents import pixels
from .memory import Memory, autoencoder_area, batch_size, memory_errors, read_memory, release
from .picture import Pictures, seed_of, texts_of
from .piecewise import piecewise, tiles_for
from .prompts import BLANK, Prompt, parse
from .recent import Recent
from .references import Glance, References
from .stopping import stoppable
from .tiny import find_tiny
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
    """Implements editing.plan.Engine. On a CPU, where a batch gains nothing, pictures are made one by one, and each is the
    same whatever the count. A GPU makes several at once where its memory is large enough; each is then the same to the
    rounding of its format, as GPUs add up in another order in a batch of another size."""

    def __init__(self, model: Model, family: Family, home: Home | None = None, memory: Memory | None = None) -> None:
        """`home`: where wildcards, textual inversions and a tiny autoencoder are; without it there are none. `memory`: of
        the device, where it is not to be asked."""
        self.model = model
        self.family = family
        self._lists = read_lists(home.wildcards if home else None)
        self._embeddings = home.embeddings if home else None
        self._loras = Loras(model.parts, model.device, model.lora_tensors)
        self._controls = ControlNets(model)
        self.references = References(model)
        self._prompts: Recent[tuple[Any, ...], Conditioning] = Recent(32)
        self._latents: Recent[tuple[bytes, int], Tensor] = Recent(16)
        self._depths: Recent[bytes, Pixels] = Recent(8)
        self.tiny = find_tiny(home.models, family.name, model) if home else None
        self._memory = memory or read_memory(model.device)
        self._thrifty = False
        model.residents.settle(self._memory)

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

    @property
    def bytes(self) -> int:
        held: int = self.model.residents.bytes
        return held + self.beside

    @property
    def beside(self) -> int:
        """What of it are LoRAs and references."""
        return self._loras.bytes + self.references.bytes

    def free(self) -> int:
        with memory_errors():
            release(self.model.device)
            return read_memory(self.model.device).free

    def generate(self, plan: Plan, report: Report, thrifty: bool = False) -> list[Pixels]:
        """request.count pictures of (H, W, 3), of the size of the plan's last pass; picture i is that of seed + i alone.

        Outside the mask they show what the model made of the surroundings, so that the compositor can measure how far its
        colours are off. Thrifty: one picture at a time, with and without the prompt one after the other, the autoencoder in
        windows, and of the model no more on the device than is at work. Raises OutOfMemory, Cancelled, BadRequest (unknown
        sampler, ...), ModelMissing (a LoRA that is not there), Internal (not a number).
        """
        self._thrifty = thrifty
        self.model.residents.alone(thrifty)
        if thrifty:
            self._latents = Recent(16)
            self._controls = ControlNets(self.model)  # those that this plan needs come back
            self.references = References(self.model)
            release(self.model.device)
        count, most = plan.request.count, self._at_once(plan)
        with torch.inference_mode(), memory_errors(), stoppable(torch.device(self.model.device), report.check):
            pictures: list[Pixels] = []
            for first in range(0, count, most):
                indices = range(first, min(first + most, count))
                pictures += Pictures(self, plan, indices, report, apart=thrifty).paint()
        return pictures

    def _at_once(self, plan: Plan) -> int:
        """How many pictures are denoised together: one where its wildcards draw each another prompt."""
        request, kind = plan.request, torch.device(self.model.device).type
        seeds = [seed_of(request, index) for index in range(request.count)]
        prompts = {tuple(self.read_prompt(text, key) for text, key in texts_of(request, seed)) for seed in seeds}
        if self._thrifty or len(prompts) > 1:
            return 1
        tile, scale = max(plan.tiles, key=lambda tile: tile.area), self.model.scale
        # With and without the prompt.
        shape = torch.Size((2, self.model.latent_channels, tile.height // scale, tile.width // scale))
        return batch_size(request.count, self.model.denoising(shape), self._memory, kind)

    def read_prompt(self, text: str, seed: str) -> Prompt:
        """What a prompt says once its wildcards are drawn."""
        return parse(draw(text, Random(seed), self._lists))  # noqa: S311 - no secret

    def use_loras(self, plan: Plan, prompt: Prompt) -> None:
        """Puts those of the request and of its prompt onto the model, and takes all others off.

        Raises ModelMissing, BadRequest (made for another kind of model), ModelUnreadable.
        """
        family = self.family.name
        chosen = [(by_id(plan.adapters, "lora", use.id, family), use.weight) for use in plan.request.loras]
        named = [(by_name(plan.adapters, "lora", lora.name, family), lora) for lora in prompt.loras]
        self._loras.use(
            [*chosen, *((adapter, lora.weight) for adapter, lora in named)],
            [*chosen, *((adapter, lora.text) for adapter, lora in named)],
        )

    @property
    def scheduler_config(self) -> Mapping[str, Any]:
        """The model's; with a LoRA that makes it paint in few steps, these are counted from the noisiest, which it was
        distilled to see."""
        uses = self._loras.active
        hasty = any(hastened(use.adapter.info.name, use.weight, 1.0, self.family.name) for use in uses)
        return {**self.model.scheduler_config, **({"timestep_spacing": "trailing"} if hasty else {})}

    def use_references(self, plan: Plan) -> AbstractContextManager[list[Glance]]:
        """Has the model attend to the request's references in this context. Raises as `use_loras`."""
        family = self.family.name
        wanted = [
            (reference, by_id(plan.adapters, "reference", reference.id, family), picture)
            for reference, picture in zip(plan.request.references, plan.references, strict=True)
        ]
        return self.references.use(wanted, plan.adapters)

    def guides(self, plan: Plan, size: Size) -> list[Guide]:
        """The request's controls for a pass at this size. Raises as `use_loras`."""
        family = self.family.name
        return [
            self._controls.guide(
                control,
                by_id(plan.adapters, "control", control.id, family),
                control_image(control, sent, plan.crop, size, {"depth": partial(self._depth, plan)}),
            )
            for control, sent in zip(plan.request.controls, plan.controls, strict=True)
            if control.weight > 0
        ]

    def _depth(self, plan: Plan, image: Pixels) -> Pixels:
        key = hashlib.blake2b(image.tobytes(), key=repr(image.shape).encode()).digest()
        return self._depths.get(key, lambda: estimate_depth(image, plan.adapters))

    def encode_prompts(
        self, prompts: Sequence[Prompt], clip_skip: int = 1, adapters: Sequence[Adapter] = ()
    ) -> list[Conditioning]:
        """Each on its own, with the textual inversions that there are; the shorter ones go on with chunks that say nothing,
        so that all are equally long and can be denoised as one batch."""
        encoded = [self._encode_prompt(prompt, clip_skip, adapters) for prompt in prompts]
        length = max(each.tokens.shape[1] for each in encoded)
        # What conditions nothing (with SDXL no encoded text but zeros) goes on as it is.
        fillers = [BLANK if any(prompt.sections) else prompt for prompt in prompts]
        return [self._prolonged(each, filler, length, clip_skip) for each, filler in zip(encoded, fillers, strict=True)]

    def _encode_prompt(self, prompt: Prompt, clip_skip: int, adapters: Sequence[Adapter] = ()) -> Conditioning:
        used: tuple[Embedding, ...] = ()
        if "embeddings" in self.family.capabilities:
            loras = [use.adapter.path for use in self._loras.active]
            used = find_embeddings(self._embeddings, prompt, adapters, self.family.name, loras)

        def encode() -> Conditioning:
            embeddings = {each.word: read_embedding(each.path, each.within) for each in used}
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
        size, scale = Size(image.shape[1], image.shape[0]), self.model.scale
        key = hashlib.blake2b(image.tobytes(), key=repr(image.shape).encode()).digest()

        def encode() -> Tensor:
            tiles = [(tile, _divided(tile, scale)) for tile in tiles_for(size, self._most(), self.traits)]
            small = Size(size.width // scale, size.height // scale)
            pieces = piecewise(lambda part: self.model.encode_image(part)[0], self._tensor(image), tiles, small)
            return pieces.to(self.model.device)

        return self._latents.get((key, self._most()), encode)

    def decode(self, latents: Tensor) -> Pixels:
        """The (h, w, 3) picture of (1, c, h / scale, w / scale) latents.

        Raises Internal where the numbers have left the range of the model's format.
        """
        scale = self.model.scale
        size = Size(latents.shape[3] * scale, latents.shape[2] * scale)
        tiles = [(_divided(tile, scale), tile) for tile in tiles_for(size, self._most(), self.traits)]
        image = piecewise(self.model.decode_latents, latents.to(self.model.dtype), tiles, size)
        if not image.isfinite().all():
            raise Internal(
                "The model's numbers ran out of range, so there is no picture.",
                "Try a lower guidance or another sampler; if that does not help, another model.",
            )
        return pixels(image)

    def _most(self) -> int:
        """Px that the autoencoder is given at once."""
        native, dtype = self.model.identity.native, self.model.dtype
        # One that leaves the range of float16 goes on in float32 (`modules.in_range`).
        item = 4 if dtype == torch.float16 else dtype.itemsize
        most = autoencoder_area(self._memory, item, native, self.model.residents.moves)
        return min(max(most // 2, (native // 2) ** 2), native**2) if self._thrifty else most

    def _tensor(self, image: Pixels) -> Tensor:
        tensor = torch.from_numpy(np.array(image)).to(self.model.device).permute(2, 0, 1)[None]
        return (tensor.float() / 127.5 - 1).to(self.model.dtype)


def _divided(bounds: Bounds, by: int) -> Bounds:
    return Bounds(*(value // by for value in bounds))
