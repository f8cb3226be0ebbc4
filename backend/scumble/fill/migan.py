"""MI-GAN (Sargsyan et al., ICCV 2023): fills holes from their surroundings, without a prompt, in about a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from ..editing.plan import Pixels, Plan, Report, Traits
from ..editing.tiles import TiledPicture
from ..protocol.errors import ModelUnreadable, OutOfMemory


@dataclass(frozen=True)
class ModelRelease:
    """A model file exactly as it was published."""

    name: str
    bytes: int
    sha256: str
    licence: str


MIGAN = ModelRelease(
    name="migan_pipeline_v2.onnx",
    bytes=28_079_181,
    sha256="6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b",
    licence="MIT",
)
VIEW = 512
"""Side in px of what the network looks at; the file scales anything else to it."""
TRAITS = Traits(native=VIEW, multiple=1, max_area=2048 * 2048, prompt=False, reach=256)


class FillEngine:
    """Implements editing.plan.Engine."""

    def __init__(self, model_path: Path, threads: int) -> None:
        """Raises ModelUnreadable, OutOfMemory."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads take the artist's cores: on a busy machine one call then lasts a minute (measured).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(model_path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelUnreadable("The fill model's file is damaged or missing.") from error

    @property
    def traits(self) -> Traits:
        return TRAITS

    def generate(self, plan: Plan, report: Report) -> list[Pixels]:
        """The same picture request.count times: the network draws no random numbers.

        Reports "denoising" before each tile and at the end. Raises OutOfMemory, Cancelled.
        """
        picture = TiledPicture(plan.work_image, plan.work_mask)
        for index, tile in enumerate(plan.tiles):
            report("denoising", index, len(plan.tiles))
            picture.paste(tile, self.paint(picture.image[tile.slices()], picture.hole(tile)))
        report("denoising", len(plan.tiles), len(plan.tiles))
        return [picture.image] * plan.request.count

    def paint(self, image: Pixels, hole: Pixels) -> Pixels:
        """The (h, w, 3) image painted anew where the (h, w) hole is 255."""
        height, width = hole.shape
        padding = [(0, max(VIEW - height, 0)), (0, max(VIEW - width, 0))]
        image = np.pad(image, [*padding, (0, 0)], mode="symmetric")
        hole = np.pad(hole, padding, mode="symmetric")
        inputs = {"image": np.ascontiguousarray(image.transpose(2, 0, 1)[None]), "mask": 255 - hole[None, None]}
        try:
            (result,) = self._session.run(["result"], inputs)
        except MemoryError as error:
            raise OutOfMemory("There is not enough memory for this fill.") from error
        painted: Pixels = result[0].transpose(1, 2, 0)[:height, :width]
        return painted
