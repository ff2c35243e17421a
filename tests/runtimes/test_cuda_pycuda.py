"""The pycuda backend against a driver library of our own, which tells what it was asked."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sam_edge.errors import EngineError
from sam_edge.runtimes import cuda as cuda_module
from sam_edge.runtimes import libcuda

COMPILER = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
PRIMARY = 0x70000000C0
"""The primary context; it has more bits than an int."""
ATTRIBUTES = {"sm": 8, "integrated": 1, "map": 1}


class Contexts(threading.local):
    """pycuda's stack of contexts, one a thread."""

    def __init__(self) -> None:
        self.stack: list[object] = []


contexts = Contexts()


class Driver(ModuleType):
    """Stands for pycuda.driver."""

    class Error(Exception):
        pass

    class CompileError(Error):
        pass

    class Context:
        def push(self) -> None:
            contexts.stack.append(self)
            ctypes.CDLL(libcuda.LIBRARY).cuCtxSetCurrent(ctypes.c_void_p(PRIMARY))

        @staticmethod
        def pop() -> None:
            contexts.stack.pop()
            ctypes.CDLL(libcuda.LIBRARY).cuCtxSetCurrent(None)

    class Device:
        number = 1

        def __init__(self, index: int) -> None:
            self.index = index

        def retain_primary_context(self) -> Driver.Context:
            if self.index:
                raise Driver.Error("cuDevicePrimaryCtxRetain failed: out of memory")
            return Driver.Context()

        @classmethod
        def count(cls) -> int:
            return cls.number

        def name(self) -> str:
            return "Orin"

        def compute_capability(self) -> tuple[int, int]:
            return (8, 7)

        def get_attribute(self, key: str) -> int:
            return ATTRIBUTES[key]

    device_attribute = SimpleNamespace(
        MULTIPROCESSOR_COUNT="sm", INTEGRATED="integrated", CAN_MAP_HOST_MEMORY="map"
    )

    @staticmethod
    def init() -> None:
        pass

    @staticmethod
    def get_driver_version() -> int:
        return 12060


def compile_cubin(source: str, **options: Any) -> bytes:
    """Stands for pycuda.compiler.compile."""
    assert options["arch"] == "sm_87"
    if source == "wrong":
        raise Driver.CompileError("nvcc: error")
    return b"cubin\0more"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None:
        pytest.skip("no C compiler (gcc, cc or clang) is here")
    path = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    source = Path(__file__).with_name("fake_libcuda.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", str(path), str(source)], check=True)
    loaded = ctypes.CDLL(str(path))
    loaded.fake_told.restype = ctypes.c_char_p
    return loaded


@pytest.fixture
def cuda(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[cuda_module.CudaApi]:
    package, driver, compiler = ModuleType("pycuda"), Driver("pycuda.driver"), ModuleType("pycuda.compiler")
    vars(compiler)["compile"] = compile_cubin
    vars(package).update(driver=driver, compiler=compiler)
    for module in (package, driver, compiler):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(libcuda, "LIBRARY", library._name)
    monkeypatch.setattr(Driver.Device, "number", 1)
    monkeypatch.delitem(sys.modules, "sam_edge.runtimes.cuda_pycuda", raising=False)
    from sam_edge.runtimes.cuda_pycuda import PyCuda

    opened = PyCuda()
    library.fake_clear()
    yield opened
    # Others must not get the module that knows the stand-in.
    sys.modules.pop("sam_edge.runtimes.cuda_pycuda", None)


@pytest.fixture
def told(library: ctypes.CDLL) -> Any:
    def tell() -> list[str]:
        lines = library.fake_told().decode().split(";")[:-1]
        library.fake_clear()
        return list(lines)

    return tell


def test_the_device_is_described(cuda: cuda_module.CudaApi, told: Any) -> None:
    assert cuda.device == cuda_module.CudaDevice(0, "Orin", (8, 7), 8, integrated=True, can_map_host=True)
    assert cuda.cuda_version == "12.6"
    assert cuda.dlpack_device == (2, 0)
    assert cuda.memory() == (1 << 19, 1 << 20)
    cuda.enter()
    assert told() == ["context 70000000c0"]


def test_a_thread_that_opens_it_ends_with_an_empty_stack(cuda: cuda_module.CudaApi, told: Any) -> None:
    def work() -> int:
        type(cuda)()
        return len(contexts.stack)

    with ThreadPoolExecutor(1) as pool:
        # pycuda aborts the process when a thread ends with a context on its stack.
        assert pool.submit(work).result() == 0
    # Priorities are asked for in the context, which is left alone at first and then entered.
    assert told() == ["context 70000000c0", "context 0", "context 70000000c0"]


def test_a_context_that_is_not_to_be_had_is_one_line(
    cuda: cuda_module.CudaApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Driver.Device, "number", 2)
    with pytest.raises(EngineError, match=r"no usable CUDA device \(cuDevicePrimaryCtxRetain failed"):
        type(cuda)(1)


def test_bytes_go_there_and_back(cuda: cuda_module.CudaApi, told: Any) -> None:
    stream = cuda.stream(high_priority=True)
    cuda.stream(high_priority=False)
    assert told() == ["stream 1 -5", "stream 1 0"]
    host, mapped = cuda.host_malloc(64, mapped=False), cuda.host_malloc(64, mapped=True)
    assert told() == ["host 0", "host 2"]
    assert (host.device_address, mapped.device_address) == (None, mapped.address)
    first, second = cuda.malloc(64), cuda.malloc(64)
    ctypes.memmove(host.address, bytes(range(64)), 64)
    cuda.copy(first, host.address, 64, "to_device", stream)
    cuda.copy(second, first, 64, "on_device", stream)
    cuda.copy(mapped.address, second, 64, "to_host", stream)
    cuda.synchronize(stream)
    told()
    cuda.synchronize_device()
    assert told() == ["settle"]
    assert ctypes.string_at(mapped.address, 64) == bytes(range(64))
    for address in (first, second):
        cuda.free(address)
    for memory in (host, mapped):
        cuda.host_free(memory)
    cuda.stream_free(stream)


def test_events_and_graphs_get_their_handles(cuda: cuda_module.CudaApi, told: Any) -> None:
    stream = cuda.stream(high_priority=False)
    event = cuda.event(sleeping=True)
    cuda.event(timing=True)
    cuda.record(event, stream)
    cuda.stream_wait_event(stream, event)
    cuda.wait_event(event)
    assert cuda.happened(event)
    assert cuda.elapsed_ms(event, event) == 1.5
    assert told()[1:] == ["event 3", "event 0", "wait 1 1 0"]
    cuda.begin_capture(stream)
    assert not cuda.happened(event)
    graph = cuda.end_capture(stream)
    cuda.launch_graph(graph, stream)
    assert told() == ["capture 1", "graph 1 0", "drop 1", "launch 1 1"]
    cuda.graph_free(graph)
    cuda.event_free(event)


def test_a_kernel_gets_its_arguments(cuda: cuda_module.CudaApi, told: Any) -> None:
    stream = cuda.stream(high_priority=False)
    kernel = cuda.compile("source", "letterbox")
    arguments = [ctypes.c_int(-7), ctypes.c_float(0.25), ctypes.c_void_p(0x7123456789)]
    cuda.launch(kernel, (1, 2, 3), (4, 5, 6), arguments, stream)
    assert told()[1:] == [
        "module 1",
        "function letterbox 1",
        "kernel 1 1 2 3 4 5 6 0 1 -7 0.25 7123456789 1",
    ]


def test_what_cuda_reports_becomes_one_line(cuda: cuda_module.CudaApi) -> None:
    with pytest.raises(EngineError, match=r"4\.0 MiB were asked, 0 of 1 MiB are free on Orin"):
        cuda.malloc(1 << 22)
    with pytest.raises(EngineError, match=r"out of pinned memory: 4\.0 MiB"):
        cuda.host_malloc(1 << 22, mapped=True)
    with pytest.raises(EngineError, match=r"waiting for the device \(CUDA_ERROR_ILLEGAL_ADDRESS, 700\)"):
        cuda.synchronize(1)
    with pytest.raises(cuda_module.CompilerError, match="nvcc cannot compile a kernel"):
        cuda.compile("wrong", "letterbox")


def test_no_device_is_one_line(cuda: cuda_module.CudaApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver.Device, "number", 0)
    with pytest.raises(EngineError, match="sees no CUDA device"):
        type(cuda)()


def test_a_missing_driver_is_one_line() -> None:
    with pytest.raises(EngineError, match=r"libnothing\.so: .*install it"):
        libcuda.LibCuda("libnothing.so")
