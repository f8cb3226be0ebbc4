"""MI-GAN (Sargsyan et al., ICCV 2023): fills holes from their surroundings, without a prompt, in about a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import psutil
from numpy.typing import NDArray

from ..editing.plan import Pixels, Plan, Report, Traits
from ..editing.tiles import TiledPicture
from ..protocol.errors import ModelUnreadable, OutOfMemory
from ..protocol.geometry import Bounds
from .mirror import mirror_margins

onnxruntime.disable_telemetry_events()  # on Windows, where they know no variable
VIEW = 512
"""Side in px of what the network looks at; the file would scale anything else to it."""
TRAITS = Traits(native=VIEW, multiple=1, max_area=640 * 640, prompt=False, reach=160)
"""Chosen by eye on photographs: at full scale, outpaints of 200 px and more fill with things that are not there; with the
whole edit in about 640 x 640 px the network sees what goes on where, at the price of some sharpness."""


class FillEngine:
    """Implements editing.plan.Engine."""

    def __init__(self, model_path: Path, threads: int) -> None:
        """Loads migan_pipeline_v2.onnx. Raises ModelUnreadable, OutOfMemory."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads take the artist's cores: on a busy machine one call then lasts a minute (measured).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.bytes = model_path.stat().st_size if model_path.is_file() else 0
        options.log_severity_level = 4  # what goes wrong comes as an exception
        try:
            self._session = onnxruntime.InferenceSession(str(model_path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class of its own for each status code, over no common base
            if _is_memory(error):
                raise OutOfMemory("There is not enough memory to load the fill model.") from error
            raise ModelUnreadable(
                "The fill model's file is missing or damaged.", "Fetch it again with: scumble models pull migan"
            ) from error

    @property
    def traits(self) -> Traits:
        return TRAITS

    def free(self) -> int:
        free: int = psutil.virtual_memory().available
        return free

    def generate(self, plan: Plan, report: Report, thrifty: bool = False) -> list[Pixels]:
        """The same picture request.count times: the network has no randomness, so all seeds lead to it. It is
        shown pieces of one size, so there is nothing to be thrifty with.

        Reports before each tile and at the end. Raises OutOfMemory, Cancelled.
        """
        picture = TiledPicture(plan.work_image, plan.work_mask)
        for index, tile in enumerate(plan.tiles):
            report("denoising", index, len(plan.tiles))
            view = _view_around(tile)
            image, hole = picture.look(tile, view)
            mirror_margins(image, hole, tile.relative_to(view))
            picture.paste(tile, view, self._paint(image, hole))
        report("denoising", len(plan.tiles), len(plan.tiles))
        return [picture.image] * plan.request.count

    def _paint(self, image: Pixels, hole: NDArray[np.bool_]) -> Pixels:
        """The (VIEW, VIEW, 3) image painted anew inside the hole."""
        mask = np.where(hole, 0, 255).astype(np.uint8)  # the file's convention: 255 = keep
        inputs = {"image": np.ascontiguousarray(image.transpose(2, 0, 1)[None]), "mask": mask[None, None]}
        try:
            (result,) = self._session.run(["result"], inputs)
        except Exception as error:
            if _is_memory(error):
                raise OutOfMemory("There is not enough memory for this fill.") from error
            raise
        painted: Pixels = result[0].transpose(1, 2, 0)
        return painted


def _view_around(tile: Bounds) -> Bounds:
    return Bounds(tile.x - (VIEW - tile.width) // 2, tile.y - (VIEW - tile.height) // 2, VIEW, VIEW)


def _is_memory(error: Exception) -> bool:
    # The arena reports a failed allocation as RUNTIME_EXCEPTION or FAIL: only the text tells.
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or "bad allocation" in str(error)
