"""Both bindings do the same, on a driver library of our own, which keeps a list of what it was asked."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sam_edge.errors import EngineError
from sam_edge.runtimes.cuda.api import CudaApi, CudaDevice, LibCuda, OpenCuda
from sam_edge.runtimes.cuda.errors import CompilerError
from tests.runtimes.cuda.bindings import BINDINGS, PRIMARY, asked, binding
from tests.runtimes.cuda.fake_pycuda import Driver, compilers, contexts


@pytest.fixture(params=BINDINGS)
def loader(
    request: pytest.FixtureRequest, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenCuda]:
    with binding(request.param, library, monkeypatch) as found:
        yield found


@pytest.fixture
def cuda(loader: OpenCuda, library: ctypes.CDLL) -> CudaApi:
    opened = loader()
    asked(library)
    return opened


def test_the_device_is_described(cuda: CudaApi, library: ctypes.CDLL) -> None:
    assert cuda.device == CudaDevice(0, "Orin", (8, 7), 16)
    assert cuda.cuda_version == "12.6"
    assert cuda.dlpack_device == (2, 0)
    assert cuda.memory() == (1 << 19, 1 << 20)
    cuda.enter()
    assert asked(library) == [f"context {PRIMARY}"]


def test_bytes_go_there_and_back(cuda: CudaApi, library: ctypes.CDLL) -> None:
    stream = cuda.stream(high_priority=True)
    cuda.stream(high_priority=False)
    # Non-blocking; the driver's most urgent is the lowest number.
    assert asked(library) == ["stream 1 -5", "stream 1 0"]
    there, back, device = cuda.host_malloc(64), cuda.host_malloc(64), cuda.malloc(64)
    ctypes.memmove(there, bytes(range(64)), 64)
    cuda.copy(device, there, 64, stream)
    cuda.copy(back, device, 64, stream)
    cuda.synchronize(stream)
    assert ctypes.string_at(back, 64) == bytes(range(64))
    cuda.free(device)
    cuda.host_free(there)
    cuda.host_free(back)
    cuda.stream_free(stream)


def test_events_and_graphs_get_their_handles(cuda: CudaApi, library: ctypes.CDLL) -> None:
    stream = cuda.stream(high_priority=False)
    event = cuda.event(sleeping=True)
    cuda.event(sleeping=False)
    cuda.record(event, stream)
    cuda.wait_event(event)
    assert asked(library)[1:] == ["event 3", "event 2"]
    cuda.begin_capture(stream)
    graph = cuda.end_capture(stream)
    cuda.launch_graph(graph, stream)
    # Mode 1 lets other threads go on with what a recording forbids.
    assert asked(library) == ["capture 1", "graph 1 0", "drop 1", "launch 1 1"]
    cuda.graph_free(graph)
    cuda.event_free(event)


def test_a_kernel_gets_its_arguments(cuda: CudaApi, library: ctypes.CDLL) -> None:
    stream = cuda.stream(high_priority=False)
    kernel = cuda.compile("source", "letterbox")
    arguments: list[Any] = [ctypes.c_int(-7), ctypes.c_float(0.25), ctypes.c_void_p(0x7123456789)]
    cuda.launch(kernel, (1, 2, 3), (4, 5, 6), arguments, stream)
    assert asked(library)[1:] == [
        "module 1",
        "function letterbox 1",
        "kernel 1 1 2 3 4 5 6 0 1 -7 0.25 7123456789 1",
    ]


def test_a_kernel_is_loaded_once(cuda: CudaApi, library: ctypes.CDLL) -> None:
    assert cuda.compile("source", "letterbox") == cuda.compile("source", "letterbox")
    assert asked(library) == ["module 1", "function letterbox 1"]


def test_memory_that_is_out_is_counted(cuda: CudaApi) -> None:
    with pytest.raises(EngineError, match=r"4\.0 MiB .* 0 of 1 MiB .* Orin"):
        cuda.malloc(1 << 22)
    with pytest.raises(EngineError, match=r"pinned memory .*OUT_OF_MEMORY"):
        cuda.host_malloc(1 << 22)


def test_what_cuda_reports_becomes_one_line(cuda: CudaApi) -> None:
    with pytest.raises(EngineError, match="CUDA_ERROR_ILLEGAL_ADDRESS, 700"):
        cuda.synchronize(1)
    with pytest.raises(CompilerError, match="error"):
        cuda.compile("wrong", "letterbox")


def test_a_missing_library_is_one_line() -> None:
    with pytest.raises(EngineError, match=r"libnothing\.so") as caught:
        LibCuda("libnothing.so")
    assert caught.value.hint == "install it"


@pytest.fixture
def cuda_python(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenCuda]:
    with binding("cuda-python", library, monkeypatch) as found:
        yield found


@pytest.fixture
def pycuda(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenCuda]:
    with binding("pycuda", library, monkeypatch) as found:
        yield found


def test_cuda_python_without_a_driver_is_one_line(
    cuda_python: OpenCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_library(flags: int) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so")

    monkeypatch.setattr(sys.modules["cuda.bindings.driver"], "cuInit", no_library)
    with pytest.raises(EngineError, match=r"Failed to dlopen libcuda\.so"):
        cuda_python()


def test_cuda_python_without_a_compiler_says_what_brings_it(
    cuda_python: OpenCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["cuda.bindings.nvrtc"], "is_installed", False)
    with pytest.raises(CompilerError, match="pip install nvidia-cuda-nvrtc"):
        cuda_python().compile("source", "letterbox")


def test_the_real_cuda_python_without_a_gpu_is_one_line() -> None:
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-python is not installed")
    from sam_edge.runtimes.cuda.cuda_python import CudaPython

    try:
        if int(real.cuInit(0)[0]) == 0:
            pytest.skip("a GPU is here")
    except RuntimeError:
        pass  # it finds no libcuda
    with pytest.raises(EngineError):
        CudaPython()


def test_pycuda_a_thread_that_opens_it_ends_with_an_empty_stack(pycuda: OpenCuda) -> None:
    def work() -> int:
        pycuda()
        return len(contexts.stack)

    with ThreadPoolExecutor(1) as pool:
        # pycuda aborts the process when a thread ends with a context on its stack.
        assert pool.submit(work).result() == 0


def test_pycuda_a_context_that_is_not_to_be_had_is_one_line(
    pycuda: OpenCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Driver.Device, "number", 2)
    with pytest.raises(EngineError, match="cuDevicePrimaryCtxRetain failed"):
        pycuda(1)


def test_pycudas_compiler_is_found_where_jetpack_puts_it(
    pycuda: OpenCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cuda" / "bin").mkdir(parents=True)
    nvcc = tmp_path / "cuda" / "bin" / "nvcc"
    nvcc.touch(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sam_edge.runtimes.cuda.pycuda._CUDA", tmp_path / "cuda")
    pycuda().compile("one", "kernel")
    nvcc.parent.rename(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    pycuda().compile("another", "kernel")
    monkeypatch.setenv("PATH", "")
    pycuda().compile("a third", "kernel")
    assert compilers[-3:] == [str(nvcc), str(tmp_path / "bin" / "nvcc"), "nvcc"]
