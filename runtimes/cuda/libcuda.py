"""CUDA by its driver library and ctypes; a binding adds only the device's context and a compiler.

pycuda has neither stream priorities nor graphs, its streams cannot be made from a handle, and its memory is
bound to threads; cuda-python before 12.9.2 keeps the interpreter locked while it waits. ctypes lets other
threads run meanwhile. Declarations: cuda.h of CUDA 12, the same in 13.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

from sam_edge.errors import EngineError

from .api import (
    DLPACK_CUDA,
    OUT_OF_MEMORY,
    Arguments,
    CudaDevice,
    HostMemory,
    Size3,
    fail,
    fail_pinned,
    out_of_memory,
)

LIBRARY = "libcuda.so.1"
_HOST_DEVICEMAP = 2
_STREAM_NON_BLOCKING = 1
_EVENT_BLOCKING_SYNC = 1
_EVENT_DISABLE_TIMING = 2
_CAPTURE_THREAD_LOCAL = 1

_SIGNATURES: dict[str, list[Any]] = {
    "cuGetErrorName": [c_int, POINTER(c_char_p)],
    "cuCtxGetCurrent": [POINTER(c_void_p)],
    "cuCtxSetCurrent": [c_void_p],
    "cuCtxSynchronize": [],
    "cuMemGetInfo_v2": [POINTER(c_size_t), POINTER(c_size_t)],
    "cuMemAlloc_v2": [POINTER(c_void_p), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemHostAlloc": [POINTER(c_void_p), c_size_t, c_uint],
    "cuMemHostGetDevicePointer_v2": [POINTER(c_void_p), c_void_p, c_uint],
    "cuMemFreeHost": [c_void_p],
    "cuMemcpyAsync": [c_uint64, c_uint64, c_size_t, c_void_p],
    "cuCtxGetStreamPriorityRange": [POINTER(c_int), POINTER(c_int)],
    "cuStreamCreateWithPriority": [POINTER(c_void_p), c_uint, c_int],
    "cuStreamDestroy_v2": [c_void_p],
    "cuStreamSynchronize": [c_void_p],
    "cuEventCreate": [POINTER(c_void_p), c_uint],
    "cuEventDestroy_v2": [c_void_p],
    "cuEventRecord": [c_void_p, c_void_p],
    "cuEventSynchronize": [c_void_p],
    "cuStreamBeginCapture_v2": [c_void_p, c_int],
    "cuStreamEndCapture": [c_void_p, POINTER(c_void_p)],
    "cuGraphInstantiateWithFlags": [POINTER(c_void_p), c_void_p, c_uint64],
    "cuGraphDestroy": [c_void_p],
    "cuGraphExecDestroy": [c_void_p],
    "cuGraphLaunch": [c_void_p, c_void_p],
    "cuModuleLoadData": [POINTER(c_void_p), c_char_p],
    "cuModuleGetFunction": [POINTER(c_void_p), c_void_p, c_char_p],
    "cuLaunchKernel": [c_void_p, *[c_uint] * 7, c_void_p, POINTER(c_void_p), POINTER(c_void_p)],
}
"""Function -> types of its arguments; every one returns an error number."""


class LibCuda:
    """The driver library; `call` raises EngineError where it reports an error."""

    def __init__(self, library: str | None = None) -> None:
        try:
            self._library = ctypes.CDLL(library or LIBRARY)
            for name, arguments in _SIGNATURES.items():
                function = getattr(self._library, name)
                function.argtypes = arguments
                function.restype = c_int
        except (OSError, AttributeError) as error:
            raise EngineError(
                f"the NVIDIA driver's library cannot be used ({error})", hint="install it"
            ) from error

    def call(self, doing: str, function: str, *arguments: Any) -> None:
        """Call a function for what it does."""
        code = getattr(self._library, function)(*arguments)
        if code:
            fail(code, self._name(code), doing)

    def make(self, doing: str, function: str, *arguments: Any) -> int:
        """The handle that a function writes to where its first argument points."""
        handle = c_void_p()
        self.call(doing, function, byref(handle), *arguments)
        return handle.value or 0

    def allocate(self, doing: str, function: str, *arguments: Any) -> int | None:
        """The address that a function writes to where its first argument points; None if memory is out."""
        address = c_void_p()
        code = getattr(self._library, function)(byref(address), *arguments)
        if code not in {0, OUT_OF_MEMORY}:
            fail(code, self._name(code), doing)
        return None if code else address.value

    def _name(self, code: int) -> str:
        name = c_char_p()
        self._library.cuGetErrorName(code, byref(name))
        return (name.value or b"unknown error").decode()


class DriverCuda(ABC):
    """A device in its primary context. A binding opens it and writes `cubin`."""

    def __init__(self, driver: LibCuda, context: int, device: CudaDevice, version: int) -> None:
        """`context` is the handle of the primary context, which the binding retains; `version` is the driver's
        CUDA, such as 12060."""
        self._driver = driver
        self._context = context
        self._kernels: dict[tuple[str, str], int] = {}
        self.device = device
        self.cuda_version = f"{version // 1000}.{version % 1000 // 10}"
        self.dlpack_device = (DLPACK_CUDA, device.index)
        self.enter()
        lowest, highest = c_int(), c_int()
        driver.call("asking for priorities", "cuCtxGetStreamPriorityRange", byref(lowest), byref(highest))
        self._priorities = {False: lowest.value, True: highest.value}

    @abstractmethod
    def cubin(self, source: str) -> bytes:
        """Machine code of CUDA C++ for this device; products and sums stay apart, as the processor rounds
        them. Raises CompilerError."""

    def enter(self) -> None:
        self._driver.call("choosing the device", "cuCtxSetCurrent", self._context)

    def memory(self) -> tuple[int, int]:
        free, total = c_size_t(), c_size_t()
        self._driver.call("asking for memory", "cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def malloc(self, size: int) -> int:
        address = self._driver.allocate("allocating memory", "cuMemAlloc_v2", size)
        if address is None:
            raise EngineError(out_of_memory(size, self))
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

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        self._driver.call("copying", "cuMemcpyAsync", target, source, size, stream)

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

    def event(self, sleeping: bool) -> int:
        flags = _EVENT_DISABLE_TIMING | (_EVENT_BLOCKING_SYNC if sleeping else 0)
        return self._driver.make("making an event", "cuEventCreate", flags)

    def event_free(self, event: int) -> None:
        self._driver.call("freeing an event", "cuEventDestroy_v2", event)

    def record(self, event: int, stream: int) -> None:
        self._driver.call("recording an event", "cuEventRecord", event, stream)

    def wait_event(self, event: int) -> None:
        self._driver.call("waiting for the device", "cuEventSynchronize", event)

    def begin_capture(self, stream: int) -> None:
        self._driver.call("beginning a graph", "cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        recorded = c_void_p()
        self._driver.call("ending a graph", "cuStreamEndCapture", stream, byref(recorded))
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
            module = self._driver.make("loading a kernel", "cuModuleLoadData", self.cubin(source))
            make = "cuModuleGetFunction"
            self._kernels[key] = self._driver.make("finding a kernel", make, module, function.encode())
        return self._kernels[key]

    def launch(self, kernel: int, grid: Size3, block: Size3, arguments: Arguments, stream: int) -> None:
        # They point to the arguments, which have to live until the call returns.
        pointers = (c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        self._driver.call(
            "running a kernel", "cuLaunchKernel", kernel, *grid, *block, 0, stream, pointers, None
        )
