"""CUDA through pycuda, for systems that have no cuda-python.

pycuda brings the primary context and the compiler; `libcuda` does the rest. Of pycuda's ways to a context,
`autoinit` makes one of its own, which TensorRT, PyTorch and onnxruntime do not share, and `autoprimaryctx`
leaves the primary one on the stack that pycuda keeps for the importing thread: pycuda aborts the process when
a thread ends with something on its stack. So the context is retained here, and the stack left as it was.
"""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pycuda.driver

from sam_edge.errors import EngineError

from .api import (
    DLPACK_CUDA,
    Arguments,
    CompilerError,
    CopyKind,
    CudaApi,
    CudaDevice,
    HostMemory,
    OpenCuda,
    Size3,
    check_index,
    fail_memory,
    fail_pinned,
    pointers_to,
    version_text,
)
from .libcuda import LibCuda

_CUDA = Path("/usr/local/cuda")
_HOST_DEVICEMAP = 2
_STREAM_NON_BLOCKING = 1
_EVENT_BLOCKING_SYNC = 1
_EVENT_DISABLE_TIMING = 2
_CAPTURE_THREAD_LOCAL = 1
_COPIES = {
    "to_device": "cuMemcpyHtoDAsync_v2",
    "to_host": "cuMemcpyDtoHAsync_v2",
    "on_device": "cuMemcpyDtoDAsync_v2",
}


class PyCuda:
    """A device in its primary context."""

    def __init__(self, index: int = 0) -> None:
        try:
            pycuda.driver.init()
            check_index(index, pycuda.driver.Device.count())
            # The device's context lives as long as pycuda's object.
            self._retained = pycuda.driver.Device(index).retain_primary_context()
            self._driver = LibCuda()
            self._context = _handle(self._retained, self._driver)
        except pycuda.driver.Error as error:
            line = " ".join(str(error).split())
            raise EngineError(f"pycuda finds no usable CUDA device ({line}): check nvidia-smi") from error
        self._kernels: dict[tuple[str, str], int] = {}
        device = pycuda.driver.Device(index)
        attribute = pycuda.driver.device_attribute
        self.device = CudaDevice(
            index=index,
            name=device.name(),
            compute_capability=device.compute_capability(),
            sm_count=device.get_attribute(attribute.MULTIPROCESSOR_COUNT),
            integrated=bool(device.get_attribute(attribute.INTEGRATED)),
            can_map_host=bool(device.get_attribute(attribute.CAN_MAP_HOST_MEMORY)),
        )
        self.cuda_version = version_text(pycuda.driver.get_driver_version())
        self.dlpack_device = (DLPACK_CUDA, index)
        self.enter()
        self._priorities = self._driver.priorities()

    def enter(self) -> None:
        self._driver.call("choosing the device", "cuCtxSetCurrent", self._context)

    def memory(self) -> tuple[int, int]:
        return self._driver.memory()

    def malloc(self, size: int) -> int:
        address = self._driver.allocate("allocating memory", "cuMemAlloc_v2", size)
        if address is None:
            fail_memory(size, self)
        return address

    def free(self, address: int) -> None:
        self._driver.call("freeing memory", "cuMemFree_v2", address)

    def host_malloc(self, size: int, mapped: bool) -> HostMemory:
        flags = _HOST_DEVICEMAP if mapped else 0
        address = self._driver.allocate("allocating pinned memory", "cuMemHostAlloc", size, flags)
        if address is None:
            fail_pinned(size)
        find = "cuMemHostGetDevicePointer_v2"
        seen = self._driver.make("mapping memory", find, address, 0) if mapped else None
        return HostMemory(address, seen, size)

    def host_free(self, memory: HostMemory) -> None:
        self._driver.call("freeing pinned memory", "cuMemFreeHost", memory.address)

    def copy(self, target: int, source: int, size: int, kind: CopyKind, stream: int) -> None:
        self._driver.call("copying", _COPIES[kind], target, source, size, stream)

    def stream(self, high_priority: bool) -> int:
        priority = self._priorities[high_priority]
        make = "cuStreamCreateWithPriority"
        return self._driver.make("making a stream", make, _STREAM_NON_BLOCKING, priority)

    def stream_free(self, stream: int) -> None:
        self._driver.call("freeing a stream", "cuStreamDestroy_v2", stream)

    def synchronize(self, stream: int) -> None:
        self._driver.call("waiting for the device", "cuStreamSynchronize", stream)

    def synchronize_device(self) -> None:
        self._driver.call("waiting for the device", "cuCtxSynchronize")

    def event(self, timing: bool = False, sleeping: bool = False) -> int:
        flags = (0 if timing else _EVENT_DISABLE_TIMING) | (_EVENT_BLOCKING_SYNC if sleeping else 0)
        return self._driver.make("making an event", "cuEventCreate", flags)

    def event_free(self, event: int) -> None:
        self._driver.call("freeing an event", "cuEventDestroy_v2", event)

    def record(self, event: int, stream: int) -> None:
        self._driver.call("recording an event", "cuEventRecord", event, stream)

    def happened(self, event: int) -> bool:
        return self._driver.happened(event)

    def wait_event(self, event: int) -> None:
        self._driver.call("waiting for the device", "cuEventSynchronize", event)

    def stream_wait_event(self, stream: int, event: int) -> None:
        self._driver.call("joining streams", "cuStreamWaitEvent", stream, event, 0)

    def elapsed_ms(self, start: int, end: int) -> float:
        return self._driver.elapsed_ms(start, end)

    def begin_capture(self, stream: int) -> None:
        self._driver.call("beginning a graph", "cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        recorded = ctypes.c_void_p()
        self._driver.call("ending a graph", "cuStreamEndCapture", stream, ctypes.byref(recorded))
        try:
            return self._driver.make("making a graph", "cuGraphInstantiateWithFlags", recorded, 0)
        finally:
            self._driver.call("freeing a recording", "cuGraphDestroy", recorded)

    def launch_graph(self, graph: int, stream: int) -> None:
        self._driver.call("launching a graph", "cuGraphLaunch", graph, stream)

    def graph_free(self, graph: int) -> None:
        self._driver.call("freeing a graph", "cuGraphExecDestroy", graph)

    def compile(self, source: str, function: str) -> int:
        # Kept for good, and so loaded once: who made it first may be gone before who uses it last.
        key = (source, function)
        if key not in self._kernels:
            self._kernels[key] = self._compile(source, function)
        return self._kernels[key]

    def _compile(self, source: str, function: str) -> int:
        from pycuda.compiler import compile as nvcc

        major, minor = self.device.compute_capability
        try:
            # Products and sums stay apart, as the processor rounds them.
            options = ["-fmad=false"]
            arch = f"sm_{major}{minor}"
            cubin = nvcc(source, nvcc=_find_nvcc(), options=options, no_extern_c=True, arch=arch)
        except (pycuda.driver.CompileError, OSError) as error:
            line = " ".join(str(error).split())[:300]
            raise CompilerError(f"nvcc cannot compile a kernel ({line}): install cuda-nvcc") from error
        module = self._driver.make("loading a kernel", "cuModuleLoadData", cubin)
        return self._driver.make("finding a kernel", "cuModuleGetFunction", module, function.encode())

    def launch(self, kernel: int, grid: Size3, block: Size3, arguments: Arguments, stream: int) -> None:
        pointers = pointers_to(arguments)
        sizes = (*grid, *block, 0)
        self._driver.call("running a kernel", "cuLaunchKernel", kernel, *sizes, stream, pointers, None)


def _find_nvcc() -> str:
    """CUDA's compiler: that of the path, or where JetPack puts it without naming it there."""
    usual = _CUDA / "bin" / "nvcc"
    return shutil.which("nvcc") or (str(usual) if usual.is_file() else "nvcc")


def _handle(context: pycuda.driver.Context, driver: LibCuda) -> int:
    """CUDA's number of a context, which pycuda does not tell."""
    context.push()
    try:
        return driver.make("asking for the context", "cuCtxGetCurrent")
    finally:
        context.pop()


_open: OpenCuda = PyCuda
_: type[CudaApi] = PyCuda
