from __future__ import annotations

import pytest
import torch
from scumble.diffusion import device as module
from scumble.diffusion.device import Device, choose_device
from scumble.diffusion.memory import memory_errors
from scumble.protocol.errors import OutOfMemory


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    choose_device.cache_clear()
    monkeypatch.delenv("SCUMBLE_DEVICE", raising=False)
    monkeypatch.delenv("SCUMBLE_DTYPE", raising=False)


@pytest.mark.parametrize(("speed_up", "dtype"), [(3.0, torch.bfloat16), (1.1, torch.float32), (0.2, torch.float32)])
def test_a_cpu_gets_bfloat16_only_where_that_is_quicker(
    monkeypatch: pytest.MonkeyPatch, speed_up: float, dtype: torch.dtype
) -> None:
    monkeypatch.setenv("SCUMBLE_DEVICE", "cpu")
    monkeypatch.setattr(module, "_speed_up", lambda dtype: speed_up)
    assert choose_device() == Device("cpu", dtype, channels_last=dtype is torch.bfloat16)


def test_the_environment_overrules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_speed_up", lambda dtype: pytest.fail("measured for nothing"))
    monkeypatch.setenv("SCUMBLE_DEVICE", "cuda:1")
    monkeypatch.setenv("SCUMBLE_DTYPE", "float16")
    assert choose_device() == Device("cuda:1", torch.float16, channels_last=True)


@pytest.mark.parametrize(("name", "value"), [("SCUMBLE_DTYPE", "int8"), ("SCUMBLE_DEVICE", "toaster")])
def test_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((ValueError, RuntimeError), match="SCUMBLE_"):
        choose_device()


def test_the_choice_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCUMBLE_DEVICE", "cpu")
    calls: list[torch.dtype] = []
    monkeypatch.setattr(module, "_speed_up", lambda dtype: calls.append(dtype) or 2.0)
    assert choose_device() is choose_device()
    assert calls == [torch.bfloat16]


def test_the_measurement_tells_slow_from_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a clock of our own: what runs in bfloat16 takes a third of the time."""
    now = [0.0]

    def work(dtype: torch.dtype) -> object:
        def run() -> None:
            now[0] += 1.0 if dtype is torch.bfloat16 else 3.0

        return run

    monkeypatch.setattr(module, "_work", work)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    assert module._speed_up(torch.bfloat16) == 3.0


def test_the_real_measurement_gives_a_ratio() -> None:
    assert 0.001 < module._speed_up(torch.bfloat16) < 1000


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    ],
)
def test_memory_that_runs_out_has_one_name(error: Exception) -> None:
    with pytest.raises(OutOfMemory), memory_errors():
        raise error


def test_torch_itself_says_so_when_it_cannot_allocate() -> None:
    with pytest.raises(OutOfMemory), memory_errors():
        torch.empty(1 << 55)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_errors():
        raise RuntimeError("shape mismatch")
