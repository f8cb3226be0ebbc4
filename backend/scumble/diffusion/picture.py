"""One picture of a plan in the making: encode, denoise, decode, in one pass or two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..editing.passes import OVERLAP, enlarged
from ..editing.plan import Pixels, Plan, Refinement, Report
from ..protocol.errors import BadRequest
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import MAX_SEED
from .blend import Part, blended, faded
from .controls import Controlled, Guide, controlled
from .denoise import Held, Predict, denoise, guided, noised, pure_noise
from .latents import inpaint_condition, latent_mask, pixels
from .samplers import executed_steps, make_schedule

if TYPE_CHECKING:
    from .engine import DiffusionEngine

PREVIEW = 1.5
"""Times the native side: longer sides are shrunk before a preview is made of them, as decoding all would take too long."""


@dataclass(frozen=True)
class Pass:
    """image (H, W, 3) what it starts from; mask (H, W), 255 = change; tiles: windows in px; strength 0..1."""

    image: Pixels
    mask: Pixels
    tiles: tuple[Bounds, ...]
    strength: float


class Picture:
    """Picture `index` of a plan: that of the seed so many further."""

    def __init__(self, engine: DiffusionEngine, plan: Plan, index: int, report: Report) -> None:
        self.engine, self.model, self.plan, self.report = engine, engine.model, plan, report
        request, defaults = plan.request, engine.model.identity.suits or engine.family.defaults
        self.steps = request.steps or defaults.steps
        self.guidance = defaults.guidance if request.guidance is None else request.guidance
        self.sampler = request.sampler or defaults.sampler
        self.seed = ((request.seed or 0) + index) % (MAX_SEED + 1)
        self.generator = torch.Generator("cpu").manual_seed(self.seed)
        strength = 1.0 if request.mode == "txt2img" else request.strength
        self.first = Pass(plan.work_image, plan.work_mask, plan.tiles, strength)
        # Progress counts what is predicted, window by window, in all pictures: each takes about as long.
        calls = self._calls(self.first)
        if plan.refinement:
            calls += self._calls(plan.refinement)
        self.done, self.total = index * calls, request.count * calls

    def _calls(self, work: Pass | Refinement) -> int:
        return executed_steps(self.steps, work.strength) * len(work.tiles)

    def paint(self) -> Pixels:
        """(H, W, 3), of the size of the plan's last pass."""
        self.report("encoding")
        self.engine.use_loras(self.plan, self.engine.read_prompt(self.plan.request.prompt, f"{self.seed}"))
        latents = self._denoised(self.first)
        if second := self.plan.refinement:
            self.report("encoding")
            start = enlarged(second, self.engine.decode(latents), self.plan.request.membrane)
            latents = self._denoised(Pass(start, second.mask, second.tiles, second.strength))
        self.report("decoding")
        return self.engine.decode(latents)

    def _denoised(self, work: Pass) -> Tensor:
        """(1, c, h, w) finished latents of a pass."""
        model = self.model
        height, width = work.mask.shape
        shift = model.time_shift(height // model.scale, width // model.scale, self.steps)
        schedule = make_schedule(self.sampler, model.scheduler_config, self.steps, work.strength, shift)
        predict = self._predict(work, self.engine.guides(self.plan, Size(width, height)), schedule.timesteps)
        shape = (1, model.latent_channels, height // model.scale, width // model.scale)
        noise = torch.randn(shape, generator=self.generator).to(model.device)
        start = (
            pure_noise(schedule, noise) if self._from_nothing(work) else noised(schedule, self._original(work), noise)
        )
        held = self._held(work, noise)
        windowed = len(work.tiles) > 1

        def on_step(step: int, steps: int, estimate: Callable[[], Tensor]) -> None:
            self.done += not windowed
            self.report("denoising", self.done, self.total, lambda: self._preview(estimate()))

        self.report("denoising", self.done, self.total)
        return denoise(predict, schedule, start, held, self.generator, on_step)

    def _from_nothing(self, work: Pass) -> bool:
        """Whether the start is noise alone, as with diffusers at full strength, or the picture under as much noise.

        At its noisiest step Stable Diffusion 1.x still sees 7 % of a picture (Lin et al. 2024, Common Diffusion Noise
        Schedules and Sample Steps Are Flawed), and takes from it how bright and of what tint all is. So where a plain
        denoiser fills a mask it starts from the prefill, which has the tint of the surroundings, and not from mid-grey.
        Inpaint denoisers are told their surroundings, and start as they do elsewhere.
        """
        return work.strength == 1 and (self.model.identity.inpaint or self.plan.request.mask is None)

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

    def _predict(self, work: Pass, guides: Sequence[Guide], timesteps: Tensor) -> Predict:
        """The denoiser for the whole picture; where that is seen through several windows, for all of them as one."""

        def through(tile: Bounds) -> Predict:
            seen = [guide.seen_through(tile) for guide in guides]
            return self._guided(work, tile, controlled(self.model, seen, timesteps) if seen else None)

        if len(work.tiles) == 1:
            return through(work.tiles[0])
        scale = self.model.scale
        whole = Size(work.mask.shape[1] // scale, work.mask.shape[0] // scale)
        fade = self.model.identity.native // OVERLAP // scale
        parts = []
        for tile in work.tiles:
            window = Bounds(*(value // scale for value in tile))
            share = faded(window, whole, fade, self.model.device)
            parts.append(Part(window, share, through(tile)))
        return blended(parts, self._pulse)

    def _guided(self, work: Pass, tile: Bounds, control: Controlled | None) -> Predict:
        """The denoiser for what is seen through one window."""
        request, engine = self.plan.request, self.engine
        # Each has a draw of its own: what is drawn for one must not follow from the other's options.
        positive = negative = engine.read_prompt(request.prompt, f"{self.seed}")
        if self.guidance > 1 and not self.model.told_guidance:
            negative = engine.read_prompt(request.negative, f"{self.seed} negative")
            if negative.loras:
                raise BadRequest(
                    "A LoRA acts on the whole picture.", "Name it in the prompt, not in the negative prompt."
                )
        encoded = engine.encode_prompts((positive, negative), request.clip_skip)
        if self.model.told_guidance:
            told = replace(encoded[0], guidance=self.guidance)
            return guided(self.model, told, told, 1.0, self._condition(work, tile), control)
        return guided(self.model, encoded[0], encoded[1], self.guidance, self._condition(work, tile), control)

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
        if max(estimate.shape[2:]) > most:
            estimate = F.interpolate(estimate, scale_factor=most / max(estimate.shape[2:]), mode="area")
        return pixels(self.model.preview(estimate.to(self.model.dtype)).float())

    def _pulse(self) -> None:
        """After each window: a cancel must not wait for the whole step (C5)."""
        self.done += 1
        self.report("denoising", self.done, self.total)
