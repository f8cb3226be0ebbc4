"""Which models stay loaded, and what happens when memory runs out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scumble.editing.plan import Cancelled, Engine, Pixels, Plan, Report
from scumble.protocol.errors import BadRequest, OutOfMemory
from scumble.server import warm
from scumble.server.progress import Reporter
from scumble.server.warm import RESERVE, Warm, surplus
from scumble.server.work import Work
from scumble.server.worker import Worker

from tests.fakes.engines import FakeEngine

from .edits import edit, work

GB = 1 << 30


@pytest.mark.parametrize(
    ("held", "needed", "free", "gone"),
    [
        ([], 2 * GB, 0, 0),
        ([2 * GB, 4 * GB], 2 * GB, 2 * GB + RESERVE, 0),
        ([2 * GB, 4 * GB], 2 * GB, 2 * GB + RESERVE - 1, 1),
        ([2 * GB, 4 * GB, 1 * GB], 7 * GB, RESERVE + 2 * GB, 2),
        ([2 * GB, 4 * GB], 50 * GB, GB, 2),
    ],
)
def test_the_least_recently_used_go_first_and_no_more_than_must(
    held: list[int], needed: int, free: int, gone: int
) -> None:
    assert surplus(held, needed, free) == gone


class Machine:
    """A device with so much memory; each model takes there what `needs` says of it, twice what its file says."""

    def __init__(self, folder: Path, total: int) -> None:
        self.folder, self.free, self.loaded = folder, total, []
        self.refuses = 0

    def work(self, name: str, size: int) -> Work:
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(size)
        return dataclasses.replace(work(), model_path=str(path))

    def needs(self, job: Work) -> int:
        return 2 * Path(job.model_path).stat().st_size

    def load(self, job: Work) -> Any:
        if self.refuses:
            self.refuses -= 1
            raise OutOfMemory("There is not enough memory for this.")
        path = Path(job.model_path)
        self.loaded.append(path.stem)
        machine, size = self, self.needs(job)
        self.free -= size

        class Loaded(FakeEngine):
            bytes = size

            def free(self) -> int:
                return machine.free

            def __del__(self) -> None:
                machine.free += size

        return Loaded()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(warm, "RESERVE", 100)
    return Machine(tmp_path, 1000)


def test_models_stay_as_long_as_there_is_room(machine: Machine) -> None:
    kept = Warm(machine.load, machine.needs)
    for name, size in (("a", 100), ("b", 200), ("a", 100), ("c", 100), ("a", 100), ("b", 200)):
        kept.get(machine.work(name, size), name)
    # 200 + 400 + 200 of 1000, and 100 to spare: all three fit
    assert machine.loaded == ["a", "b", "c"]
    kept.get(machine.work("d", 100), "d")  # the one that was not used for longest makes room
    assert machine.loaded == ["a", "b", "c", "d"]
    assert machine.free == 1000 - 200 - 400 - 200
    kept.get(machine.work("a", 100), "a")
    assert machine.loaded[-1] == "d", "a was used after c"


def test_what_a_model_takes_does_not_depend_on_those_before(machine: Machine) -> None:
    kept = Warm(machine.load, machine.needs)
    kept.get(machine.work("a", 50), "a")
    kept.get(machine.work("b", 400), "b")  # 900 of 1000, and 100 to spare
    assert machine.free == 100
    kept.get(machine.work("c", 50), "c")
    assert machine.free == 100, "a is gone, which is just enough"


def test_a_model_that_does_not_fit_is_tried_again_alone(machine: Machine) -> None:
    kept = Warm(machine.load, machine.needs)
    kept.get(machine.work("a", 100), "a")
    machine.refuses = 1
    kept.get(machine.work("b", 100), "b")
    assert machine.loaded == ["a", "b"]
    assert machine.free == 800, "a is gone"
    machine.refuses = 2
    with pytest.raises(OutOfMemory):
        kept.get(machine.work("c", 100), "c")
    machine.refuses = 1
    with pytest.raises(OutOfMemory):  # nothing else to let go of
        kept.get(machine.work("c", 100), "c")


class Starved(FakeEngine):
    """Raises `error` as often as `failures` says."""

    def __init__(self, error: type[Exception], failures: int) -> None:
        self.error, self.failures, self.tries = error, failures, []

    def generate(self, plan: Plan, report: Report, thrifty: bool = False) -> list[Pixels]:
        self.tries.append(thrifty)
        if len(self.tries) <= self.failures:
            raise self.error("no memory")
        return super().generate(plan, report)


def paint(engine: Engine, others: int = 0) -> tuple[Worker, Any]:
    worker = Worker(SimpleNamespace(send=lambda reply: None), lambda job: engine, lambda job: 0)  # type: ignore[arg-type]
    for index in range(others):
        worker._others.get(dataclasses.replace(work(), model_path=f"/other/{index}"), "other")
    request, source = edit()
    report = Reporter("0" * 32, 1, lambda payload: None, lambda: False, 1.0)
    return worker, worker._layers(work(), request, source, report)


@pytest.mark.parametrize("error", [OutOfMemory, pytest.param(MemoryError, marks=pytest.mark.slow)])
def test_a_job_that_runs_out_of_memory_is_done_again_thriftily_and_alone(error: type[Exception]) -> None:
    engine = Starved(error, failures=1)
    worker, (_, layers) = paint(engine, others=2)
    assert engine.tries == [False, True]
    assert len(layers) == 1
    assert (layers[0].rgba[..., 3] == 255).all()
    assert len(worker._others._engines) == 1


def test_memory_that_runs_out_twice_is_said() -> None:
    engine = Starved(OutOfMemory, failures=9)
    with pytest.raises(OutOfMemory) as caught:
        paint(engine)
    assert engine.tries == [False, True]
    assert caught.value.hint


@pytest.mark.parametrize("error", [Cancelled, BadRequest])
def test_what_is_no_lack_of_memory_is_not_tried_again(error: type[Exception]) -> None:
    engine = Starved(error, failures=1)
    with pytest.raises(error):
        paint(engine)
    assert engine.tries == [False]


def test_memory_for_the_picture_itself_may_run_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    tries: list[int] = []

    def pictures(plan: Plan, report: Report, thrifty: bool = False) -> list[Pixels]:
        tries.append(thrifty)
        return [np.ones(1 << 55)] if len(tries) < 2 else FakeEngine.generate(engine, plan, report)

    monkeypatch.setattr(engine, "generate", pictures)
    paint(engine)
    assert tries == [False, True]
