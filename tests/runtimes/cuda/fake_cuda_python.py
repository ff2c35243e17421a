"""cuda-python's modules over our driver library: what `cuda_python` asks of them.

The package has 44 MB, and does nothing without a GPU. Numbers and answers are as in driver_types.h and in
cuda.bindings of 12 and 13: an error code first, then what was asked for.
"""

# ruff: noqa: N802, N815  # the names are CUDA's

from __future__ import annotations

import ctypes
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

from sam_edge.runtimes.cuda import libcuda

OPTIONS = [b"--gpu-architecture=sm_87", b"--fmad=false"]
Answer = tuple[Any, ...]


class Code(IntEnum):
    """Error numbers of all three libraries, as far as we meet them."""

    Success = 0
    cudaErrorMemoryAllocation = 2
    NVRTC_ERROR_COMPILATION = 6
    cudaErrorNotReady = 600
    cudaErrorIllegalAddress = 700


class CaptureMode(IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1
    cudaStreamCaptureModeRelaxed = 2


class MemcpyKind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


_COPIES = {1: "cuMemcpyHtoDAsync_v2", 2: "cuMemcpyDtoHAsync_v2", 3: "cuMemcpyDtoDAsync_v2"}


def _ask(function: str, *arguments: Any) -> Answer:
    typed = [ctypes.c_uint64(value) if type(value) is int else value for value in arguments]
    return (Code(getattr(ctypes.CDLL(libcuda.LIBRARY), function)(*typed)),)


def _get(function: str, *arguments: Any, kind: Any = ctypes.c_uint64, count: int = 1) -> Answer:
    """Values that the driver writes to where its first arguments point."""
    values = [kind() for _ in range(count)]
    (code,) = _ask(function, *map(ctypes.byref, values), *arguments)
    return (code, *(value.value for value in values))


class Runtime(ModuleType):
    """Stands for cuda.bindings.runtime."""

    count = 1
    cudaHostAllocDefault = 0
    cudaHostAllocMapped = 2
    cudaStreamNonBlocking = 1
    cudaEventBlockingSync = 1
    cudaEventDisableTiming = 2
    cudaStreamCaptureMode = CaptureMode
    cudaMemcpyKind = MemcpyKind

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.last_error = Code.Success

    def __getattr__(self, name: str) -> Any:
        """The rest is passed on."""
        plain = {
            "cudaFree": "cuMemFree_v2",
            "cudaFreeHost": "cuMemFreeHost",
            "cudaStreamDestroy": "cuStreamDestroy_v2",
            "cudaEventDestroy": "cuEventDestroy_v2",
            "cudaEventRecord": "cuEventRecord",
            "cudaEventQuery": "cuEventQuery",
            "cudaStreamWaitEvent": "cuStreamWaitEvent",
            "cudaStreamBeginCapture": "cuStreamBeginCapture_v2",
            "cudaGraphDestroy": "cuGraphDestroy",
            "cudaGraphExecDestroy": "cuGraphExecDestroy",
            "cudaGraphLaunch": "cuGraphLaunch",
        }
        if name not in plain:
            raise AttributeError(name)
        return lambda *arguments: _ask(plain[name], *map(int, arguments))

    def cudaGetDeviceCount(self) -> Answer:
        return Code.Success, self.count

    def cudaGetDeviceProperties(self, index: int) -> Answer:
        assert index == 0
        properties = SimpleNamespace(
            name=b"Orin\0\0", major=8, minor=7, multiProcessorCount=8, integrated=1, canMapHostMemory=1
        )
        return Code.Success, properties

    def cudaDriverGetVersion(self) -> Answer:
        return Code.Success, 12060

    def cudaSetDevice(self, index: int) -> Answer:
        assert index == 0
        return _ask("fake_primary")

    def cudaDeviceGetStreamPriorityRange(self) -> Answer:
        return _get("cuCtxGetStreamPriorityRange", kind=ctypes.c_int, count=2)

    def cudaMemGetInfo(self) -> Answer:
        return _get("cuMemGetInfo_v2", kind=ctypes.c_size_t, count=2)

    def cudaMalloc(self, size: int) -> Answer:
        return self._remembered(_get("cuMemAlloc_v2", size))

    def cudaHostAlloc(self, size: int, flags: int) -> Answer:
        return self._remembered(_get("cuMemHostAlloc", size, flags))

    def cudaGetLastError(self) -> Answer:
        code, self.last_error = self.last_error, Code.Success
        return (code,)

    def cudaHostGetDevicePointer(self, address: int, flags: int) -> Answer:
        return _get("cuMemHostGetDevicePointer_v2", address, flags)

    def cudaMemcpyAsync(self, to: int, from_: int, size: int, kind: MemcpyKind, stream: int) -> Answer:
        return _ask(_COPIES[kind], to, from_, size, stream)

    def cudaStreamCreateWithPriority(self, flags: int, priority: int) -> Answer:
        return _get("cuStreamCreateWithPriority", flags, ctypes.c_int(priority))

    def cudaEventCreateWithFlags(self, flags: int) -> Answer:
        return _get("cuEventCreate", flags)

    def cudaEventElapsedTime(self, start: int, end: int) -> Answer:
        return _get("cuEventElapsedTime", start, end, kind=ctypes.c_float)

    def cudaStreamEndCapture(self, stream: int) -> Answer:
        graph = ctypes.c_uint64()
        return (*_ask("cuStreamEndCapture", stream, ctypes.byref(graph)), graph.value)

    def cudaGraphInstantiate(self, graph: int, flags: int) -> Answer:
        return _get("cuGraphInstantiateWithFlags", graph, flags)

    def _remembered(self, answer: Answer) -> Answer:
        """The runtime API repeats an error until somebody takes it."""
        self.last_error = answer[0] or self.last_error
        return answer


class Driver(ModuleType):
    """Stands for cuda.bindings.driver."""

    @staticmethod
    def cuModuleLoadData(image: int) -> Answer:
        return _get("cuModuleLoadData", image)

    @staticmethod
    def cuModuleGetFunction(module: int, name: bytes) -> Answer:
        return _get("cuModuleGetFunction", module, name)

    @staticmethod
    def cuLaunchKernel(*arguments: int) -> Answer:
        return _ask("cuLaunchKernel", *arguments)


class Compiler(ModuleType):
    """Stands for cuda.bindings.nvrtc; a program is its source."""

    is_installed = True

    def nvrtcCreateProgram(self, source: bytes, name: bytes, *headers: Any) -> Answer:
        if not self.is_installed:
            raise RuntimeError("Failure finding libnvrtc.so")
        return Code.Success, source

    @staticmethod
    def nvrtcCompileProgram(program: bytes, count: int, options: list[bytes]) -> Answer:
        # A fused product and sum is rounded once, and the image differs from the processor's.
        assert options == OPTIONS
        assert count == len(options)
        return (Code.NVRTC_ERROR_COMPILATION if program == b"wrong" else Code.Success,)

    @staticmethod
    def nvrtcGetProgramLogSize(program: bytes) -> Answer:
        return Code.Success, 40

    @staticmethod
    def nvrtcGetProgramLog(program: bytes, log: bytes) -> Answer:
        return _write(log, b"kernel.cu(1):\nerror: what is wrong?\0")

    @staticmethod
    def nvrtcGetCUBINSize(program: bytes) -> Answer:
        return Code.Success, 10

    @staticmethod
    def nvrtcGetCUBIN(program: bytes, cubin: bytes) -> Answer:
        return _write(cubin, b"cubin\0more")

    @staticmethod
    def nvrtcDestroyProgram(program: bytes) -> Answer:
        return (Code.Success,)


def _write(buffer: bytes, text: bytes) -> Answer:
    """As nvrtc does: into the bytes themselves, which Python says cannot change."""
    assert len(text) <= len(buffer)
    start = ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p)
    assert start.value is not None
    ctypes.memmove(start.value, text, len(text))
    return (Code.Success,)


def modules() -> dict[str, ModuleType]:
    """Name -> module, for sys.modules."""
    package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    runtime, driver, nvrtc = Runtime(), Driver("cuda.bindings.driver"), Compiler("cuda.bindings.nvrtc")
    vars(bindings).update(runtime=runtime, driver=driver, nvrtc=nvrtc)
    vars(package).update(bindings=bindings)
    return {module.__name__: module for module in (package, bindings, runtime, driver, nvrtc)}
