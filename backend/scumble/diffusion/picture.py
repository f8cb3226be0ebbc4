"""Pictures of a plan in the making: encode, denoise, decode, in one pass or two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..editing.compositor import cuts_out
from ..editing.passes import OVERLAP, enlarged
from ..editing.plan import Pixels, Plan, Refinement, Report
from ..protocol.errors import BadRequest
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import MAX_SEED, EditRequest
from .blend import Part, blended, faded
from .controls import Controlled, Guide, controlled
from .denoise import Held, Predict, denoise, guided, noised, pure_noise
from .latents import inpaint_condition, latent_mask, pixels
from .prompts import Prompt
from .references import Glance
from .samplers import divided, make_schedule

if TYPE_CHECKING:
    from .engine import DiffusionEngine

PLAIN = "\non a plain white background"
"""What prompts that say nothing of their background go on with, where that is to be cut away; after a comment too."""
PREVIEW = 1.5
"""Times the native side: longer sides are shrunk before a preview is made of them, as decoding all would take too long."""


@dataclass(frozen=True)
class Pass:
    """image (H, W, 3) what it starts from; mask (H, W), 255 = change; tiles: windows in px; strength 0..1."""

    image: Pixels
    mask: Pixels
    tiles: tuple[Bounds, ...]
    strength: float


class Share(NamedTuple):
    """tile (px of the pass) and window (px of its latents) in which a prompt counts: 0 = the request's, 1 = that of its
    first region, ...; share (1, 1, h, w): how much"""

    tile: Bounds
    window: Bounds
    prompt: int
    share: Tensor


class Pictures:
    """Pictures `indices` of a plan, those of seeds so many further, denoised together. They have one prompt."""

    def __init__(
        self, engine: DiffusionEngine, plan: Plan, indices: range, report: Report, apart: bool = False
    ) -> None:
        """`apart`: see denoise.guided."""
        self.engine, self.model, self.plan, self.report = engine, engine.model, plan, report
        request, defaults = plan.request, engine.model.identity.suits or engine.family.defaults
        self.steps = request.steps or defaults.steps
        self.guidance = defaults.guidance if request.guidance is None else request.guidance
        self.sampler = request.sampler or defaults.sampler
        self.apart, self._together = apart, len(indices)
        self.glances: list[Glance] = []
        seeds = [seed_of(request, index) for index in indices]
        self.texts = texts_of(request, seeds[0])
        self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        strength = 1.0 if request.mode == "txt2img" else request.strength
        self.first = Pass(plan.work_image, plan.work_mask, plan.tiles, strength)
        # Progress counts what is predicted, part by part, in all pictures: each takes about as long.
        calls = self._calls(self.first)
        if plan.refinement:
            calls += self._calls(plan.refinement)
        self.done, self.total = indices.start * calls, request.count * calls

    def _calls(self, work: Pass | Refinement) -> int:
        return divided(self.steps, work.strength)[0] * len(self._shares(work))

    def paint(self) -> list[Pixels]:
        """(H, W, 3) each, of the size of the plan's last pass."""
        last = self.plan.refinement or self.first
        # Windows are decoded one after the other, and a step is one of them.
        self.report("encoding", times=last.mask.size / max(tile.area for tile in last.tiles))
        self.engine.use_loras(self.plan, self.engine.read_prompt(*self.texts[0]))
        with self.engine.use_references(self.plan) as self.glances:
            self.model.residents.beside = self.engine.beside
            composed = list(torch.split(self._denoised(self.first, self.generators), 1))
            if self.plan.refinement:
                composed = [
                    self._refined(self.plan.refinement, *each) for each in zip(composed, self.generators, strict=True)
                ]
        pictures = []
        for latents in composed:
            self.report("decoding")
            pictures.append(self.engine.decode(latents))
        return pictures

    def _refined(self, second: Refinement, composed: Tensor, generator: torch.Generator) -> Tensor:
        """The second pass, of one picture: it starts from what the first one made of it."""
        self.report("encoding")
        start = enlarged(second, self.engine.decode(composed), self.plan.request.membrane)
        return self._denoised(Pass(start, second.mask, second.tiles, second.strength), [generator])

    def _denoised(self, work: Pass, generators: Sequence[torch.Generator]) -> Tensor:
        """(n, c, h, w) finished latents of a pass."""
        model = self.model
        height, width = work.mask.shape
        seen = max(work.tiles, key=lambda tile: tile.area)
        shift = model.time_shift(seen.height // model.scale, seen.width // model.scale, self.steps)
        schedule = make_schedule(self.sampler, self.engine.scheduler_config, self.steps, work.strength, shift)
        predict = self._predict(work, self.engine.guides(self.plan, Size(width, height)), schedule.timesteps)
        shape = (1, model.latent_channels, height // model.scale, width // model.scale)
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(model.device)
        start = (
            pure_noise(schedule, noise) if self._from_nothing(work) else noised(schedule, self._original(work), noise)
        )
        held = self._held(work, noise)
        undivided, self._together = is_whole(self._shares(work), work), len(generators)

        def on_step(step: int, steps: int, estimate: Callable[[], Tensor]) -> None:
            self.done += self._together if undivided else 0
            self.report("denoising", self.done, self.total, lambda: self._preview(estimate()[:1]))

        self.report("denoising", self.done, self.total)
        # Alone a generator goes alone: schedulers draw for a list of them picture by picture.
        return denoise(predict, schedule, start, held, generators if len(generators) > 1 else generators[0], on_step)

    def _from_nothing(self, work: Pass) -> bool:
        """Whether the start is noise alone, as with diffusers at full strength, or the picture under as much noise.

        At its noisiest step Stable Diffusion 1.x still sees 7 % of a picture (Lin et al. 2024, Common Diffusion Noise
        Schedules and Sample Steps Are Flawed), and takes from it how bright and of what tint all is. So where a plain
        denoiser fills a mask it starts from the prefill, which has the tint of the surroundings, and not from mid-grey.
        Inpaint denoisers are told their surroundings, and start as they do elsewhere, as plain ones where there are none.
        """
        alone = self.plan.request.mask is None or not self.plan.known.any()
        return work.strength == 1 and (self.model.identity.inpaint or alone)

    def _original(self, work: Pass) -> Tensor:
        return self.engine.encode(work.image)

    def _tells_surroundings(self, work: Pass) -> bool:
        """Whether an inpaint denoiser is told what surrounds the hole. At a low strength it keeps what lies in the hole
        only when it works as a plain denoiser does: told that all is a hole, as in a quarter of its training (model card
        of runwayml/stable-diffusion-inpainting), and held outside the mask."""
        return self.model.identity.inpaint and work.strength > self.engine.family.defaults.inpaint_above

    def _held(self, work: Pass, noise: Tensor) -> Held | None:
        mask = latent_mask(work.mask, self.model.scale).to(self.model.device)
        if self._tells_surroundings(work):
            # Its conditioning tells it what to keep; only pixels that are to change in part are held.
            mask = torch.where(mask > 0, mask, 1.0)
        return Held(self._original(work), noise, mask) if mask.min() < 1 else None

    def _shares(self, work: Pass | Refinement) -> list[Share]:
        """What is predicted on its own in each step: each prompt in each window in which it counts."""
        size = Size(work.mask.shape[1] // self.model.scale, work.mask.shape[0] // self.model.scale)
        fade = self.model.identity.native // OVERLAP // self.model.scale
        masks = prompt_masks(self.plan.regions, size)
        shares = []
        for tile in work.tiles:
            window = Bounds(*(value // self.model.scale for value in tile))
            seen = [mask[(..., *window.slices())] * faded(window, size, fade) for mask in masks]
            shares += [Share(tile, window, index, share) for index, share in enumerate(seen) if share.any()]
        return shares

    def _predict(self, work: Pass, guides: Sequence[Guide], timesteps: Tensor) -> Predict:
        """The denoiser for the whole picture: all that is predicted on its own, as one."""
        parts, shares = [], self._shares(work)
        for tile, window, index, share in shares:
            seen = [guide.seen_through(tile) for guide in guides]
            control = controlled(self.model, seen, timesteps) if seen else None
            parts.append(Part(window, share.to(self.model.device), self._guided(work, tile, index, control)))
        predict = parts[0].predict if is_whole(shares, work) else blended(parts, self._pulse)
        return self.engine.references.counted(predict, self.glances, timesteps) if self.glances else predict

    def _guided(self, work: Pass, tile: Bounds, index: int, control: Controlled | None) -> Predict:
        """The denoiser for what is seen through one window, for the request's prompt (index 0) or that of a region."""
        request, engine = self.plan.request, self.engine
        everywhere, without, *regions = self.texts
        positive = negative = engine.read_prompt(*everywhere)
        if index > 0:
            positive = negative = _without_loras(engine.read_prompt(*regions[index - 1]))
        if self.guidance > 1 and not self.model.told_guidance:
            negative = _without_loras(engine.read_prompt(*without))
        encoded = engine.encode_prompts((positive, negative), request.clip_skip, self.plan.adapters)
        encoded[0] = replace(encoded[0], references=tuple(glance.seen for glance in self.glances))
        encoded[1] = replace(encoded[1], references=tuple(glance.nothing for glance in self.glances))
        condition = self._condition(work, tile)
        if self.model.told_guidance:
            told = replace(encoded[0], guidance=self.guidance)
            return guided(self.model, told, told, 1.0, condition, control)
        return guided(self.model, encoded[0], encoded[1], self.guidance, condition, control, self.apart)

    def _condition(self, work: Pass, tile: Bounds) -> Tensor | None:
        """(1, 5, h, w) mask and masked image for an inpaint denoiser, else None."""
        if not self.model.identity.inpaint:
            return None
        part = tile.slices()
        mask = work.mask[part] if self._tells_surroundings(work) else np.full_like(work.mask[part], 255)
        hole, visible = inpaint_condition(work.image[part], mask)
        places = latent_mask(hole, self.model.scale).to(self.model.device)
        return torch.cat([places, self.engine.encode(visible)], dim=1)

    def _preview(self, estimate: Tensor) -> Pixels:
        most = int(PREVIEW * self.model.identity.native / self.model.scale)
        longest = max(estimate.shape[2:])
        if longest > most:
            # A narrow strip keeps something to show.
            smaller = [max(side * most // longest, 1) for side in estimate.shape[2:]]
            estimate = F.interpolate(estimate, smaller, mode="area")
        show = self.engine.tiny or self.model.preview
        return pixels(show(estimate.to(self.model.dtype)).float())

    def _pulse(self) -> None:
        """After each part: a cancel must not wait for the whole step (C5)."""
        self.done += self._together
        self.report("denoising", self.done, self.total)


def is_whole(shares: Sequence[Share], work: Pass) -> bool:
    """Whether all of a pass is predicted at once: by one prompt, in one window that is not smaller than the picture."""
    return len(shares) == 1 and shares[0].tile.size == work.mask.shape[::-1]


def seed_of(request: EditRequest, index: int) -> int:
    """Of picture `index`."""
    return ((request.seed or 0) + index) % (MAX_SEED + 1)


def texts_of(request: EditRequest, seed: int) -> list[tuple[str, str]]:
    """The prompt, the negative one and those of the regions, each with what its wildcards are drawn by in the picture of a
    seed. Each has a draw of its own: what is drawn for one must not follow from the other's options."""
    prompts = [request.prompt, *(region.prompt for region in request.regions)]
    if cuts_out(request) and "background" not in request.prompt.lower():
        prompts = [prompt if "background" in prompt.lower() else prompt + PLAIN for prompt in prompts]
    prompt, *regions = prompts
    keyed = [(text, f"{seed} {index}") for index, text in enumerate(regions, start=1)]
    return [(prompt, f"{seed}"), (request.negative, f"{seed} negative"), *keyed]


def prompt_masks(regions: Sequence[Pixels], size: Size) -> list[Tensor]:
    """How much each prompt counts where, (1, 1, h, w) of `size` in 0..1: first the request's, which has what the regions
    leave over, then one for each region's mask, of any size."""
    masks = [
        F.interpolate(torch.from_numpy(np.array(mask))[None, None].float() / 255, tuple(size)[::-1], mode="area")
        for mask in regions
    ]
    rest = torch.ones(1, 1, size.height, size.width)
    return [(rest - sum(masks)).clamp(min=0), *masks] if masks else [rest]


def _without_loras(prompt: Prompt) -> Prompt:
    if prompt.loras:
        raise BadRequest(
            "A LoRA acts on the whole picture.", "Name it in the prompt, not in the negative one or a region's."
        )
    return prompt
