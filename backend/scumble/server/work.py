"""The seam between the server and whatever computes its jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ..diffusion.families.base import Identity
from ..editing.adapters import Adapter
from ..home import Home
from ..protocol.messages import ModelKind


@dataclass(frozen=True)
class Work:
    """One job, with everything that a worker needs to do it.

    job         its id
    submit      encoded Submit frame; the request in it is complete
    model_path  file or folder of the model
    kind        which engine runs it
    identity    what the model is; None for a fill model and an upscaler
    adapters    those that there are; a prompt names them, and says so only when its wildcards are drawn
    home        where converted copies of models, wildcards and textual inversions are
    queued      seconds that it waited for a worker
    created     seconds since 1970, when it was accepted
    """

    job: str
    submit: bytes = field(repr=False)
    model_path: str
    kind: ModelKind
    identity: Identity | None
    home: Home
    queued: float
    created: float
    adapters: tuple[Adapter, ...] = field(default=(), repr=False)


class Executor(Protocol):
    """Computes jobs, at most `slots` at once. All methods are called on the event loop."""

    slots: int

    def warm_up(self) -> None:
        """Gets ready for the first job, in the background."""
        ...

    async def rest(self) -> None:
        """Gives back all that it keeps for the next job, loaded models above all."""
        ...

    async def run(self, work: Work, on_progress: Callable[[bytes | str], None]) -> bytes:
        """The encoded Result frame. `on_progress` gets encoded Progress payloads, on the event loop, and is not called
        again once this has returned or raised.

        Raises ScumbleError (WorkerCrashed after two dead workers), and editing.plan.Cancelled.
        """
        ...

    def cancel(self, job: str) -> None:
        """Makes `run` of that job raise Cancelled soon; a job that is not running is ignored."""
        ...

    async def close(self) -> None:
        """Ends all workers. A `run` still under way raises asyncio.CancelledError and not Cancelled: its job is not over,
        a restarted server does it again (C4)."""
        ...
