"""The process that computes. It is started by the executor, does one job after another and ends when the server does.

A thread of its own reads the pipe, so that a cancel is seen at the next report and a dead server at once, whatever the
main thread is doing.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NoReturn, cast

from ..editing import pixels
from ..editing.adapters import Adapter
from ..editing.compositor import CompositedLayer
from ..editing.plan import Cancelled, DeviceLost, Engine, Source
from ..protocol.errors import BadRequest, Internal, OutOfMemory, ScumbleError
from ..protocol.frames import decode, encode
from ..protocol.geometry import Bounds
from ..protocol.messages import EditRequest, Layer, ModelKind, Result, Submit
from .progress import Reporter
from .redact import where
from .run_job import run_job
from .shared import Parcel, discard, offer, take
from .warm import Warm
from .work import Work


@dataclass(frozen=True)
class Start:
    """To the worker: do this job. `work` comes without its Submit frame, which is in `submit`; the Result frame goes
    into a segment named `result`. `thrifty`: memory has run out over it, in a way that ended the process."""

    work: Work
    submit: Parcel
    result: str
    thrifty: bool = False


@dataclass(frozen=True)
class Stop:
    """To the worker: the job is cancelled."""

    job: str


@dataclass(frozen=True)
class Done:
    """From the worker: the Result frame."""

    result: Parcel


@dataclass(frozen=True)
class Undone:
    """From the worker: the job ended without a result. `details`: what was behind it, for the log."""

    error: ScumbleError | Cancelled | DeviceLost
    details: str = ""


Reply = Done | Undone | str | bytes
"""What a worker sends; str and bytes are encoded Progress messages."""


def main(connection: Connection, engines: str) -> None:
    """Target of the process. `engines` is a module that has what scumble.server.engines has for others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal is for the server, which ends its workers
    if hasattr(os, "nice"):
        os.nice(5)  # the artist's programs come first
    module = importlib.import_module(engines)
    Worker(connection, module.load, module.loaded_bytes).serve()


class Worker:
    """Does jobs one after the other. The fill model stays loaded beside the others: it is small, and at home on the CPU."""

    def __init__(self, connection: Connection, load: Callable[[Work], Engine], needed: Callable[[Work], int]) -> None:
        self._connection = connection
        self._fill, self._others = Warm(load, needed), Warm(load, needed)
        self._decoding: dict[ModelKind, float] = {}
        self._starts: queue.SimpleQueue[Start] = queue.SimpleQueue()
        self._current: Start | None = None
        self._stopped = ""

    def serve(self) -> NoReturn:
        threading.Thread(target=self._listen, daemon=True).start()
        with contextlib.ExitStack() as offers:
            while True:
                start = self._starts.get()
                offers.close()  # a new job says that the last result was taken
                self._send(self._answer(start, offers))

    def _listen(self) -> None:
        while True:
            try:
                command = self._connection.recv()
            except (EOFError, OSError):
                self._leave()
            if isinstance(command, Start):
                self._current = command
                self._starts.put(command)
            else:
                self._stopped = command.job

    def _send(self, reply: Reply) -> None:
        try:
            self._connection.send(reply)
        except OSError:
            self._leave()

    def _leave(self) -> NoReturn:
        """The server is gone: nobody else is left to tidy up."""
        if self._current is not None:
            discard(self._current.submit.name)
            discard(self._current.result)
        os._exit(1)

    def _answer(self, start: Start, offers: contextlib.ExitStack) -> Reply:
        try:
            frame = self._run(start)
            return Done(offers.enter_context(offer(start.result, frame)))
        except (ScumbleError, Cancelled, DeviceLost) as error:
            return Undone(error, where(error.__cause__) if error.__cause__ is not None else "")
        except MemoryError:
            return Undone(OutOfMemory("The memory of this machine cannot hold this edit."))
        except Exception as error:
            return Undone(Internal("This edit failed because of a defect in Scumble."), where(error))

    def _run(self, start: Start) -> bytes:
        work, began = start.work, time.perf_counter()
        request, source = unpack(take(start.submit), work.adapters)
        unpacked = time.perf_counter()
        report = Reporter(
            work.job, request.count, self._send, lambda: self._stopped == work.job, self._decoding.get(work.kind, 1.0)
        )
        report("loading")
        crop, layers = self._layers(work, request, source, report, start.thrifty)
        report.enter("pack")
        coded = [pixels.encode(layer.rgba, "layer", "zlib") for layer in layers]
        timings = {"queue": work.queued, "unpack": unpacked - began, **report.timings()}
        self._decoding[work.kind] = report.decoding
        places = tuple(Layer(layer.bounds, layer.seed) for layer in layers)
        return cast(bytes, encode(Result(work.job, request, places, crop, timings, work.created), coded))

    def _layers(
        self, work: Work, request: EditRequest, source: Source, report: Reporter, thrifty: bool = False
    ) -> tuple[Bounds, list[CompositedLayer]]:
        """As run_job. Where memory runs out, once more: with this model alone in it, and thriftily."""
        warm = self._fill if work.kind == "fill" else self._others
        if not thrifty:
            with contextlib.suppress(OutOfMemory, MemoryError):
                return run_job(request, source, warm.get(work, request.model), report)
            # Out here, where the error and all that it holds are gone.
            warm.keep_only_latest()
        return run_job(request, source, warm.get(work, request.model), report, thrifty=True)


def unpack(submit: bytes, adapters: tuple[Adapter, ...] = ()) -> tuple[EditRequest, Source]:
    """Request and decoded pixels of a Submit frame. Raises BadRequest."""
    message, buffers = decode(submit)
    if not isinstance(message, Submit):
        raise BadRequest("This is no edit.")
    request = message.request
    image, *others = (pixels.decode(buffer) for buffer in buffers)
    mask = None if request.mask is None else others.pop(0)
    controls, regions, references = (
        tuple(others.pop(0) for _ in uses) for uses in (request.controls, request.regions, request.references)
    )
    return request, Source(image, mask, controls, adapters, regions, references)
