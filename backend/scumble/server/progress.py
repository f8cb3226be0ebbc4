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
"""Least seconds between two previews: the eye needs no more."""
PREVIEW_SHARE = 1 / 30
"""Of the time, at most, that goes into previews: each holds the model up, and on a CPU one by a tiny autoencoder takes a
tenth of a step."""
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


def seconds_left(step_times: Sequence[float], steps: int, decodings: int, decoding: float) -> float | None:
    """Seconds until the pictures are done, reckoned by the median of the latest steps' seconds; None before the first.

    `steps` and `decodings` are what is still to do; one decoding takes as long as `decoding` steps. The median passes
    over a step that other work on the machine held up.
    """
    if not step_times:
        return None
    return statistics.median(step_times[-9:]) * (steps + decodings * decoding)


class Reporter:
    """The Report of one job. Sends an encoded Progress message for each call and keeps the seconds of each phase.

    A stage lasts from its first call until another stage's; "denoising" with step k says that k steps are done, of all
    pictures together; each "decoding" begins another picture's. `cancelled` is asked at each call, and by `check`.
    `decoding`: see seconds_left, of a picture no larger than what a step works on, as the last job showed it.
    """

    def __init__(
        self,
        job: str,
        pictures: int,
        send: Callable[[str | bytes], None],
        cancelled: Callable[[], bool],
        decoding: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._job = job
        self._pictures = pictures
        self._send = send
        self._cancelled = cancelled
        self._decoding = decoding
        self._clock = clock
        self._phase = ""
        self._since = clock()
        self._next_preview = -math.inf
        self._seconds: dict[str, float] = {}
        self._step_times: list[float] = []
        self._step = self._steps = 0
        self._decoded = 0
        self._times = 1.0

    def __call__(
        self,
        stage: Stage,
        step: int = 0,
        steps: int = 0,
        preview: Callable[[], Pixels] | None = None,
        times: float = 0.0,
    ) -> None:
        self.check()
        begins = self._phase != PHASES[stage]
        elapsed = self.enter(PHASES[stage])
        if stage == "denoising" and not begins and step > self._step:
            self._step_times += [elapsed / (step - self._step)] * (step - self._step)
        if stage == "decoding":
            self._decoded += 1
        if steps:  # a stage that counts nothing leaves the artist's bar where it is
            self._step, self._steps = step, steps
        # The picture in decoding still counts: it has just begun.
        decodings = max(self._pictures - self._decoded, 0) + (stage == "decoding")
        self._times = times or self._times
        left = seconds_left(self._step_times, self._steps - self._step, decodings, self._decoding * self._times)
        if stage == "compositing":
            left = None
        self._send(encode(Progress(self._job, stage, self._step, self._steps, left), self._picture(preview)))

    def check(self) -> None:
        if self._cancelled():
            raise Cancelled

    def enter(self, phase: str) -> float:
        """Seconds since the last call, which the phase until now gets; from here on time counts for `phase`."""
        now = self._clock()
        elapsed = now - self._since
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + elapsed
        self._phase, self._since = phase, now
        return elapsed

    def timings(self) -> dict[str, float]:
        """Seconds by phase; `generate` is the engine's whole share: encode, denoise and decode."""
        self.enter("")
        generate = sum(self._seconds.get(phase, 0.0) for phase in ("encode", "denoise", "decode"))
        return {**self._seconds, "generate": generate}

    @property
    def decoding(self) -> float:
        """What the next job is to reckon with."""
        if not self._step_times:
            return self._decoding
        pieces = max(self._decoded, 1) * self._times
        return self._seconds.get("decode", 0.0) / pieces / statistics.median(self._step_times)

    def _picture(self, preview: Callable[[], Pixels] | None) -> tuple[Buffer, ...]:
        now = self._clock()
        if preview is None or now < self._next_preview:
            return ()
        # zlib: plug-ins have no decoder of their own for png and webp
        picture = encode_pixels(preview(), "preview", "zlib")
        self._next_preview = now + max(PREVIEW_EVERY, (self._clock() - now) / PREVIEW_SHARE)
        return (picture,)
