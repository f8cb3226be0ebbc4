"""Where a job is, how long each part of it took and how long it will still take."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence

from ..editing.pixels import encode as encode_pixels
from ..editing.plan import Cancelled, Pixels
from ..protocol.frames import encode
from ..protocol.messages import Buffer, Progress, Stage

PREVIEW_EVERY = 0.3
"""Least seconds between two previews: each holds the model up a little, and the eye needs no more."""
PHASES: dict[Stage, str] = {
    "queued": "queue",
    "loading": "load",
    "planning": "plan",
    "encoding": "encode",
    "denoising": "denoise",
    "decoding": "decode",
    "compositing": "composite",
}
"""Stage -> its name in a result's timings."""


def seconds_left(step_times: Sequence[float], remaining: int, tail: float) -> float | None:
    """Seconds until the pictures are done: the median of the latest steps' seconds for each of the `remaining` steps,
    and for `tail`, the decoding counted in steps. None before the first step is done.

    The median passes over a step that other work on the machine held up.
    """
    if not step_times:
        return None
    return statistics.median(step_times[-9:]) * (remaining + tail)


class Reporter:
    """The Report of one job. Sends an encoded Progress message for each call and keeps the seconds of each phase.

    A call with step 0 says that a stage begins, with step k that k of its steps are done. `cancelled` is asked at each
    call. `tail` is the decoding time, in steps, that the seconds left are reckoned with.
    """

    def __init__(
        self,
        job: str,
        send: Callable[[str | bytes], None],
        cancelled: Callable[[], bool],
        tail: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._job = job
        self._send = send
        self._cancelled = cancelled
        self._tail = tail
        self._clock = clock
        self._phase = "unpack"
        self._since = clock()
        self._previewed = -math.inf
        self._seconds: dict[str, float] = {}
        self._step_times: list[float] = []
        self._step = self._steps = 0

    def __call__(
        self, stage: Stage, step: int = 0, steps: int = 0, preview: Callable[[], Pixels] | None = None
    ) -> None:
        if self._cancelled():
            raise Cancelled
        again = self._phase == PHASES[stage]
        elapsed = self.enter(PHASES[stage])
        if stage == "denoising" and again and step > self._step:
            self._step_times += [elapsed / (step - self._step)] * (step - self._step)
        if steps:  # a stage that counts nothing leaves the artist's bar where it is
            self._step, self._steps = step, steps
        left = seconds_left(self._step_times, self._steps - self._step, self._tail)
        self._send(
            encode(
                Progress(self._job, stage, self._step, self._steps, None if stage == "compositing" else left),
                self._picture(preview),
            )
        )

    def enter(self, phase: str) -> float:
        """Seconds since the last call, which the phase until now gets; from here on time counts for `phase`."""
        now = self._clock()
        elapsed = now - self._since
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + elapsed
        self._phase, self._since = phase, now
        return elapsed

    def timings(self, queued: float) -> dict[str, float]:
        """Seconds by phase; `generate` is the engine's whole share: encode, denoise and decode."""
        self.enter("done")
        seconds = {name: value for name, value in self._seconds.items() if name != "done"}
        generate = sum(seconds.get(name, 0.0) for name in ("encode", "denoise", "decode"))
        return {"queue": queued, **seconds, "generate": generate}

    @property
    def tail(self) -> float:
        """The decoding time in steps as it was in this job, to reckon the next one with."""
        if not self._step_times:
            return self._tail
        return self._seconds.get("decode", 0.0) / max(statistics.median(self._step_times), 1e-9)

    def _picture(self, preview: Callable[[], Pixels] | None) -> tuple[Buffer, ...]:
        now = self._clock()
        if preview is None or now - self._previewed < PREVIEW_EVERY:
            return ()
        self._previewed = now
        # zlib: plug-ins have no decoder of their own for png and webp
        return (encode_pixels(preview(), "preview", "zlib"),)
