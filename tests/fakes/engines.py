"""Engines for tests of everything around engines. The worker loads them by the name of this module.

The painted colour follows from the seed. Words in the prompt make things happen:

    slow            a step takes 0.2 s instead of 0.005 s
    error           raises a ValueError that names the prompt
    damaged         raises a ModelUnreadable because of such a ValueError
    oom             asks numpy for more memory than there is
    crash           ends the process with SIGSEGV at step 2; "killed" with SIGKILL; "starved", too, unless it is thrifty
    hang            goes silent at step 2 for a minute, deaf to cancels
    lost            finds that the GPU does not answer, in this process for good
    once=PATH       crash, killed, hang and lost happen only as long as there is no file PATH, and make it
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from scumble.editing.plan import DeviceLost, Pixels, Plan, Report, Traits
from scumble.protocol.errors import ModelUnreadable
from scumble.server.work import Work

ENGINES = __name__


def loaded_bytes(work: Work) -> int:
    return 0


def load(work: Work) -> FakeEngine:
    """Where the model's path is a file, a line in it counts the loads."""
    path = Path(work.model_path)
    if path.is_file():
        with path.open("a") as file:
            file.write("loaded\n")
    return FakeEngine()


def colour(seed: int) -> tuple[int, int, int]:
    return (seed * 37 % 256, seed * 101 % 256, 40)


class FakeEngine:
    traits = Traits(native=512, multiple=8, max_area=1 << 24, prompt=True, reach=512)

    bytes = 0

    def free(self) -> int:
        return 1 << 50

    def generate(self, plan: Plan, report: Report, thrifty: bool = False) -> list[Pixels]:
        request = plan.request
        words = request.prompt.split()
        steps = request.steps or 4
        report("denoising", 0, steps)
        for step in range(1, steps + 1):
            time.sleep(0.2 if "slow" in words else 0.005)
            if step == 2:
                _misbehave([word for word in words if not (thrifty and word == "starved")], request.prompt)
            report("denoising", step, steps, lambda: np.full((12, 16, 3), 9, np.uint8))
        report("decoding")
        shape = (plan.size.height, plan.size.width, 3)
        return [
            np.broadcast_to(np.array(colour((request.seed or 0) + index), np.uint8), shape).copy()
            for index in range(request.count)
        ]


def _misbehave(words: list[str], prompt: str) -> None:
    marker = next((Path(word[5:]) for word in words if word.startswith("once=")), None)
    if marker is not None:
        if marker.exists():
            return
        marker.touch()
    if "error" in words:
        raise ValueError(prompt)
    if "damaged" in words:
        try:
            raise ValueError(prompt)
        except ValueError as error:
            raise ModelUnreadable("The model is damaged.") from error
    if "oom" in words:
        np.ones(1 << 55)
    if "crash" in words:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "killed" in words or "starved" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in words:
        time.sleep(60)
    if "lost" in words:
        try:
            raise RuntimeError(prompt)
        except RuntimeError as error:
            raise DeviceLost from error
