"""CUDA's errors as one line that says what was done and what helps."""

from __future__ import annotations

from typing import NoReturn

from sam_edge.errors import EngineError
from sam_edge.host.nvidia_driver import REASONS

MIB = 1 << 20
OUT_OF_MEMORY = 2
_HINTS = REASONS | {
    OUT_OF_MEMORY: "out of memory: close other programs, or raise the limit of locked memory (ulimit -l)",
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


class CompilerError(EngineError):
    """CUDA's compiler is missing, refuses, or makes what this device or its driver does not run."""


class OutOfMemoryError(EngineError):
    """The device, or the processor's memory that can be pinned, is full."""


def check_index(index: int, count: int) -> None:
    """Raise EngineError unless there is a device of that number."""
    if count == 0:
        fail(100, "cudaErrorNoDevice", "looking for a device")
    if not 0 <= index < count:
        raise EngineError(f"there is no CUDA device {index}", hint=f"choose one of 0 to {count - 1}")


def fail(code: int, name: str, doing: str) -> NoReturn:
    """Raise the EngineError of a CUDA error: what was done, CUDA's name for it, and what helps."""
    hint = _HINTS.get(code, "see CUDA's list of errors")
    kinds = {OUT_OF_MEMORY: OutOfMemoryError, **dict.fromkeys(_UNFIT_KERNEL, CompilerError)}
    raise kinds.get(code, EngineError)(f"CUDA failed while {doing} ({name}, {code}): {hint}")


def out_of_memory(size: int | None, memory: tuple[int, int], device: str) -> str:
    """That the device has no memory left: how much was asked, if known, and how much of `memory` (bytes free
    and in all) there is."""
    free, total = memory
    asked = "" if size is None else f"{size / MIB:.1f} MiB were asked, "
    return (
        f"out of device memory: {asked}{free / MIB:.0f} of {total / MIB:.0f} MiB are free on "
        f"{device}; close other programs, or export a smaller input or --precision fp16"
    )
