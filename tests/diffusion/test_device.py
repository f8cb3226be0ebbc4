from __future__ import annotations

import pytest
import torch
from scumble.diffusion import device as module
from scumble.diffusion.device import Device, choose_device
from scumble.diffusion.memory import memory_errors
from scumble.editing.plan import DeviceLost
from scumble.protocol.errors import BadRequest, OutOfMemory


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
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "aarch64"}, raising=False)
    monkeypatch.setattr(module, "_speed_up", lambda dtype: speed_up)
    assert choose_device() == Device("cpu", dtype, channels_last=dtype is torch.bfloat16)


@pytest.mark.parametrize(
    ("told", "dtype"),
    [
        ({"avx512_bf16": True, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),  # AMD Zen 4
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
    ],
)
def test_a_cpu_of_which_torch_knows_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, bool], dtype: torch.dtype
) -> None:
    """Measured on a busy machine it would be one at one start and the other at the next, and so would the bytes (C3)."""
    monkeypatch.setenv("SCUMBLE_DEVICE", "cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    monkeypatch.setattr(module, "_speed_up", lambda dtype: pytest.fail("measured"))
    assert choose_device().dtype == dtype


@pytest.fixture
def nvidia(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that lists a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (None, "cuda"),
        (torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device"), "cpu"),
        (RuntimeError("HIP error: invalid device function"), "cpu"),
    ],
)
def test_a_gpu_that_torch_was_not_built_for_is_left_alone(
    error: Exception | None, device: str, nvidia: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GeForce GTX 10 under CUDA 13: the driver lists it, and nothing runs on it."""

    def ones(*_: object, device: str) -> torch.Tensor:
        assert device == "cuda"
        if error:
            raise error
        return torch.zeros(1)

    monkeypatch.setattr(torch, "ones", ones)
    monkeypatch.setattr(module, "_speed_up", lambda dtype: 1.0)
    assert choose_device().torch_device == device


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("NVIDIA GeForce GTX 1650", torch.float32),
        ("NVIDIA GeForce GTX 1660 SUPER", torch.float32),
        ("NVIDIA T600 Laptop GPU", torch.float32),
        ("Quadro T2000 with Max-Q Design", torch.float32),
        ("NVIDIA GeForce MX450", torch.float32),
        ("NVIDIA GeForce RTX 2060", torch.float16),
        ("NVIDIA GeForce GTX 1060 6GB", torch.float16),
        ("Tesla T4", torch.float16),
        ("Quadro RTX 4000", torch.float16),
    ],
)
def test_a_gpu_whose_half_precision_is_broken_does_without(
    name: str, dtype: torch.dtype, nvidia: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    monkeypatch.setattr(module, "is_built_for", lambda device: True)
    assert choose_device() == Device("cuda", dtype, channels_last=dtype is torch.float16)


def test_a_gpu_that_others_have_filled_is_asked_again(nvidia: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, device: str) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "ones", full)
    with pytest.raises(OutOfMemory), memory_errors():
        choose_device()
    monkeypatch.setattr(torch, "ones", lambda *_, device: torch.zeros(1))
    assert choose_device().torch_device == "cuda"


def test_the_environment_overrules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_speed_up", lambda dtype: pytest.fail("measured for nothing"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("SCUMBLE_DEVICE", "cuda:1")
    monkeypatch.setenv("SCUMBLE_DTYPE", "float16")
    assert choose_device() == Device("cuda:1", torch.float16, channels_last=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SCUMBLE_DTYPE", "int8"), *(("SCUMBLE_DEVICE", device) for device in ("toaster", "cuda:1", "xpu", "meta"))],
)
def test_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """In words that reach the artist."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 0)
    monkeypatch.setenv(name, value)
    with pytest.raises(BadRequest, match=name) as refused:
        choose_device()
    assert "Unset it" in refused.value.hint


def test_the_choice_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCUMBLE_DEVICE", "cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
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
        torch.AcceleratorError("CUDA error: out of memory"),
        torch.AcceleratorError("HIP error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
        RuntimeError("level_zero backend failed with error: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)"),
        RuntimeError("Invalid buffer size: 11.25 GB"),
        OSError("Le fichier de pagination est insuffisant pour terminer cette opération. (os error 1455)"),
    ],
)
def test_memory_that_runs_out_has_one_name(error: Exception) -> None:
    with pytest.raises(OutOfMemory), memory_errors():
        raise error


def test_torch_itself_says_so_when_it_cannot_allocate() -> None:
    with pytest.raises(OutOfMemory), memory_errors():
        torch.empty(1 << 55)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa, ...)`"),
        RuntimeError("level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)"),
    ],
)
def test_a_gpu_that_fails_is_told_from_a_defect(error: Exception) -> None:
    with pytest.raises(DeviceLost) as lost, memory_errors():
        raise error
    assert lost.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), OSError("No such device")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), memory_errors():
        raise error
