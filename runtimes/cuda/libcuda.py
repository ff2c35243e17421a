"""CUDA's driver library by ctypes: what the bindings lack.

pycuda knows neither stream priorities nor graphs, its streams cannot be made from a handle, and its memory is
bound to threads. Calls by ctypes leave the interpreter to other threads while they wait. Declarations: cuda.h
of CUDA 12, the same in 13.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

from sam_edge.errors import EngineError

from .api import NOT_READY, OUT_OF_MEMORY, fail

LIBRARY = "libcuda.so.1"

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
    "cuCtxGetStreamPriorityRange": [POINTER(c_int), POINTER(c_int)],
    "cuStreamCreateWithPriority": [POINTER(c_void_p), c_uint, c_int],
    "cuStreamDestroy_v2": [c_void_p],
    "cuStreamSynchronize": [c_void_p],
    "cuStreamWaitEvent": [c_void_p, c_void_p, c_uint],
    "cuEventCreate": [POINTER(c_void_p), c_uint],
    "cuEventDestroy_v2": [c_void_p],
    "cuEventRecord": [c_void_p, c_void_p],
    "cuEventQuery": [c_void_p],
    "cuEventSynchronize": [c_void_p],
    "cuEventElapsedTime": [POINTER(c_float), c_void_p, c_void_p],
    "cuMemcpyHtoDAsync_v2": [c_uint64, c_void_p, c_size_t, c_void_p],
    "cuMemcpyDtoHAsync_v2": [c_void_p, c_uint64, c_size_t, c_void_p],
    "cuMemcpyDtoDAsync_v2": [c_uint64, c_uint64, c_size_t, c_void_p],
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

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the current context's device."""
        free, total = c_size_t(), c_size_t()
        self.call("asking for memory", "cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def happened(self, event: int) -> bool:
        """Whether all work before the event is done."""
        code = self._library.cuEventQuery(event)
        if code not in {0, NOT_READY}:
            fail(code, self._name(code), "asking for an event")
        return bool(code == 0)

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two events."""
        answer = c_float()
        self.call("reading the time", "cuEventElapsedTime", byref(answer), start, end)
        return answer.value

    def priorities(self) -> dict[bool, int]:
        """Priority of ordinary and (True) of urgent streams."""
        lowest, highest = c_int(), c_int()
        self.call("asking for priorities", "cuCtxGetStreamPriorityRange", byref(lowest), byref(highest))
        return {False: lowest.value, True: highest.value}

    def _name(self, code: int) -> str:
        name = c_char_p()
        self._library.cuGetErrorName(code, byref(name))
        return (name.value or b"unknown error").decode()
