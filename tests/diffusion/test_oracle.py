"""Our loop against the pipelines of diffusers: same weights, same noise, binary mask, same latents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from scumble.diffusion.conditioning import Conditioning
from scumble.diffusion.denoise import Held, denoise, guided, noised, pure_noise
from scumble.diffusion.samplers import SAMPLERS, make_schedule, make_scheduler
from torch import Tensor

from .tiny import SCHEDULER

SEED = 7
SIZE = 64
STEPS = 5
CASES = [
    ("epsilon", 6.0),
    pytest.param("v_prediction", 1.0, marks=pytest.mark.slow),
    pytest.param("epsilon", 1.0, marks=pytest.mark.slow),
    pytest.param("v_prediction", 6.0, marks=pytest.mark.slow),
]
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
every_case = pytest.mark.parametrize(("prediction", "guidance"), CASES)


@dataclass
class Oracle:
    """The parts of a random model, and both ways to run it."""

    unet: Any
    vae: Any
    prediction: str

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.positive, self.negative = torch.randn(2, 1, 77, 32, generator=generator)
        self.original = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=generator)
        self.image = torch.rand(1, 3, SIZE, SIZE, generator=generator) * 2 - 1
        self.config = {**SCHEDULER, "prediction_type": self.prediction}

    def pipeline(self, kind: Any, sampler: str, guidance: float, **arguments: Any) -> Tensor:
        pipe = kind(
            vae=self.vae,
            text_encoder=None,
            tokenizer=None,
            unet=self.unet,
            scheduler=make_scheduler(sampler, self.config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe(
            prompt_embeds=self.positive,
            negative_prompt_embeds=self.negative,
            guidance_scale=guidance,
            num_inference_steps=STEPS,
            generator=torch.Generator().manual_seed(SEED),
            output_type="latent",
            **arguments,
        ).images

    def ours(
        self,
        sampler: str,
        guidance: float,
        strength: float = 1.0,
        from_picture: bool = False,
        mask: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        generator = torch.Generator().manual_seed(SEED)
        noise = torch.randn(self.original.shape, generator=generator)
        schedule = make_schedule(sampler, self.config, STEPS, strength)
        start = noised(schedule, self.original, noise) if from_picture else pure_noise(schedule, noise)
        held = None if mask is None else Held(self.original, noise, mask)
        model: Any = SimpleNamespace(
            device=torch.device("cpu"),
            dtype=torch.float32,
            predict=lambda latents, timestep, conditioning, residuals: (
                self.unet(latents, timestep, conditioning.tokens).sample
            ),
        )
        with torch.inference_mode():
            predict = guided(model, Conditioning(self.positive), Conditioning(self.negative), guidance, condition)
            return denoise(predict, schedule, start, held, generator)


@cache
def oracle(prediction: str, inpaint: bool = False) -> Oracle:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=64,
            in_channels=9 if inpaint else 4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(32, 32),
            layers_per_block=1,
            cross_attention_dim=32,
        )
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        vae = AutoencoderKL(block_out_channels=(32,) * 4, **blocks)  # asked for its scale only
    return Oracle(unet, vae, prediction)


def equal(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.1  # not a picture of nothing
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@every_case
@every_sampler
def test_txt2img(sampler: str, guidance: float, prediction: str):
    model = oracle(prediction)
    theirs = model.pipeline(StableDiffusionPipeline, sampler, guidance, height=SIZE, width=SIZE)
    equal(model.ours(sampler, guidance), theirs)


@pytest.mark.parametrize("strength", [0.6, 1.0])
@every_case
@every_sampler
def test_img2img(sampler: str, guidance: float, strength: float, prediction: str):
    model = oracle(prediction)
    theirs = model.pipeline(StableDiffusionImg2ImgPipeline, sampler, guidance, image=model.original, strength=strength)
    equal(model.ours(sampler, guidance, strength, from_picture=True), theirs)


@pytest.mark.parametrize("strength", [0.6, 1.0])
@every_case
@every_sampler
def test_inpaint_with_a_plain_denoiser(sampler: str, guidance: float, strength: float, prediction: str):
    model = oracle(prediction)
    mask = torch.zeros(1, 1, SIZE // 8, SIZE // 8)
    mask[..., 2:6, 1:5] = 1
    theirs = model.pipeline(
        StableDiffusionInpaintPipeline,
        sampler,
        guidance,
        image=model.original,
        mask_image=mask.repeat_interleave(8, 2).repeat_interleave(8, 3),
        masked_image_latents=torch.zeros_like(model.original),  # unused, but asked for with an image in latents
        height=SIZE,
        width=SIZE,
        strength=strength,
    )
    ours = model.ours(sampler, guidance, strength, from_picture=strength < 1, mask=mask)
    equal(ours, theirs)
    outside = (mask == 0).expand_as(ours)
    assert torch.equal(ours[outside], model.original[outside])


@pytest.mark.parametrize("strength", [0.6, 1.0])
@every_case
@every_sampler
def test_inpaint_with_an_inpaint_denoiser(sampler: str, guidance: float, strength: float, prediction: str):
    model = oracle(prediction, inpaint=True)
    mask = torch.zeros(1, 1, SIZE // 8, SIZE // 8)
    mask[..., 2:6, 1:5] = 1
    masked = model.original.flip(-1)  # any latents do: what matters is where they go
    theirs = model.pipeline(
        StableDiffusionInpaintPipeline,
        sampler,
        guidance,
        image=model.original,
        mask_image=mask.repeat_interleave(8, 2).repeat_interleave(8, 3),
        masked_image_latents=masked,
        height=SIZE,
        width=SIZE,
        strength=strength,
    )
    condition = torch.cat([mask, masked], dim=1)
    equal(model.ours(sampler, guidance, strength, from_picture=strength < 1, condition=condition), theirs)
