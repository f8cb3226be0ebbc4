"""Enlarging with a network that was trained for that alone: no prompt, no steps, seconds instead of minutes.

The networks are spandrel's. It imports torchvision for two that enlarge nothing (LaMa, RestoreFormer; version 0.4.2), and a
torchvision that is not of the very build of torch that is installed (pip's default choice beside a torch for the CPU) keeps
every library that looks for it from loading, diffusers and transformers among them. So it is installed without torchvision
(packaging/environment.py), and imported without it.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..editing.masks import Field
from ..editing.passes import OVERLAP, windows
from ..editing.pixels import as_bytes, resize
from ..editing.plan import Pixels, Plan, Report, Traits
from ..protocol.errors import ModelUnreadable, OutOfMemory
from ..protocol.geometry import Bounds, Size
from .blend import faded
from .device import Device
from .memory import memory_errors, read_memory, release
from .stopping import stoppable

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

NATIVE = 256
"""Px along a side of a window. What such a network makes of a pixel depends on some dozens around it: a quarter of this,
by which windows overlap, is enough."""
_UNUSED = {
    "torchvision": (),
    "torchvision.transforms": (),
    "torchvision.transforms.functional": ("InterpolationMode", "normalize", "rotate"),
}


class UpscaleEngine:
    """Implements editing.plan.Engine, for upscales."""

    def __init__(self, path: Path, device: Device) -> None:
        """Loads an upscaler's .safetensors file. Raises ModelUnreadable, OutOfMemory."""
        network = _load(path)
        usable = {torch.float16: network.supports_half, torch.bfloat16: network.supports_bfloat16}
        self._dtype = device.dtype if usable.get(device.dtype, True) else torch.float32
        with memory_errors():
            self._network = network.to(device.torch_device, self._dtype)
        self._device, self._factor = device, network.scale

    @property
    def traits(self) -> Traits:
        # spandrel pads what a network needs in multiples.
        return Traits(native=NATIVE, multiple=1, max_area=(2 * NATIVE) ** 2, prompt=False, reach=NATIVE)

    @property
    def bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self._network.model.parameters())

    def free(self) -> int:
        with memory_errors():
            release(self._device.torch_device)
            return read_memory(self._device.torch_device).free

    def generate(self, plan: Plan, report: Report, thrifty: bool = False) -> list[Pixels]:
        """The same picture request.count times, at least request.factor times the plan's size: where the network enlarges
        by less it runs again over its own result, and where it enlarges by more each window is shrunk at once, as far as
        that comes out even: whole, an enlarged photograph would take gigabytes. Thrifty: in windows of a quarter of the
        size. Raises OutOfMemory, Cancelled."""
        traits = replace(self.traits, max_area=NATIVE**2) if thrifty else self.traits
        runs, scale = [windows(plan.work_mask, traits)], self._factor
        while scale < plan.request.factor:
            everything = np.ones((plan.size.height * scale, plan.size.width * scale), np.uint8)
            runs.append(windows(everything, traits))
            scale *= self._factor
        picture, done, total, scale = plan.work_image, 0, sum(map(len, runs)), 1
        with torch.inference_mode(), memory_errors(), stoppable(torch.device(self._device.torch_device), report.check):
            for tiles in runs:
                missing, uneven = divmod(plan.request.factor, scale)
                times = self._factor if uneven else min(missing, self._factor)
                canvas = _Canvas(Size(picture.shape[1] * times, picture.shape[0] * times))
                for tile in tiles:
                    report("denoising", done, total)
                    place = Bounds(*(value * times for value in tile))
                    canvas.add(place, self._run(picture[tile.slices()], place.size))
                    done += 1
                picture, scale = canvas.picture(), scale * times
        report("denoising", total, total)
        report("decoding")
        return [picture] * plan.request.count

    def _run(self, image: Pixels, size: Size) -> Field:
        """(H, W, 3) of `size`, which is at most what the network makes of the image, in 0..255."""
        tensor = torch.from_numpy(np.array(image)).to(self._device.torch_device)
        tensor = (tensor.permute(2, 0, 1)[None].float() / 255).to(self._dtype)
        # Some networks bring in numbers of their own in float32, such as masks of the attention (SwinIR, ATD, DRCT).
        kind, lower = torch.device(self._device.torch_device).type, self._dtype != torch.float32
        with torch.autocast(kind, self._dtype if lower else None, enabled=lower):
            output: Tensor = self._network(tensor)
        enlarged: Field = output[0].permute(1, 2, 0).float().cpu().numpy() * 255
        if enlarged.shape[:2] == (size.height, size.width):
            return enlarged
        return resize(as_bytes(enlarged), size).astype(np.float32)


def _load(path: Path) -> ImageModelDescriptor:
    """The network in a file, in float32 on the CPU. Raises ModelUnreadable, OutOfMemory."""
    try:
        with _without_torchvision():
            import spandrel
    except ImportError as error:
        raise ModelUnreadable("Upscalers need the package spandrel.", "Run packaging/install.py again.") from error
    try:
        with memory_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they say how torch would like these networks to be written
            network = spandrel.MAIN_REGISTRY.load(spandrel.canonicalize_state_dict(load_file(path)))
    except (OSError, SafetensorError) as error:
        raise ModelUnreadable("The upscaler's file is missing or damaged.") from error
    except spandrel.UnsupportedModelError as error:
        raise ModelUnreadable("Scumble does not know this kind of upscaler.", "Choose another one.") from error
    except OutOfMemory:
        raise
    except Exception as error:  # each network reads its size from the weights, and fails in its own way at odd ones
        raise ModelUnreadable("The parts of this upscaler do not fit together.") from error
    if not isinstance(network, spandrel.ImageModelDescriptor) or network.scale < 2:
        raise ModelUnreadable("This network does not enlarge pictures.", "Choose another upscaler.")
    if (network.input_channels, network.output_channels) != (3, 3):
        raise ModelUnreadable("This upscaler is not made for pictures in colour.", "Choose another one.")
    network.model.requires_grad_(False)
    return network


@contextmanager
def _without_torchvision() -> Iterator[None]:
    """Lets spandrel be imported where torchvision is not installed; afterwards it is as absent as before."""
    missing = _UNUSED if importlib.util.find_spec("torchvision") is None else {}
    for name, attributes in missing.items():
        stand_in = ModuleType(name)
        for attribute in attributes:
            setattr(stand_in, attribute, None)
        sys.modules[name] = stand_in
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


class _Canvas:
    """What overlapping pieces (0..255) add up to, each fading towards its edges. They come from top to bottom: what lies
    above one is done, and only the rows below are sums, of 16 bytes a pixel."""

    def __init__(self, size: Size) -> None:
        self._size, self._done = size, 0
        self._picture = np.zeros((size.height, size.width, 3), np.uint8)
        self._sum = np.zeros((0, size.width, 3), np.float32)
        self._weight = np.zeros((0, size.width, 1), np.float32)

    def add(self, place: Bounds, piece: Field) -> None:
        self._finish(place.top)
        missing = place.bottom - self._done - len(self._sum)
        if missing > 0:
            below = ((0, missing), (0, 0), (0, 0))
            self._sum, self._weight = np.pad(self._sum, below), np.pad(self._weight, below)
        share = faded(place, self._size, min(place.size) // OVERLAP)[0, 0, ..., None].numpy()
        rows = place.translate(0, -self._done).slices()
        self._sum[rows] += piece * share
        self._weight[rows] += share

    def picture(self) -> Pixels:
        self._finish(self._size.height)
        return self._picture

    def _finish(self, rows: int) -> None:
        """Nothing more comes above this row."""
        count = rows - self._done
        weight = self._weight[:count]
        done = as_bytes(self._sum[:count] / np.where(weight > 0, weight, 1))
        self._picture[self._done : self._done + len(done)] = done
        self._sum, self._weight, self._done = self._sum[count:], self._weight[count:], rows
