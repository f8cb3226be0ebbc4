"""One measurement in a process of its own, so that peak memory is its alone: ``python -m scumble.diffusion.benchmark``.

`scumble bench edit` runs these one after the other and sets them side by side. Each prints one line of JSON. Seconds are
wall time; peak memory is the process's largest resident set in bytes, imports and weights included.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..editing.compositor import composite
from ..editing.plan import Pixels, Silent, Source
from ..editing.planner import plan_edit
from ..home import Home
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import EditRequest
from .contents import read_contents
from .engine import DiffusionEngine, load_engine
from .families import identify

STEPS = 20
GUIDANCE = 7.0
PROMPT = "a stone bridge over a river"


def make_model(folder: Path) -> dict[str, Any]:
    """A Stable Diffusion 1.5 of full size with random weights, in fp16 safetensors (2.1 GB), as artists download it."""
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        StableDiffusionInpaintPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from .families.sd1 import FILES

    torch.manual_seed(0)
    unet = UNet2DConditionModel(cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280), sample_size=64)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        scaling_factor=0.18215,
        sample_size=512,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768
        )
    )
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, use_karras_sigmas=True
    )
    pipeline = StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=CLIPTokenizer.from_pretrained(str(FILES / "tokenizer"), model_max_length=77),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(str(folder))
    return {}


def plain(model: Path, size: Size, steps: int) -> dict[str, Any]:
    """The diffusers pipeline as its documentation says: float32, the whole picture. `seconds` is for STEPS steps: where
    fewer ran, the median step is counted for each missing one."""
    from diffusers import StableDiffusionInpaintPipeline
    from PIL import Image

    pipeline = StableDiffusionInpaintPipeline.from_pretrained(
        str(model), safety_checker=None, requires_safety_checker=False, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    image, mask = _picture(size)
    ends = []

    def note(pipeline: Any, step: int, timestep: int, tensors: dict[str, Any]) -> dict[str, Any]:
        ends.append(time.perf_counter())
        return tensors

    start = time.perf_counter()
    pipeline(
        PROMPT,
        Image.fromarray(image[..., :3]),
        Image.fromarray(mask),
        height=size.height,
        width=size.width,
        num_inference_steps=steps,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(0),
        callback_on_step_end=note,
    )
    seconds = time.perf_counter() - start
    step = statistics.median(after - before for before, after in itertools.pairwise(ends))
    return {"seconds": seconds + (STEPS - steps) * step, "step": step, "peak": _peak_memory()}


def scumble(model: Path, home: Path, size: Size, steps: int = STEPS) -> dict[str, Any]:
    """Plan, generate and composite of the same edit by Scumble; `components` is the bare time of the model's own calls."""
    image, mask = _picture(size)
    engine = _load(model, home)
    calls = _time_calls(engine)
    bounds = Bounds.of_size(size)
    request = EditRequest(
        "fill", size, bounds, bounds, "", PROMPT, steps=steps, guidance=GUIDANCE, sampler="dpmpp_2m_karras", seed=0
    )
    start = time.perf_counter()
    plan = plan_edit(request, Source(image, mask), engine.traits)
    composite(plan, engine.generate(plan, Silent()))
    seconds = time.perf_counter() - start
    crop = [*plan.crop.size, *plan.size]
    return {"seconds": seconds, "components": sum(calls), "crop": crop, "peak": _peak_memory()}


def load(model: Path, home: Path) -> dict[str, Any]:
    """Loading for use in the device's number format: diffusers, then Scumble's converted copy (made before)."""
    from diffusers import StableDiffusionInpaintPipeline

    from .device import choose_device

    dtype = choose_device().dtype
    start = time.perf_counter()
    StableDiffusionInpaintPipeline.from_pretrained(
        str(model), safety_checker=None, requires_safety_checker=False, dtype=dtype
    )
    middle = time.perf_counter()
    _load(model, home)
    return {"from_pretrained": middle - start, "seconds": time.perf_counter() - middle}


def _load(model: Path, home: Path) -> DiffusionEngine:
    identity = identify(read_contents(model))
    assert identity is not None, "the model made for this is of a known family"  # noqa: S101
    return load_engine(model, identity, Home(home))


def _time_calls(engine: DiffusionEngine) -> list[float]:
    """Seconds of each call of the model's parts, added as they happen."""
    calls: list[float] = []

    def timed(call: Any) -> Any:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = call(*arguments)
            calls.append(time.perf_counter() - start)
            return result

        return run

    for name in ("encode_prompt", "encode_image", "decode_latents", "predict"):
        setattr(engine.model, name, timed(getattr(engine.model, name)))
    return calls


def _picture(size: Size) -> tuple[Pixels, Pixels]:
    """Gradients, opaque, with a selection of 256 x 256 px in the middle."""
    y, x = np.mgrid[: size.height, : size.width]
    image = np.dstack([x * 255 // size.width, y * 255 // size.height, (x + y) % 256, np.full_like(x, 255)]).astype(
        np.uint8
    )
    mask = np.zeros((size.height, size.width), np.uint8)
    top, left = size.height // 2 - 128, size.width // 2 - 128
    mask[top : top + 256, left : left + 256] = 255
    return image, mask


def _peak_memory() -> int:
    if sys.platform == "win32":
        return 0  # no such figure in the standard library
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scumble.diffusion.benchmark")
    parser.add_argument("measurement", choices=["make_model", "plain", "scumble", "load"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512))
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    size = Size(*arguments.size)
    if arguments.measurement == "make_model":
        result = make_model(arguments.model)
    elif arguments.measurement == "plain":
        result = plain(arguments.model, size, arguments.steps)
    elif arguments.measurement == "scumble":
        result = scumble(arguments.model, arguments.home, size, arguments.steps)
    else:
        result = load(arguments.model, arguments.home)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
