"""What pictures take on a GPU, beside diffusers with the same weights in the same run:
``python -m scumble.diffusion.footprint``.

Models of full size with random weights, made on the spot. Each picture is made on the whole device, and on a card of the
size that its goal names: Scumble is told that there is no more, and the allocator is kept from giving more. Seconds are
wall time of a second picture with a new prompt; memory is what torch's allocator gave out at most (weights included) and
what it held for it, in 10^9 bytes.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..editing.adapters import Adapter
from ..editing.plan import Pixels, Plan, Silent, Source
from ..editing.planner import plan_edit
from ..protocol.geometry import Bounds, Size
from ..protocol.messages import AdapterInfo, EditRequest, LoraUse
from .cache import States
from .device import Device, choose_device
from .engine import DiffusionEngine
from .families.base import Family, Identity
from .families.latent import TOKENIZER
from .families.sd1 import FILES as SD1_FILES
from .families.sd1 import SD1
from .families.sdxl import FILES as SDXL_FILES
from .families.sdxl import SDXL
from .families.sdxl_model import SdxlModel
from .families.unet_model import UNetModel, assemble
from .memory import UNET, Memory, autoencoder_bytes, budget, denoiser_bytes, read_memory, release
from .residents import moves
from .samplers import make_scheduler

GIB = 1 << 30
STEPS = 20
RANK = 16
SAMPLER = "dpmpp_2m_karras"
PROMPTS = ("a stone bridge over a river", "a harbour at dusk, oil on canvas")
PIECES = 6
"""Steps where a denoiser comes layer by layer, as each takes long."""


@dataclass(frozen=True)
class Subject:
    """A model of full size, the card that it is to run on with the goal for its peak, and one that its denoiser does not
    fit into."""

    family: Family
    kind: type[UNetModel]
    files: Path
    native: int
    card: int
    goal: float
    small: int


SUBJECTS = (
    Subject(SD1, UNetModel, SD1_FILES, 512, 4 * GIB, 4e9, 2 * GIB),
    Subject(SDXL, SdxlModel, SDXL_FILES, 1024, 8 * GIB, 8e9, 6 * GIB),
)


class Figures(NamedTuple):
    """Seconds of one picture, and bytes: what was given out at most, and what was held for it."""

    seconds: float
    peak: int
    held: int


@dataclass(frozen=True)
class Line:
    """`goal`: bytes that the peak is to stay below; 0 where there is none."""

    name: str
    figures: Figures | None = None
    goal: float = 0.0
    detail: str = ""

    def __str__(self) -> str:
        if self.figures is None:
            return f"{self.name:44} {self.detail}"
        seconds, peak, held = self.figures
        mark = "" if not self.goal else "ok" if peak < self.goal else "MISS"
        columns = f"{seconds:7.3f} s {peak / 1e9:7.3f} GB {held / 1e9:7.3f} GB"
        return f"{self.name:44} {columns}  {mark:4} {self.detail}"

    def json(self) -> str:
        figures = self.figures._asdict() if self.figures else {}
        return json.dumps({"name": self.name, **figures, "goal": self.goal, "detail": self.detail})


class Meter:
    """The device's allocator. A CPU has none: all figures are 0 there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._module: Any = torch.get_device_module(device) if device.type != "cpu" else None

    @contextmanager
    def card(self, memory: Memory) -> Iterator[None]:
        """Within, no more can be had than a card with so much memory has to give."""
        if self._module is None:
            yield
            return
        release(self.device)
        self._module.set_per_process_memory_fraction(budget(memory) / read_memory(self.device).total)
        try:
            yield
        finally:
            self._module.set_per_process_memory_fraction(1.0)

    def measure(self, run: Callable[[], Any]) -> tuple[Any, Figures]:
        """What `run` gives, and what it took."""
        if self._module is not None:
            gc.collect()
            self._module.synchronize()
            self._module.reset_peak_memory_stats()
        start = time.perf_counter()
        result = run()
        if self._module is None:
            return result, Figures(time.perf_counter() - start, 0, 0)
        self._module.synchronize()
        seconds = time.perf_counter() - start
        return result, Figures(seconds, self._module.max_memory_allocated(), self._module.max_memory_reserved())

    @property
    def given(self) -> int:
        return self._module.memory_allocated() if self._module else 0


def make_model(subject: Subject, device: Device, files: Path) -> UNetModel:
    """The model with random weights, as spread as keeps numbers in range; `files`: its parts' descriptions."""
    identity = Identity(subject.family.name, "single", False, "epsilon", subject.native)

    def weights(modules: Mapping[str, Any], configs: Any) -> States:
        return {
            part: {name: _random(name, tensor, device) for name, tensor in module.state_dict().items()}
            for part, module in modules.items()
        }

    torch.manual_seed(0)
    return assemble(subject.kind, Path(), identity, device, files, TOKENIZER, weights)


def _random(name: str, like: Tensor, device: Device) -> Tensor:
    if like.ndim < 2:
        return torch.full(like.shape, float(name.endswith("weight")), dtype=device.dtype)
    values = torch.randn(like.shape, device=device.torch_device) * like[0].numel() ** -0.5
    is_kernel = device.channels_last and like.ndim == 4
    memory_format = torch.channels_last if is_kernel else torch.contiguous_format
    made: Tensor = values.to(device.dtype, memory_format=memory_format).cpu()
    return made


def edit(subject: Subject, engine: DiffusionEngine, index: int = 0, **fields: Any) -> Plan:
    """A picture of the native size; with `mode="fill"` a soft selection in the middle of one."""
    side = subject.native
    size = Size(side, side)
    y, x = np.mgrid[:side, :side]
    image = np.dstack([x * 255 // side, y * 255 // side, (x + y) % 256, np.full_like(x, 255)]).astype(np.uint8)
    mask = None
    if fields.get("mode") == "fill":
        mask = (np.clip(1.5 - np.hypot(x - side / 2, y - side / 2) / (side / 4), 0, 1) * 255).astype(np.uint8)
    settings = {"mode": "txt2img", "steps": STEPS, "guidance": 7.0, "sampler": SAMPLER, "seed": index, **fields}
    adapters = settings.pop("adapters", ())
    whole = Bounds.of_size(size)
    request = EditRequest(
        canvas=size,
        image=whole,
        mask=None if mask is None else whole,
        prompt=PROMPTS[index],
        negative="blurred",
        **settings,
    )
    return plan_edit(request, Source(image, mask, adapters=adapters), engine.traits)


class Measurement:
    """All figures of one model."""

    def __init__(self, subject: Subject, device: Device, files: Path) -> None:
        self.subject, self.device = subject, device
        self.meter = Meter(torch.device(device.torch_device))
        self.model = make_model(subject, device, files)
        self.name = subject.family.name
        self._whole: dict[str, Pixels] = {}

    def lines(self) -> Iterator[Callable[[], Iterator[Line]]]:
        """Each part on its own, so that one that fails leaves the others."""
        yield self.on_the_whole_device
        yield self.what_is_reckoned_with
        yield self.what_a_step_waits_for
        yield self.on_a_card
        yield self.several_with_a_lora
        yield self.by_diffusers
        yield self.layer_by_layer

    def _engine(self, memory: Memory | None = None) -> DiffusionEngine:
        self.model.residents.leave()
        release(self.meter.device)
        return DiffusionEngine(self.model, self.subject.family, memory=memory)

    def _run(self, engine: DiffusionEngine, plan: Plan) -> list[Pixels]:
        return engine.generate(plan, Silent())

    def _edits(self, engine: DiffusionEngine, where: str, goal: float) -> Iterator[Line]:
        for mode in ("txt2img", "fill"):
            self._run(engine, edit(self.subject, engine, mode=mode))  # kernels are chosen, the prompt is another one
            plan = edit(self.subject, engine, 1, mode=mode)
            (picture,), figures = self.meter.measure(partial(self._run, engine, plan))
            same = _compared(picture, self._whole[mode]) if mode in self._whole else ""
            self._whole.setdefault(mode, picture)
            detail = f"{plan.size.width}x{plan.size.height}, {STEPS} steps {same}"
            yield Line(f"{self.name} {mode} {where}", figures, goal, detail)

    def on_the_whole_device(self) -> Iterator[Line]:
        yield from self._edits(self._engine(), "whole device", self.subject.goal)

    def on_a_card(self) -> Iterator[Line]:
        card = Memory(0, self.subject.card)
        with self.meter.card(card):
            yield from self._edits(self._engine(card), f"{card.total / GIB:g} GiB card", self.subject.goal)

    def several_with_a_lora(self) -> Iterator[Line]:
        card = Memory(0, self.subject.card)
        with tempfile.TemporaryDirectory() as folder, self.meter.card(card):
            adapter = write_lora(Path(folder) / "style.safetensors", self.model)
            engine = self._engine(card)
            use = (LoraUse(adapter.info.id, 0.8),)
            plan = edit(self.subject, engine, 1, count=4, loras=use, adapters=(adapter,))
            pictures, figures = self.meter.measure(lambda: self._run(engine, plan))
            figures = figures._replace(seconds=figures.seconds / len(pictures))
            engine.use_loras(replace(plan, request=replace(plan.request, loras=())), engine.read_prompt("", ""))
            yield Line(f"{self.name} 4 pictures and a LoRA, {card.total / GIB:g} GiB card", figures, self.subject.goal)

    def what_is_reckoned_with(self) -> Iterator[Line]:
        """How much each call takes beside the weights, over what `memory` counts for it."""
        engine, model = self._engine(), self.model
        took: dict[str, tuple[int, int]] = {}
        native, item = self.subject.native**2, model.dtype.itemsize

        def watched(name: str, call: Callable[..., Any], counted: int) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                before = self.meter.given
                result, figures = self.meter.measure(lambda: call(*arguments))
                took[name] = max(figures.peak - before, took.get(name, (0, 0))[0]), counted
                return result

            return run

        reckoned = {
            "predict": denoiser_bytes(UNET, 2 * native, item),
            "encode_image": autoencoder_bytes(native, item),
            "decode_latents": autoencoder_bytes(native, item),
        }
        # Prompts are remembered from here on: text encoders that go meanwhile would hide what comes.
        self._run(engine, edit(self.subject, engine, steps=2))
        try:
            for name, counted in reckoned.items():
                setattr(model, name, watched(name, getattr(model, name), counted))
            self._run(engine, edit(self.subject, engine, mode="fill", steps=2))
        finally:
            for name in reckoned:
                delattr(model, name)
        for name, (taken, counted) in took.items():
            told = f"{taken / 1e9:.3f} GB beside weights, {taken / counted:.2f} of what is reckoned with"
            yield Line(f"{self.name} {name}", detail=told)

    def what_a_step_waits_for(self) -> Iterator[Line]:
        """How often a step of denoising stops until the device has caught up."""
        if self.meter.device.type != "cuda":
            return
        engine = self._engine()
        self._run(engine, edit(self.subject, engine, mode="fill", steps=2))  # all that is remembered is
        counts, places = [], Counter[str]()
        for steps in (4, 8):
            plan = edit(self.subject, engine, mode="fill", steps=steps)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                try:
                    self._run(engine, plan)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
            waits = [warning for warning in caught if "synchroniz" in str(warning.message)]
            counts.append(len(waits))
            places = Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in waits)
        often = ", ".join(f"{place} {count}" for place, count in places.most_common(6))
        yield Line(f"{self.name} waits in a step: {(counts[1] - counts[0]) / 4:g}", detail=often)

    def layer_by_layer(self) -> Iterator[Line]:
        """On a card that the denoiser does not fit into. It stays divided, so this is last."""
        plan = edit(self.subject, self._engine(), 1, steps=PIECES)
        (whole,) = self._run(self._engine(), plan)
        card = Memory(0, self.subject.small)
        with self.meter.card(card):
            engine = self._engine(card)
            self._run(
                engine, replace(plan, request=replace(plan.request, steps=2))
            )  # the order of the layers is learnt
            (picture,), figures = self.meter.measure(lambda: self._run(engine, plan))
        detail = f"{PIECES} steps {_compared(picture, whole)}"
        yield Line(f"{self.name} layer by layer, {card.total / GIB:g} GiB card", figures, 0, detail)

    def by_diffusers(self) -> Iterator[Line]:
        """The pipeline of diffusers as its users run it, in the same format and as many steps of the same sampler."""
        from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

        self._engine()  # all parts on the device
        modules = {**self.model.parts, "vae": self.model._vae}
        for module in modules.values():
            module.to(self.device.torch_device, memory_format=torch.contiguous_format)
        scheduler = make_scheduler(SAMPLER, self.model.scheduler_config)
        tokenizers = {"tokenizer": self.model._tokenizer}
        if isinstance(self.model, SdxlModel):
            tokenizers["tokenizer_2"] = self.model._tokenizer_2
        for tokenizer in tokenizers.values():
            tokenizer.model_max_length = 77  # which is in no file of ours
        if isinstance(self.model, SdxlModel):
            pipeline = StableDiffusionXLPipeline(**modules, **tokenizers, scheduler=scheduler, add_watermarker=False)
        else:
            pipeline = StableDiffusionPipeline(
                **modules,
                **tokenizers,
                scheduler=scheduler,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        pipeline.set_progress_bar_config(disable=True)
        side = self.subject.native

        def run(index: int) -> Any:
            return pipeline(
                PROMPTS[index],
                negative_prompt="blurred",
                height=side,
                width=side,
                num_inference_steps=STEPS,
                guidance_scale=7.0,
                generator=torch.Generator(self.meter.device).manual_seed(index),
            ).images[0]

        run(0)
        _, figures = self.meter.measure(lambda: run(1))
        yield Line(f"{self.name} txt2img by diffusers", figures, 0, f"{side}x{side}, {STEPS} steps")


def _compared(picture: Pixels, whole: Pixels) -> str:
    difference = int(np.abs(picture.astype(int) - whole).max())
    return "same bytes" if difference == 0 else f"DIFFERENT by up to {difference}"


def write_lora(path: Path, model: UNetModel) -> Adapter:
    """A random one of rank RANK on the denoiser's attention, as kohya's scripts write it."""
    tensors: dict[str, Tensor] = {}
    for name, layer in model.parts["unet"].named_modules():
        if isinstance(layer, torch.nn.Linear) and name.rpartition(".")[2] in ("to_q", "to_k", "to_v"):
            stem = f"lora_unet_{name.replace('.', '_')}"
            out, width = layer.weight.shape
            tensors[f"{stem}.lora_down.weight"] = torch.randn(RANK, width, dtype=torch.float16) * 0.02
            tensors[f"{stem}.lora_up.weight"] = torch.randn(out, RANK, dtype=torch.float16) * 0.02
    save_file(tensors, path)
    return Adapter(AdapterInfo("lora-style", "style", "lora", model.identity.family, path.stat().st_size), path)


def measure(subjects: Sequence[Subject], device: Device, seen: Callable[[Line], None]) -> bool:
    """Tells each figure as it is known. False where a part failed; then the others go on."""
    well = True
    for subject in subjects:
        measurement = None
        try:
            measurement = Measurement(subject, device, subject.files)
            parts = list(measurement.lines())
        except Exception:
            traceback.print_exc(limit=-4)
            well = False
            continue
        for part in parts:
            try:
                for line in part():
                    seen(line)
            except Exception:
                traceback.print_exc(limit=-4)
                seen(Line(f"{subject.family.name} {part.__name__}", detail="FAILED, see above"))
                well = False
        del measurement, parts
        release(device.torch_device)
    return well


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scumble.diffusion.footprint")
    parser.add_argument("--models", nargs="+", choices=[subject.family.name for subject in SUBJECTS])
    parser.add_argument("--json", action="store_true", help="one line of JSON for each figure")
    arguments = parser.parse_args()
    names = arguments.models or [subject.family.name for subject in SUBJECTS]

    def seen(line: Line) -> None:
        print(line.json() if arguments.json else line, flush=True)

    device = choose_device()
    if not moves(torch.device(device.torch_device)):
        parser.error("there is no GPU with memory of its own (CUDA, ROCm, XPU)")
    well = measure([subject for subject in SUBJECTS if subject.family.name in names], device, seen)
    raise SystemExit(0 if well else 1)


if __name__ == "__main__":
    main()
