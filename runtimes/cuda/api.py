"""What we ask of CUDA: memory, streams, events, graphs and one kind of kernel launch.

Two bindings find the device and its compiler: NVIDIA's cuda-python or pycuda, whichever is installed. Both
work in the device's primary context, which PyTorch, onnxruntime and TensorRT share. Addresses and handles are
plain numbers, as in C; whoever makes one gives it back.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NoReturn, Protocol, TypeAlias

from sam_edge.errors import EngineError, MissingExtraError
from sam_edge.host.advice import cuda_install
from sam_edge.host.machine import this_machine
from sam_edge.host.nvidia_driver import REASONS, probe
from sam_edge.lazy import import_object
from sam_edge.sessions.backends import is_installed as _is_installed

MIB = 1 << 20
DLPACK_CUDA = 2
"""The number of CUDA devices in DLPack's list."""

Size3 = tuple[int, int, int]
"""Columns, rows and layers of a grid or of its blocks."""
Arguments: TypeAlias = "Sequence[ctypes._SimpleCData[int] | ctypes._SimpleCData[float]]"
"""What a kernel is called with, as C values; pointers are ctypes.c_void_p."""

OUT_OF_MEMORY = 2
_HINTS = REASONS | {
    OUT_OF_MEMORY: "out of device memory: close other programs that use the GPU",
    35: "the NVIDIA driver is older than the CUDA binding: update the driver, or install the binding of its "
    "version, such as pip install 'cuda-python==12.6.*' on JetPack 6",
    46: "the device is busy or forbidden: another process holds it alone",
    209: "the kernel was not compiled for this device",
    222: "the NVIDIA driver is too old for the compiled kernel: update the driver",
    700: "an illegal address was used on the device: restart the program, and report it",
    719: "a kernel failed on the device: restart the program, and report it",
}
"""Error number (equal in the runtime and the driver API) -> what it means and what helps."""
_UNFIT_KERNEL = {200, 209, 218, 222}
"""Errors of loading a kernel that a compiler of another version or for another device made."""


@dataclass(frozen=True)
class CudaDevice:
    """One GPU."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    """Such as (8, 7)."""
    sm_count: int
    """Streaming multiprocessors."""
    integrated: bool
    """Whether it shares the processor's memory, as on Jetson."""
    can_map_host: bool
    """Whether it can read and write pinned memory of the processor by itself."""


@dataclass(frozen=True)
class HostMemory:
    """Pinned memory of the processor."""

    address: int
    device_address: int | None
    """Where the device sees it, if it is mapped."""
    size: int


class CompilerError(EngineError):
    """CUDA's compiler is missing, refuses, or makes what this device or its driver does not run."""


class CudaApi(Protocol):
    """CUDA on one device. Any thread may call it after `enter`.

    Every call raises EngineError where CUDA reports an error, also one of earlier asynchronous work.
    """

    @property
    def device(self) -> CudaDevice: ...

    @property
    def cuda_version(self) -> str:
        """Newest CUDA that the driver speaks, such as 12.6."""
        ...

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """Type and number of the device in DLPack's terms."""
        ...

    def enter(self) -> None:
        """Make the device the calling thread's own. Cheap; to be called before the rest in any thread."""
        ...

    def memory(self) -> tuple[int, int]:
        """Free and total device memory, in bytes."""
        ...

    def malloc(self, size: int) -> int:
        """Address of `size` bytes of device memory."""
        ...

    def free(self, address: int) -> None: ...

    def host_malloc(self, size: int, mapped: bool) -> HostMemory:
        """Pinned memory; with `mapped` the device can use it without a copy."""
        ...

    def host_free(self, memory: HostMemory) -> None: ...

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy bytes between host and device when the stream comes to it. Host memory has to be pinned."""
        ...

    def stream(self, high_priority: bool) -> int:
        """A new stream, which waits for no other. Kernels of high priority go first when a place is free."""
        ...

    def stream_free(self, stream: int) -> None: ...

    def synchronize(self, stream: int) -> None:
        """Wait until all work on the stream is done."""
        ...

    def synchronize_device(self) -> None:
        """Wait until all work on all streams is done, also of other libraries; forbidden during a capture."""
        ...

    def event(self, sleeping: bool) -> int:
        """A new event; `sleeping` lets threads that wait for it give up their core."""
        ...

    def event_free(self, event: int) -> None: ...

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream comes to it."""
        ...

    def wait_event(self, event: int) -> None:
        """Wait until the event has happened."""
        ...

    def begin_capture(self, stream: int) -> None:
        """Record what follows on the stream instead of doing it."""
        ...

    def end_capture(self, stream: int) -> int:
        """A graph, ready to launch, of what was recorded."""
        ...

    def launch_graph(self, graph: int, stream: int) -> None: ...

    def graph_free(self, graph: int) -> None: ...

    def compile(self, source: str, function: str) -> int:
        """A kernel of CUDA C++ source, compiled for this device; the function is declared extern "C".

        Raises:
            CompilerError: there is no compiler, or none that fits.
        """
        ...

    def launch(self, kernel: int, grid: Size3, block: Size3, arguments: Arguments, stream: int) -> None:
        """Run a kernel on the stream."""
        ...


class OpenCuda(Protocol):
    """Opens a device through one of the bindings."""

    def __call__(self, index: int = 0) -> CudaApi: ...


# Python package -> where its backend lives, the better first
BINDINGS = {
    "cuda.bindings": "sam_edge.runtimes.cuda.cuda_python:CudaPython",
    "cuda.cudart": "sam_edge.runtimes.cuda.cuda_python:CudaPython",
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


def check_index(index: int, count: int) -> None:
    """Raise EngineError unless there is a device of that number."""
    if count == 0:
        fail(100, "cudaErrorNoDevice", "looking for a device")
    if not 0 <= index < count:
        raise EngineError(f"there is no CUDA device {index}", hint=f"choose one of 0 to {count - 1}")


def fail(code: int, name: str, doing: str) -> NoReturn:
    """Raise the EngineError of a CUDA error: what was done, CUDA's name for it, and what helps."""
    hint = _HINTS.get(code, "see CUDA's list of errors")
    kind = CompilerError if code in _UNFIT_KERNEL else EngineError
    raise kind(f"CUDA failed while {doing} ({name}, {code}): {hint}")


def out_of_memory(size: int | None, cuda: CudaApi) -> str:
    """That the device has no memory left: how much was asked, if that is known, and how much there is."""
    free, total = cuda.memory()
    asked = "" if size is None else f"{size / MIB:.1f} MiB were asked, "
    return (
        f"out of device memory: {asked}{free / MIB:.0f} of {total / MIB:.0f} MiB are free on "
        f"{cuda.device.name}; close other programs, or export a smaller input or --precision fp16"
    )


def fail_pinned(size: int) -> NoReturn:
    """Raise the EngineError of memory that the system does not pin: how much was asked, and is unused."""
    unused, total = (
        os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") / MIB for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES")
    )
    raise EngineError(
        (
            f"out of pinned memory: {size / MIB:.1f} MiB were asked, {unused:.0f} of the system's "
            f"{total:.0f} MiB are unused"
        ),
        hint="close other programs, or raise the limit of locked memory (ulimit -l)",
    )
