"""What we ask of CUDA: memory, streams, events, graphs and one kind of kernel launch.

A binding (NVIDIA's cuda-python or pycuda, whichever is installed) finds the device, its primary context, which
PyTorch, onnxruntime and TensorRT share, and a compiler. The rest are calls of the driver library by ctypes,
the same for both: pycuda has neither stream priorities nor graphs, its memory is bound to threads, and
cuda-python before 12.9.2 keeps the interpreter locked while it waits. Declarations: cuda.h of CUDA 12, the same
in 13. Addresses and handles are plain numbers, as in C; whoever makes one gives it back.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, TypeAlias

from sam_edge.errors import EngineError, MissingExtraError
from sam_edge.host.advice import cuda_install
from sam_edge.host.machine import this_machine
from sam_edge.host.nvidia_driver import probe
from sam_edge.lazy import import_object
from sam_edge.sessions.choice import is_installed as _is_installed

from .errors import OutOfMemoryError, fail, out_of_memory

LIBRARY = "libcuda.so.1"
_STREAM_NON_BLOCKING = 1
_EVENT_BLOCKING_SYNC = 1
_EVENT_DISABLE_TIMING = 2
_CAPTURE_THREAD_LOCAL = 1
_DLPACK_CUDA = 2
Size3 = tuple[int, int, int]
"""Columns, rows and layers of a grid or of its blocks."""
Arguments: TypeAlias = "Sequence[ctypes._SimpleCData[int] | ctypes._SimpleCData[float]]"
"""What a kernel is called with, as C values; pointers are ctypes.c_void_p."""

_SIGNATURES: dict[str, list[Any]] = {
    "cuGetErrorName": [c_int, POINTER(c_char_p)],
    "cuCtxGetCurrent": [POINTER(c_void_p)],
    "cuCtxSetCurrent": [c_void_p],
    "cuMemGetInfo_v2": [POINTER(c_size_t), POINTER(c_size_t)],
    "cuMemAlloc_v2": [POINTER(c_void_p), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemHostAlloc": [POINTER(c_void_p), c_size_t, c_uint],
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


@dataclass(frozen=True)
class CudaDevice:
    """One GPU."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    """Such as (8, 7)."""
    sm_count: int
    """Streaming multiprocessors."""


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

    def _name(self, code: int) -> str:
        name = c_char_p()
        self._library.cuGetErrorName(code, byref(name))
        return (name.value or b"unknown error").decode()


class CudaApi(ABC):
    """CUDA on one device. Any thread may call it after `enter`. A binding opens the device and writes `cubin`.

    Every call raises EngineError where CUDA reports an error, also one of earlier asynchronous work.
    """

    def __init__(self, driver: LibCuda, context: int, device: CudaDevice, version: int) -> None:
        """`context` is the handle of the primary context, which the binding retains; `version` is the driver's
        CUDA, such as 12060."""
        self._driver = driver
        self._context = context
        self._kernels: dict[tuple[str, str], int] = {}
        self.device = device
        self.cuda_version = f"{version // 1000}.{version % 1000 // 10}"
        self.dlpack_device = (_DLPACK_CUDA, device.index)
        self.enter()
        lowest, highest = c_int(), c_int()
        driver.call("asking for priorities", "cuCtxGetStreamPriorityRange", byref(lowest), byref(highest))
        self._priorities = {False: lowest.value, True: highest.value}

    @abstractmethod
    def cubin(self, source: str) -> bytes:
        """Machine code of CUDA C++ for this device; products and sums stay apart, as the processor rounds
        them. Raises CompilerError."""

    def enter(self) -> None:
        """Make the device the calling thread's own. Cheap; to be called before the rest in any thread."""
        self._driver.call("choosing the device", "cuCtxSetCurrent", self._context)

    def memory(self) -> tuple[int, int]:
        """Free and total device memory, in bytes."""
        free, total = c_size_t(), c_size_t()
        self._driver.call("asking for memory", "cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def malloc(self, size: int) -> int:
        """Address of `size` bytes of device memory."""
        try:
            return self._driver.make("allocating memory", "cuMemAlloc_v2", size)
        except OutOfMemoryError as error:
            raise EngineError(out_of_memory(size, self.memory(), self.device.name)) from error

    def free(self, address: int) -> None:
        self._driver.call("freeing memory", "cuMemFree_v2", address)

    def host_malloc(self, size: int) -> int:
        """Address of pinned memory of the processor."""
        return self._driver.make("allocating pinned memory", "cuMemHostAlloc", size, 0)

    def host_free(self, address: int) -> None:
        self._driver.call("freeing pinned memory", "cuMemFreeHost", address)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy bytes between host and device when the stream comes to it. Host memory has to be pinned."""
        self._driver.call("copying", "cuMemcpyAsync", target, source, size, stream)

    def stream(self, high_priority: bool) -> int:
        """A new stream, which waits for no other. Kernels of high priority go first when a place is free."""
        priority = self._priorities[high_priority]
        make = "cuStreamCreateWithPriority"
        return self._driver.make("making a stream", make, _STREAM_NON_BLOCKING, priority)

    def stream_free(self, stream: int) -> None:
        self._driver.call("freeing a stream", "cuStreamDestroy_v2", stream)

    def synchronize(self, stream: int) -> None:
        """Wait until all work on the stream is done."""
        self._driver.call("waiting for the device", "cuStreamSynchronize", stream)

    def event(self, sleeping: bool) -> int:
        """A new event; `sleeping` lets threads that wait for it give up their core."""
        flags = _EVENT_DISABLE_TIMING | (_EVENT_BLOCKING_SYNC if sleeping else 0)
        return self._driver.make("making an event", "cuEventCreate", flags)

    def event_free(self, event: int) -> None:
        self._driver.call("freeing an event", "cuEventDestroy_v2", event)

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream comes to it."""
        self._driver.call("recording an event", "cuEventRecord", event, stream)

    def wait_event(self, event: int) -> None:
        """Wait until the event has happened."""
        self._driver.call("waiting for the device", "cuEventSynchronize", event)

    def begin_capture(self, stream: int) -> None:
        """Record what follows on the stream instead of doing it."""
        self._driver.call("beginning a graph", "cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """A graph, ready to launch, of what was recorded."""
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
        """A kernel of CUDA C++ source, compiled for this device; raises CompilerError.

        The function is declared extern "C".
        """
        # Kept for good, and so loaded once: who made it first may be gone before who uses it last.
        key = (source, function)
        if key not in self._kernels:
            module = self._driver.make("loading a kernel", "cuModuleLoadData", self.cubin(source))
            make = "cuModuleGetFunction"
            self._kernels[key] = self._driver.make("finding a kernel", make, module, function.encode())
        return self._kernels[key]

    def launch(self, kernel: int, grid: Size3, block: Size3, arguments: Arguments, stream: int) -> None:
        """Run a kernel on the stream."""
        # They point to the arguments, which have to live until the call returns.
        pointers = (c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        self._driver.call(
            "running a kernel", "cuLaunchKernel", kernel, *grid, *block, 0, stream, pointers, None
        )


class OpenCuda(Protocol):
    """Opens a device through one of the bindings."""

    def __call__(self, index: int = 0) -> CudaApi: ...


# Python package -> where its backend lives, the better first
BINDINGS = {
    "cuda.bindings": "sam_edge.runtimes.cuda.cuda_python:CudaPython",
    "pycuda": "sam_edge.runtimes.cuda.pycuda:PyCuda",
}
_opened: dict[int, CudaApi] = {}
_opening = Lock()


def find_cuda(index: int = 0) -> CudaApi:
    """The device of that number; one object a process, whoever asks. The driver is asked first.

    Raises:
        EngineError: no device, a driver that is missing or too old, or a binding that cannot be loaded.
        MissingExtraError: neither cuda-python nor pycuda is installed.
    """
    with _opening:
        if index not in _opened:
            # The bindings report a missing driver as an old one.
            probe()
            library = next((name for name in BINDINGS if _is_installed(name)), None)
            if library is None:
                raise MissingExtraError("cuda-python", "tensorrt", hint=cuda_install(this_machine()))
            try:
                open_cuda: OpenCuda = import_object(BINDINGS[library])
                _opened[index] = open_cuda(index)
            except (ImportError, OSError) as error:
                line = " ".join(str(error).split())
                raise EngineError(
                    f"{library} is installed but cannot be loaded ({line}): is the NVIDIA driver there?"
                ) from error
        return _opened[index]
