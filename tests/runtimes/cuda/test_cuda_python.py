"""What only the cuda-python backend does, over stand-ins for its modules."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sam_edge.errors import EngineError
from sam_edge.runtimes.cuda.api import CompilerError, OpenCuda
from tests.runtimes.cuda.bindings import backend


@pytest.fixture
def loader(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenCuda]:
    with backend("cuda-python", library, monkeypatch) as found:
        yield found


@pytest.fixture
def runtime(loader: OpenCuda) -> Any:
    return sys.modules["cuda.bindings.runtime"]


def test_no_device_is_one_line(loader: OpenCuda, runtime: Any) -> None:
    runtime.count = 0
    with pytest.raises(EngineError, match="sees no CUDA device"):
        loader()


def test_a_missing_driver_is_one_line(loader: OpenCuda, runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library() -> None:
        raise RuntimeError("Failed to dlopen libcuda.so")

    monkeypatch.setattr(runtime, "cudaGetDeviceCount", no_library, raising=False)
    with pytest.raises(EngineError, match=r"no NVIDIA driver is here \(Failed to dlopen libcuda\.so\)"):
        loader()


@pytest.mark.parametrize("pinned", [False, True])
def test_memory_that_was_out_is_no_error_of_the_next_call(loader: OpenCuda, runtime: Any, pinned: bool) -> None:
    cuda = loader()
    with pytest.raises(EngineError, match="out of"):
        cuda.host_malloc(1 << 22, mapped=False) if pinned else cuda.malloc(1 << 22)
    assert runtime.last_error == 0


def test_a_missing_compiler_says_what_brings_it(loader: OpenCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["cuda.bindings.nvrtc"], "is_installed", False)
    with pytest.raises(CompilerError, match="pip install nvidia-cuda-nvrtc"):
        loader().compile("source", "letterbox")


def test_without_a_gpu_is_one_line() -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    if int(real.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("a GPU is here")
    from sam_edge.runtimes.cuda.cuda_python import CudaPython

    with pytest.raises(EngineError, match="CUDA failed while looking for devices"):
        CudaPython()
