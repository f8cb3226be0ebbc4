"""Enlarging with a network that was trained for that alone: no prompt, no steps, seconds instead of minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..editing.masks import Field
from ..editing.passes import OVERLAP, windows
from ..editing.pixels import as_bytes
from ..editing.plan import Pixels, Plan, Report, Traits
from ..protocol.errors import ModelUnreadable
from ..protocol.geometry import Bounds, Size
from .blend import faded
from .device import Device
from .esrgan import find_layout, new_names
from .memory import memory_errors, read_memory, release
from .rrdb import Rrdb

NATIVE = 256
"""Px along a side of a window. What such a network makes of a pixel depends on some dozens around it: a quarter of this,
by which windows overlap, is enough."""


class UpscaleEngine:
    """Implements editing.plan.Engine, for upscales."""

    def __init__(self, path: Path, device: Device) -> None:
        """Loads an upscaler's .safetensors file. Raises ModelUnreadable, OutOfMemory."""
        try:
            with memory_errors():
                state = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelUnreadable("The upscaler's file is missing or damaged.") from error
        layout = find_layout({name: tensor.shape for name, tensor in state.items()})
        if layout is None:
            raise ModelUnreadable("This upscaler is of a kind that Scumble cannot use yet.", "Choose an ESRGAN one.")
        with torch.device("meta"):
            network = Rrdb(layout)
        try:
            network.load_state_dict({new: state[name] for name, new in new_names(state).items()}, assign=True)
        except RuntimeError as error:  # tensors that are missing, too many, or of another shape
            raise ModelUnreadable("The parts of this upscaler do not fit together.") from error
        with memory_errors():
            self._network = network.requires_grad_(False).eval().to(device.torch_device, device.dtype)
        self._device, self._factor = device, layout.factor

    @property
    def traits(self) -> Traits:
        # 4: what the network may fold into channels.
        return Traits(native=NATIVE, multiple=4, max_area=(2 * NATIVE) ** 2, prompt=False, reach=NATIVE)

    @property
    def bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self._network.parameters())

    def free(self) -> int:
        release(self._device.torch_device)
        return read_memory(self._device.torch_device).free

    def generate(self, plan: Plan, report: Report, thrifty: bool = False) -> list[Pixels]:
        """The same picture request.count times, at least request.factor times the plan's size: where the network enlarges
        by less it runs again over its own result. Thrifty: in windows of a quarter of the size. Raises OutOfMemory,
        Cancelled."""
        traits = replace(self.traits, max_area=NATIVE**2) if thrifty else self.traits
        runs, scale = [windows(plan.work_mask, traits)], self._factor
        while scale < plan.request.factor:
            everything = np.ones((plan.size.height * scale, plan.size.width * scale), np.uint8)
            runs.append(windows(everything, traits))
            scale *= self._factor
        picture, done, total = plan.work_image, 0, sum(map(len, runs))
        with torch.inference_mode(), memory_errors():
            for tiles in runs:
                canvas = _Canvas(Size(picture.shape[1] * self._factor, picture.shape[0] * self._factor))
                for tile in tiles:
                    report("denoising", done, total)
                    canvas.add(Bounds(*(value * self._factor for value in tile)), self._run(picture[tile.slices()]))
                    done += 1
                picture = canvas.picture()
        report("denoising", total, total)
        report("decoding")
        return [picture] * plan.request.count

    def _run(self, image: Pixels) -> Field:
        """(factor * h, factor * w, 3), mostly in 0..1."""
        tensor = torch.from_numpy(np.array(image)).to(self._device.torch_device)
        output: Tensor = self._network((tensor.permute(2, 0, 1)[None].float() / 255).to(self._device.dtype))
        enlarged: Field = output[0].permute(1, 2, 0).float().cpu().numpy()
        return enlarged


class _Canvas:
    """What overlapping pieces add up to, each fading towards its edges."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._sum = np.zeros((size.height, size.width, 3), np.float32)
        self._weight = np.zeros((size.height, size.width, 1), np.float32)

    def add(self, place: Bounds, piece: Field) -> None:
        share = faded(place, self._size, min(place.size) // OVERLAP)[0, 0, ..., None].numpy()
        self._sum[place.slices()] += piece * share
        self._weight[place.slices()] += share

    def picture(self) -> Pixels:
        return as_bytes(self._sum / np.where(self._weight > 0, self._weight, 1) * 255)
