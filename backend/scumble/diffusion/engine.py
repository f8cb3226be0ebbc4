"""A diffusion model at work on a plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..editing.plan import Pixels, Plan, Report, Traits
from ..home import Home
from ..protocol.errors import BadRequest, Internal
from ..protocol.messages import MAX_SEED, MAX_SIDE
from .conditioning import Conditioning
from .denoise import Held, Predict, denoise, guided, noised, pure_noise
from .device import choose_device
from .embeddings import Embedding, find_embeddings, read_embedding
from .families import find_family
from .families.base import Family, Identity, Model
from .memory import memory_errors
from .prompts import Prompt, parse
from .recent import Recent
from .samplers import executed_steps, make_schedule
from .wildcards import draw, read_lists


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
        self._prompts: Recent[tuple[Prompt, int, tuple[Embedding, ...]], Conditioning] = Recent(32)
        self._latents: Recent[bytes, Tensor] = Recent(16)

    @property
    def traits(self) -> Traits:
        native = self.model.identity.native
        # Half as large again as in training keeps one composition (768 x 512 for 512); a GPU is quick enough for more.
        share = 1.5 if torch.device(self.model.device).type == "cpu" else 2.25
        return Traits(
            native=native,
            multiple=self.family.multiple,
            max_area=int(native**2 * share),
            prompt=True,
            reach=MAX_SIDE,  # a prompt needs no surroundings: all of what the model sees is painted at once, in one tile
        )

    def generate(self, plan: Plan, report: Report) -> list[Pixels]:
        """request.count pictures of (plan.size.height, plan.size.width, 3); picture i is that of seed + i alone.

        Outside the mask they show what the model made of the surroundings, so that the compositor can measure how far its
        colours are off. Raises OutOfMemory, Cancelled, BadRequest (unknown sampler, a LoRA, ...), Internal (not a number).
        """
        with torch.inference_mode(), memory_errors():
            return [_Picture(self, plan, index, report).paint() for index in range(plan.request.count)]

    def read_prompt(self, text: str, seed: str) -> Prompt:
        """What a prompt says once its wildcards are drawn. Raises BadRequest for a LoRA."""
        prompt = parse(draw(text, Random(seed), self._lists))  # noqa: S311 - no secret
        if prompt.loras:
            raise BadRequest("The prompt names a LoRA, which Scumble cannot use yet.", "Take <lora:...> out of it.")
        return prompt

    def encode_prompts(self, prompts: Sequence[Prompt], clip_skip: int = 1) -> list[Conditioning]:
        """Each on its own; the shorter ones go on with chunks that say nothing, so that all are
        equally long and can be denoised as one batch."""
        encoded = [self._encode_prompt(prompt, clip_skip) for prompt in prompts]
        length = max(each.tokens.shape[1] for each in encoded)
        return [self._prolonged(each, length, clip_skip) for each in encoded]

    def _encode_prompt(self, prompt: Prompt, clip_skip: int) -> Conditioning:
        used = find_embeddings(self._embeddings, prompt)

        def encode() -> Conditioning:
            embeddings = {embedding.word: read_embedding(embedding.path) for embedding in used}
            return self.model.encode_prompt(prompt, clip_skip, embeddings)

        return self._prompts.get((prompt, clip_skip, used), encode)

    def _prolonged(self, conditioning: Conditioning, length: int, clip_skip: int) -> Conditioning:
        while conditioning.tokens.shape[1] < length:
            conditioning = conditioning.followed_by(self._encode_prompt(Prompt(), clip_skip))
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


class _Picture:
    """One picture of a plan in the making."""

    def __init__(self, engine: DiffusionEngine, plan: Plan, index: int, report: Report) -> None:
        self.engine, self.model, self.plan, self.report = engine, engine.model, plan, report
        request, defaults = plan.request, engine.family.defaults
        self.steps = request.steps or defaults.steps
        self.guidance = defaults.guidance if request.guidance is None else request.guidance
        self.sampler = request.sampler or defaults.sampler
        self.strength = 1.0 if request.mode == "txt2img" else request.strength
        self.seed = ((request.seed or 0) + index) % (MAX_SEED + 1)
        self.generator = torch.Generator("cpu").manual_seed(self.seed)
        # Progress counts the steps of all pictures.
        executed = executed_steps(self.steps, self.strength)
        self.done, self.total = index * executed, request.count * executed

    def paint(self) -> Pixels:
        """Encode, denoise, decode."""
        self.report("encoding")
        engine, model, size = self.engine, self.model, self.plan.size
        predict = self._predict()
        schedule = make_schedule(self.sampler, model.scheduler_config, self.steps, self.strength)
        shape = (1, model.latent_channels, size.height // model.scale, size.width // model.scale)
        noise = torch.randn(shape, generator=self.generator).to(model.device)
        start = pure_noise(schedule, noise) if self._from_nothing() else noised(schedule, self._original(), noise)
        held = self._held(noise)
        self.report("denoising", self.done, self.total)
        latents = denoise(predict, schedule, start, held, self.generator, self._on_step)
        self.report("decoding")
        return engine.decode(latents)

    def _from_nothing(self) -> bool:
        """Whether the start is noise alone, as with diffusers at full strength, or the picture under as much noise.

        At its noisiest step Stable Diffusion 1.x still sees 7 % of a picture (Lin et al. 2024, Common Diffusion Noise
        Schedules and Sample Steps Are Flawed), and takes from it how bright and of what tint all is. So where a plain
        denoiser fills a mask it starts from the prefill, which has the tint of the surroundings, and not from mid-grey.
        Inpaint denoisers are told their surroundings, and start as they do elsewhere.
        """
        return self.strength == 1 and (self.model.identity.inpaint or self.plan.request.mask is None)

    def _original(self) -> Tensor:
        return self.engine.encode(self.plan.work_image)

    def _held(self, noise: Tensor) -> Held | None:
        mask = latent_mask(self.plan.work_mask, self.model.scale).to(self.model.device)
        if self.model.identity.inpaint:
            # Its conditioning tells it what to keep; only pixels that are to change in part are held.
            mask = torch.where(mask > 0, mask, 1.0)
        return Held(self._original(), noise, mask) if mask.min() < 1 else None

    def _predict(self) -> Predict:
        request, engine = self.plan.request, self.engine
        # Each has a draw of its own: what is drawn for one must not follow from the other's options.
        positive = negative = engine.read_prompt(request.prompt, f"{self.seed}")
        if self.guidance > 1:
            negative = engine.read_prompt(request.negative, f"{self.seed} negative")
        encoded = engine.encode_prompts((positive, negative), request.clip_skip)
        condition = None
        if self.model.identity.inpaint:
            hole, visible = inpaint_condition(self.plan.work_image, self.plan.work_mask)
            places = latent_mask(hole, self.model.scale).to(self.model.device)
            condition = torch.cat([places, engine.encode(visible)], dim=1)
        return guided(self.model, encoded[0], encoded[1], self.guidance, condition)

    def _on_step(self, step: int, steps: int, estimate: Callable[[], Tensor]) -> None:
        def preview() -> Pixels:
            return pixels(self.model.preview(estimate().to(self.model.dtype)).float())

        self.report("denoising", self.done + step, self.total, preview)


def inpaint_condition(image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
    """What an inpaint denoiser is told: the (h, w) hole, 255 or 0, and the image with the hole blanked.

    Such models know binary masks only. As in diffusers a soft mask is cut at one half, but at half of its strongest value:
    a faint selection must not vanish. Blank is the middle of the range, 0 in -1..1.
    """
    hole = mask >= max(int(mask.max()) / 2, 1)
    visible = np.where(hole[..., None], np.uint8(128), image)
    return np.where(hole, np.uint8(255), np.uint8(0)), visible


def latent_mask(mask: Pixels, scale: int) -> Tensor:
    """(1, 1, h / scale, w / scale) in 0..1 of a (h, w) mask: the strongest value of each latent pixel's square.

    Not the mean: with it a selection thinner than a square (a wire, a hair) would never be let go in time to change, and
    the rim of every selection would keep a ghost of what it is to replace. What is changed too much the compositor drops.
    """
    values = torch.from_numpy(np.ascontiguousarray(mask))[None, None].float() / 255
    return F.max_pool2d(values, scale)


def pixels(image: Tensor) -> Pixels:
    """(h, w, 3) bytes of a (1, 3, h, w) image in -1..1."""
    return ((image[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
