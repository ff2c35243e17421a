"""NVIDIA's driver, asked through its C library: does it work, what does it speak, how much memory is free."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sam_edge.errors import EngineError

LIBRARY = "libcuda.so.1"
REASONS = {
    2: "the device is out of memory",
    34: "the driver library is a stub without a device: do not put the toolkit's stubs on LD_LIBRARY_PATH",
    100: "it sees no CUDA device: check nvidia-smi and CUDA_VISIBLE_DEVICES, start a container with --gpus all",
    101: "CUDA_VISIBLE_DEVICES names no device",
    802: "the system is not ready yet: NVSwitch machines need nvidia-fabricmanager",
    803: "the driver's library and its kernel module differ: restart after the driver's update",
    804: "the driver is too old for the installed CUDA compatibility package: install a newer driver",
    999: "unknown error: restart, or load the driver's module with nvidia-modprobe -u",
}
"""CUresult -> what it means here, and what helps."""
OLDEST_DRIVER = {12: "525.60", 13: "580.65"}
"""CUDA major version -> the first Linux driver that runs it."""

OpenLibrary = Callable[[str], Any]


@dataclass(frozen=True)
class CudaDevice:
    """A GPU as its driver describes it."""

    name: str
    memory_mb: int
    compute_capability: str
    """Such as 8.7."""


@dataclass(frozen=True)
class Driver:
    """A driver that works."""

    cuda: str
    """The newest CUDA version that it speaks, such as 12.6."""
    devices: tuple[CudaDevice, ...]


def probe(open_library: OpenLibrary = ctypes.CDLL) -> Driver:
    """Start the driver and list its devices. Takes tenths of a second where there are some.

    Raises:
        EngineError: no driver, one that does not start, or no device.
    """
    library = _open(open_library)
    version, count = ctypes.c_int(), ctypes.c_int()
    _check(library.cuInit(0))
    _check(library.cuDriverGetVersion(ctypes.byref(version)))
    _check(library.cuDeviceGetCount(ctypes.byref(count)))
    devices = tuple(_device(library, number) for number in range(count.value))
    return Driver(f"{version.value // 1000}.{version.value % 1000 // 10}", devices)


def free_memory_mb(open_library: OpenLibrary = ctypes.CDLL) -> int | None:
    """Megabytes free on the first device, or None where it is not known."""
    try:
        library = _open(open_library)
        context = ctypes.c_void_p()
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        _check(library.cuInit(0))
        _check(library.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
        try:
            _check(library.cuCtxPushCurrent_v2(context))
            _check(library.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)))
            _check(library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())))
        finally:
            library.cuDevicePrimaryCtxRelease_v2(0)
    except (EngineError, AttributeError):
        return None
    return free.value >> 20


def check_cuda_version(driver: Driver, wanted: str | None, library: str, hint: str | None = None) -> None:
    """Raise EngineError where `library`, built for CUDA `wanted`, needs a newer driver than this one.

    `hint` is for machines whose driver cannot be replaced; None names the driver to install.
    """
    if not wanted:
        return
    major = int(wanted.partition(".")[0])
    if int(driver.cuda.partition(".")[0]) < major:
        hint = hint or f"install driver {OLDEST_DRIVER.get(major, 'for that version')} or newer"
        raise EngineError(
            f"{library} is built for CUDA {wanted}, the NVIDIA driver speaks {driver.cuda} at most: {hint}"
        )


def _open(open_library: OpenLibrary) -> Any:
    try:
        return open_library(LIBRARY)
    except OSError as error:
        raise EngineError(
            f"no NVIDIA GPU here, or no driver for it ({LIBRARY} is not found)",
            hint="install the driver, or pass the devices into the container",
        ) from error


def _device(library: Any, number: int) -> CudaDevice:
    name = ctypes.create_string_buffer(128)
    memory, major, minor = ctypes.c_size_t(), ctypes.c_int(), ctypes.c_int()
    _check(library.cuDeviceGetName(name, len(name), number))
    _check(library.cuDeviceTotalMem_v2(ctypes.byref(memory), number))
    # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
    _check(library.cuDeviceGetAttribute(ctypes.byref(major), 75, number))
    _check(library.cuDeviceGetAttribute(ctypes.byref(minor), 76, number))
    text = name.value.decode(errors="replace")
    return CudaDevice(text, memory.value >> 20, f"{major.value}.{minor.value}")


def _check(result: int) -> None:
    if result:
        reason = REASONS.get(result, f"error {result}")
        raise EngineError(f"the NVIDIA driver does not work: {reason}")
