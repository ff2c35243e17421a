"""What the NVIDIA driver says, said in one line."""

from __future__ import annotations

import pytest

from sam_edge.errors import EngineError
from sam_edge.host.nvidia_driver import CudaDevice, Driver, check_cuda_version, free_memory_mb, probe
from tests.host.machines import FakeDriver


def no_library(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def test_devices_and_version() -> None:
    assert probe(FakeDriver()) == Driver("12.6", (CudaDevice("NVIDIA RTX A2000", 6144, "8.6"),))


def test_free_memory_or_nothing() -> None:
    assert free_memory_mb(FakeDriver(free_mb=77)) == 77
    assert free_memory_mb(FakeDriver(start=100)) is None
    assert free_memory_mb(no_library) is None


@pytest.mark.parametrize(
    ("code", "hint"),
    [(100, "CUDA_VISIBLE_DEVICES"), (803, "restart"), (804, "newer driver"), (777, "error 777")],
)
def test_a_driver_that_does_not_start_says_why(code: int, hint: str) -> None:
    with pytest.raises(EngineError, match=hint) as caught:
        probe(FakeDriver(start=code))
    assert "\n" not in str(caught.value)


def test_no_driver() -> None:
    with pytest.raises(EngineError, match=r"libcuda\.so\.1 is not found"):
        probe(no_library)


def test_an_old_driver_is_told_which_one_is_needed() -> None:
    old = Driver("12.4", ())
    check_cuda_version(old, "12.8", "onnxruntime 1.23")
    check_cuda_version(old, None, "onnxruntime 1.23")
    with pytest.raises(EngineError, match=r"built for CUDA 13\.0.*speaks 12\.4.*580\.65 or newer"):
        check_cuda_version(old, "13.0", "onnxruntime 1.31")
