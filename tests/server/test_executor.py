"""Real worker processes, started as the server starts them, with fake engines."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from scumble.editing import pixels
from scumble.editing.plan import Cancelled, Silent
from scumble.protocol.errors import BadRequest, Internal, ModelUnreadable, OutOfMemory, ScumbleError, WorkerCrashed
from scumble.protocol.frames import decode
from scumble.protocol.geometry import Size
from scumble.protocol.messages import Progress, Result
from scumble.server.executor import LocalExecutor
from scumble.server.run_job import run_job

from tests.fakes.engines import ENGINES, FakeEngine

from .edits import edit, segments, work

pytestmark = pytest.mark.timeout(60)


def silent(payload: bytes | str) -> None:
    pass


def workers() -> list[psutil.Process]:
    """What executors of this process have spawned; other tests keep backends of their own for the whole run."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline())
    ]


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    before = segments()
    yield
    assert segments() == before
    assert workers() == []


@asynccontextmanager
async def executor(**options: float) -> AsyncIterator[LocalExecutor]:
    running = LocalExecutor(ENGINES, **options)  # type: ignore[arg-type]
    try:
        yield running
    finally:
        await running.close()


def progress_of(payloads: list[bytes | str]) -> list[Progress]:
    messages = [decode(payload)[0] for payload in payloads]
    return [message for message in messages if isinstance(message, Progress)]


def once_denoising(then: Callable[[], object]) -> Callable[[bytes | str], None]:
    """An on_progress that calls `then` at the first step."""
    called = []

    def on_progress(payload: bytes | str) -> None:
        message = decode(payload)[0]
        if isinstance(message, Progress) and message.stage == "denoising" and message.step >= 1 and not called:
            called.append(message.step)
            then()

    return on_progress


def test_result_and_progress_through_the_process() -> None:
    async def main() -> tuple[bytes, list[bytes | str]]:
        told: list[bytes | str] = []
        async with executor() as local:
            return await local.run(job, told.append), told

    job = work(count=2)
    frame, told = asyncio.run(main())

    message, buffers = decode(frame)
    assert isinstance(message, Result)
    request, source = edit(count=2)
    crop, layers = run_job(request, source, FakeEngine(), Silent())
    assert (message.job, message.request, message.crop, message.created) == (job.job, request, crop, job.created)
    assert [(layer.bounds, layer.seed) for layer in message.layers] == [(layer.bounds, layer.seed) for layer in layers]
    for buffer, layer in zip(buffers, layers, strict=True):
        assert buffer.encoding == "zlib"
        np.testing.assert_array_equal(pixels.decode(buffer), layer.rgba)
    assert message.timings["queue"] == 0.25
    assert {"unpack", "load", "plan", "generate", "denoise", "decode", "composite", "pack"} <= set(message.timings)
    assert message.timings["denoise"] >= 4 * 0.005

    progress = progress_of(told)
    assert [message.stage for message in progress[:3]] == ["loading", "planning", "encoding"]
    steps = [message.step for message in progress]
    assert steps == sorted(steps)
    assert steps[-1] == 4
    left = [message.seconds_left for message in progress if message.stage == "denoising"]
    assert left[0] is None
    assert all(seconds is not None and seconds > 0 for seconds in left[1:])
    assert any(decode(payload)[1] for payload in told)  # a preview


def test_the_process_stays_for_the_next_job_and_is_a_good_guest() -> None:
    async def main() -> None:
        async with executor() as local:
            await local.run(work(), silent)
            (first,) = workers()
            await local.run(work(), silent)
            assert [process.pid for process in workers()] == [first.pid]
            environment = first.environ()
            assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
            assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
            assert first.nice() > psutil.Process().nice()
            assert not any("torch" in mapped.path for mapped in first.memory_maps())

    asyncio.run(main())
    assert "HF_HUB_OFFLINE" not in os.environ  # the server's own environment stays as it is


def test_warm_up_starts_the_process_before_the_first_job() -> None:
    async def main() -> None:
        async with executor() as local:
            assert workers() == []
            local.warm_up()
            while not workers():
                await asyncio.sleep(0.01)
            (process,) = workers()
            await local.run(work(), silent)
            assert [other.pid for other in workers()] == [process.pid]

    asyncio.run(main())


def test_at_rest_it_holds_nothing_and_the_next_job_starts_anew() -> None:
    async def main() -> None:
        async with executor(slots=2) as local:
            await local.rest()  # nothing has been started
            await local.run(work(), silent)
            (first,) = workers()
            await local.rest()
            assert workers() == []
            await local.run(work(), silent)
            assert [process.pid for process in workers()] != [first.pid]

    asyncio.run(main())


def test_a_process_that_has_something_to_do_takes_no_rest() -> None:
    async def main() -> None:
        async with executor() as local:
            began = asyncio.Event()
            job = asyncio.create_task(local.run(work(steps=20), once_denoising(began.set)))
            await began.wait()
            await local.rest()
            await job

    asyncio.run(main())


def test_models_stay_loaded_while_there_is_room(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.touch()
    second.touch()

    async def main() -> None:
        async with executor() as local:
            for path in (first, first, second, first):
                await local.run(dataclasses.replace(work(), model_path=str(path)), silent)

    asyncio.run(main())
    assert len(first.read_text().splitlines()) == 1
    assert len(second.read_text().splitlines()) == 1


def test_cancel_ends_the_job_within_one_step_and_keeps_the_process() -> None:
    async def main() -> None:
        async with executor() as local:
            job = work("slow", steps=50)
            cancelled_at: list[float] = []

            def cancel() -> None:
                cancelled_at.append(time.monotonic())
                local.cancel(job.job)

            with pytest.raises(Cancelled):
                await local.run(job, once_denoising(cancel))
            assert time.monotonic() - cancelled_at[0] < 0.2 + 0.3  # a step, and a busy machine
            (process,) = workers()
            await local.run(work(), silent)
            assert [other.pid for other in workers()] == [process.pid]

    asyncio.run(main())


def test_the_grace_time_of_a_cancel_is_over_with_its_job() -> None:
    async def main() -> None:
        async with executor(grace=0.5) as local:
            job = work("slow", steps=50)
            with pytest.raises(Cancelled):
                await local.run(job, once_denoising(lambda: local.cancel(job.job)))
            (process,) = workers()
            await local.run(work("slow", steps=5), silent)
            assert [other.pid for other in workers()] == [process.pid], "the next job's process was ended"

    asyncio.run(main())


def test_cancel_before_the_process_has_the_job() -> None:
    async def main() -> None:
        async with executor(grace=60) as local:
            job = work("slow", steps=200)
            running = asyncio.ensure_future(local.run(job, silent))
            await asyncio.sleep(0)
            local.cancel(job.job)
            with pytest.raises(Cancelled):
                await asyncio.wait_for(running, 30)  # the job takes forty seconds, a process some until it has started
            local.cancel(job.job)  # no longer known: nothing happens

    asyncio.run(main())


def test_a_process_deaf_to_a_cancel_is_ended_after_the_grace_time() -> None:
    async def main() -> None:
        async with executor(grace=0.3) as local:
            job = work("hang")
            with pytest.raises(Cancelled):
                await local.run(job, once_denoising(lambda: local.cancel(job.job)))
            await local.run(work(), silent)  # by a new process

    asyncio.run(main())


def test_a_process_that_crashes_costs_one_retry(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with executor() as local:
            return await local.run(work(f"crash once={tmp_path / 'marker'}"), silent)

    message, _ = decode(asyncio.run(main()))
    assert isinstance(message, Result)


def test_a_process_that_loses_the_gpu_costs_one_retry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> bytes:
        async with executor() as local:
            await local.run(work(), silent)
            (before,) = workers()
            result = await local.run(work(f"lost secretprompt once={tmp_path / 'marker'}"), silent)
            assert [process.pid for process in workers()] != [before.pid]
            return result

    with caplog.at_level(logging.DEBUG):
        message, _ = decode(asyncio.run(main()))
    assert isinstance(message, Result)
    assert "secret" not in caplog.text
    assert "_misbehave" in caplog.text
    assert "has lost the GPU" in caplog.text


def test_a_process_killed_from_outside_costs_one_retry() -> None:
    async def main() -> bytes:
        async with executor() as local:
            return await local.run(work("slow"), once_denoising(lambda: workers()[0].kill()))

    message, _ = decode(asyncio.run(main()))
    assert isinstance(message, Result)


def test_a_process_killed_while_idle_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with executor() as local:
            await local.run(work(), silent)
            (process,) = workers()
            process.kill()
            process.wait(5)
            await local.run(work(), silent)

    asyncio.run(main())
    assert caplog.records == []


def test_a_process_that_goes_silent_costs_one_retry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> bytes:
        async with executor(hang_after=3) as local:
            return await local.run(work(f"hang once={tmp_path / 'marker'}"), silent)

    message, _ = decode(asyncio.run(main()))
    assert isinstance(message, Result)
    assert "stopped answering" in caplog.text


def test_a_process_that_the_kernel_ended_for_its_memory_is_replaced_by_a_thrifty_one() -> None:
    async def main() -> bytes:
        async with executor() as local:
            return await local.run(work("starved"), silent)

    message, _ = decode(asyncio.run(main()))
    assert isinstance(message, Result)


@pytest.mark.parametrize(
    ("word", "error", "sentence"),
    [("crash", WorkerCrashed, "crashed"), ("lost", WorkerCrashed, "lost the GPU"), ("killed", OutOfMemory, "memory")],
)
def test_a_process_that_dies_twice_fails_the_job_and_nothing_else(
    word: str, error: type[ScumbleError], sentence: str
) -> None:
    async def main() -> None:
        async with executor() as local:
            with pytest.raises(error, match=sentence) as caught:
                await local.run(work(word), silent)
            assert caught.value.hint
            await local.run(work(), silent)

    asyncio.run(main())


@pytest.mark.parametrize(("word", "error"), [("error", Internal), ("damaged", ModelUnreadable), ("oom", OutOfMemory)])
def test_an_exception_fails_the_job_and_keeps_the_process(
    word: str, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with executor() as local:
            await local.run(work(), silent)
            (process,) = workers()
            with pytest.raises(error) as caught:
                await local.run(work(f"{word} secretprompt"), silent)
            assert "secret" not in str(caught.value)
            await local.run(work(), silent)
            assert [other.pid for other in workers()] == [process.pid]

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
    assert "secret" not in caplog.text
    assert ("_misbehave" in caplog.text) == (word != "oom")  # where it came from is in the log


def test_damaged_pixels_are_a_bad_request() -> None:
    async def main() -> None:
        async with executor() as local:
            job = work()
            with pytest.raises(BadRequest):
                await local.run(dataclasses.replace(job, submit=job.submit[:-1]), silent)

    asyncio.run(main())


def test_two_slots_do_two_jobs_at_once() -> None:
    async def main() -> None:
        async with executor(slots=2) as local:
            await asyncio.gather(local.run(work(), silent), local.run(work(), silent))
            both = asyncio.Barrier(2)

            async def one() -> None:
                met = asyncio.get_running_loop().create_future()

                def meet() -> None:
                    waiting = asyncio.ensure_future(both.wait())
                    waiting.add_done_callback(met.set_result)

                await local.run(work("slow", steps=8), once_denoising(meet))
                assert met.done()  # the other job was at work before this one was done

            await asyncio.gather(one(), one())
            assert len(workers()) == 2

    asyncio.run(main())


def test_a_large_frame_passes() -> None:
    async def main() -> None:
        async with executor() as local:
            job = work(size=Size(4096, 4096))
            assert len(job.submit) > 64 << 20
            message, _ = decode(await local.run(job, silent))
            assert isinstance(message, Result)

    asyncio.run(main())


def test_close_ends_jobs_without_calling_them_cancelled() -> None:
    async def main() -> None:
        local = LocalExecutor(ENGINES)
        started = asyncio.Event()
        running = asyncio.ensure_future(local.run(work("slow", steps=100), once_denoising(started.set)))
        await started.wait()
        await local.close()
        assert workers() == []
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())


def test_a_caller_that_gives_up_frees_the_process() -> None:
    async def main() -> None:
        async with executor() as local:
            started = asyncio.Event()
            running = asyncio.ensure_future(local.run(work("slow", steps=100), once_denoising(started.set)))
            await started.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await asyncio.wait_for(local.run(work(), silent), 10)
            assert len(workers()) == 1

    asyncio.run(main())


def test_a_module_that_does_not_exist_is_an_error_and_no_endless_try() -> None:
    async def main() -> None:
        local = LocalExecutor("tests.fakes.nothing")
        try:
            with pytest.raises(WorkerCrashed):
                await local.run(work(), silent)
        finally:
            await local.close()

    asyncio.run(main())
