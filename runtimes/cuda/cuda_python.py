"""CUDA through NVIDIA's cuda-python (https://nvidia.github.io/cuda-python), versions 12 and 13."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from sam_edge.errors import EngineError

from .api import (
    DLPACK_CUDA,
    NOT_READY,
    OUT_OF_MEMORY,
    Arguments,
    CompilerError,
    CopyKind,
    CudaApi,
    CudaDevice,
    HostMemory,
    OpenCuda,
    Size3,
    check_index,
    fail,
    fail_memory,
    fail_pinned,
    pointers_to,
    version_text,
)
from .libcuda import LibCuda

try:
    from cuda.bindings import driver, nvrtc
    from cuda.bindings import runtime as cudart
except ModuleNotFoundError:  # as cuda-python lay before 12.6.1
    from cuda import cuda as driver
    from cuda import cudart, nvrtc


class CudaPython:
    """A device through the runtime API; kernels through nvrtc and the driver API."""

    def __init__(self, index: int = 0) -> None:
        try:
            check_index(index, _call("looking for devices", cudart.cudaGetDeviceCount))
        except RuntimeError as error:  # cuda-python's before 12.6, when it finds no libcuda
            raise EngineError(f"no NVIDIA driver is here ({error})", hint="install it") from error
        properties = _call("asking the device", cudart.cudaGetDeviceProperties, index)
        self.device = CudaDevice(
            index=index,
            name=_text(properties.name),
            compute_capability=(int(properties.major), int(properties.minor)),
            sm_count=int(properties.multiProcessorCount),
            integrated=bool(properties.integrated),
            can_map_host=bool(properties.canMapHostMemory),
        )
        self.cuda_version = version_text(_call("asking the driver", cudart.cudaDriverGetVersion))
        self.dlpack_device = (DLPACK_CUDA, index)
        self._copies = {
            "to_device": cudart.cudaMemcpyKind.cudaMemcpyHostToDevice,
            "to_host": cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost,
            "on_device": cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice,
        }
        self.enter()
        lowest, highest = _call("asking for priorities", cudart.cudaDeviceGetStreamPriorityRange)
        self._priorities = {False: int(lowest), True: int(highest)}
        # cuda-python before 12.9.2 waits with the interpreter locked: no decoder could overtake an encoder.
        self._driver = LibCuda()
        self._kernels: dict[tuple[str, str], int] = {}

    def enter(self) -> None:
        _call("choosing the device", cudart.cudaSetDevice, self.device.index)

    def memory(self) -> tuple[int, int]:
        free, total = _call("asking for memory", cudart.cudaMemGetInfo)
        return int(free), int(total)

    def malloc(self, size: int) -> int:
        code, address = cudart.cudaMalloc(size)
        if int(code) == OUT_OF_MEMORY:
            cudart.cudaGetLastError()
            fail_memory(size, self)
        _check("allocating memory", code)
        return int(address)

    def free(self, address: int) -> None:
        _call("freeing memory", cudart.cudaFree, address)

    def host_malloc(self, size: int, mapped: bool) -> HostMemory:
        flags = cudart.cudaHostAllocMapped if mapped else cudart.cudaHostAllocDefault
        code, address = cudart.cudaHostAlloc(size, flags)
        if int(code) == OUT_OF_MEMORY:
            cudart.cudaGetLastError()
            fail_pinned(size)
        _check("allocating pinned memory", code)
        seen = _call("mapping memory", cudart.cudaHostGetDevicePointer, address, 0) if mapped else None
        return HostMemory(int(address), None if seen is None else int(seen), size)

    def host_free(self, memory: HostMemory) -> None:
        _call("freeing pinned memory", cudart.cudaFreeHost, memory.address)

    def copy(self, target: int, source: int, size: int, kind: CopyKind, stream: int) -> None:
        _call("copying", cudart.cudaMemcpyAsync, target, source, size, self._copies[kind], stream)

    def stream(self, high_priority: bool) -> int:
        priority = self._priorities[high_priority]
        create = cudart.cudaStreamCreateWithPriority
        return int(_call("making a stream", create, cudart.cudaStreamNonBlocking, priority))

    def stream_free(self, stream: int) -> None:
        _call("freeing a stream", cudart.cudaStreamDestroy, stream)

    def synchronize(self, stream: int) -> None:
        self._driver.call("waiting for the device", "cuStreamSynchronize", stream)

    def synchronize_device(self) -> None:
        self._driver.call("waiting for the device", "cuCtxSynchronize")

    def event(self, timing: bool = False, sleeping: bool = False) -> int:
        flags = 0 if timing else cudart.cudaEventDisableTiming
        flags |= cudart.cudaEventBlockingSync if sleeping else 0
        return int(_call("making an event", cudart.cudaEventCreateWithFlags, flags))

    def event_free(self, event: int) -> None:
        _call("freeing an event", cudart.cudaEventDestroy, event)

    def record(self, event: int, stream: int) -> None:
        _call("recording an event", cudart.cudaEventRecord, event, stream)

    def happened(self, event: int) -> bool:
        (code,) = cudart.cudaEventQuery(event)
        if int(code) == NOT_READY:
            return False
        _check("asking for an event", code)
        return True

    def wait_event(self, event: int) -> None:
        self._driver.call("waiting for the device", "cuEventSynchronize", event)

    def stream_wait_event(self, stream: int, event: int) -> None:
        _call("joining streams", cudart.cudaStreamWaitEvent, stream, event, 0)

    def elapsed_ms(self, start: int, end: int) -> float:
        return float(_call("reading the time", cudart.cudaEventElapsedTime, start, end))

    def begin_capture(self, stream: int) -> None:
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _call("beginning a graph", cudart.cudaStreamBeginCapture, stream, mode)

    def end_capture(self, stream: int) -> int:
        graph = _call("ending a graph", cudart.cudaStreamEndCapture, stream)
        try:
            return int(_call("making a graph", cudart.cudaGraphInstantiate, graph, 0))
        finally:
            _call("freeing a recording", cudart.cudaGraphDestroy, graph)

    def launch_graph(self, graph: int, stream: int) -> None:
        _call("launching a graph", cudart.cudaGraphLaunch, graph, stream)

    def graph_free(self, graph: int) -> None:
        _call("freeing a graph", cudart.cudaGraphExecDestroy, graph)

    def compile(self, source: str, function: str) -> int:
        # Kept for good, and so loaded once: who made it first may be gone before who uses it last.
        key = (source, function)
        if key not in self._kernels:
            self._kernels[key] = self._compile(source, function)
        return self._kernels[key]

    def _compile(self, source: str, function: str) -> int:
        cubin = compile_cubin(source, self.device.compute_capability)
        image = ctypes.create_string_buffer(cubin, len(cubin))
        module = _call("loading a kernel", driver.cuModuleLoadData, ctypes.addressof(image))
        return int(_call("finding a kernel", driver.cuModuleGetFunction, module, function.encode()))

    def launch(self, kernel: int, grid: Size3, block: Size3, arguments: Arguments, stream: int) -> None:
        pointers = pointers_to(arguments)
        _call(
            "running a kernel",
            driver.cuLaunchKernel,
            kernel,
            *grid,
            *block,
            0,
            stream,
            ctypes.addressof(pointers),
            0,
        )


def compile_cubin(source: str, compute_capability: tuple[int, int]) -> bytes:
    """Machine code of CUDA C++ for one compute capability. Needs no device.

    Raises:
        CompilerError: it is not installed, or refuses the source or the architecture; its first complaint is
            quoted.
    """
    major, minor = compute_capability
    try:
        create = nvrtc.nvrtcCreateProgram
        program = _call("reading a kernel", create, source.encode(), b"kernel.cu", 0, [], [])
    except RuntimeError as error:  # cuda-python's, when it finds no libnvrtc
        raise CompilerError(
            "CUDA's compiler libnvrtc is not installed: pip install nvidia-cuda-nvrtc (for CUDA 12 "
            "nvidia-cuda-nvrtc-cu12), on JetPack 6 sudo apt install cuda-nvrtc-12-6"
        ) from error
    # Products and sums stay apart, as the processor rounds them.
    options = [f"--gpu-architecture=sm_{major}{minor}".encode(), b"--fmad=false"]
    (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if int(code):
        log = b" " * int(_call("reading the compiler", nvrtc.nvrtcGetProgramLogSize, program))
        nvrtc.nvrtcGetProgramLog(program, log)
        line = next((text for text in _text(log).splitlines() if "error" in text), code.name)
        raise CompilerError(f"nvrtc cannot compile a kernel for compute capability {major}.{minor}: {line}")
    cubin = b" " * int(_call("reading the compiler", nvrtc.nvrtcGetCUBINSize, program))
    _call("reading the compiler", nvrtc.nvrtcGetCUBIN, program, cubin)
    nvrtc.nvrtcDestroyProgram(program)
    return cubin


def _call(doing: str, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """What a CUDA function returns beside its error code: nothing, one value, or several."""
    code, *values = function(*arguments)
    _check(doing, code)
    if not values:
        return None
    return values[0] if len(values) == 1 else tuple(values)


def _check(doing: str, code: Any) -> None:
    if int(code):
        fail(int(code), code.name, doing)


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode(errors="replace").strip()


_open: OpenCuda = CudaPython
_: type[CudaApi] = CudaPython
