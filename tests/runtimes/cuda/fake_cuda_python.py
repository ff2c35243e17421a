"""cuda-python's modules, as far as we use them: the device and its context, and the compiler.

The package has 44 MB, and does nothing without a GPU. Answers are as in cuda.bindings of 12 and 13: an error
code first, then what was asked for.
"""

# ruff: noqa: N802  # the names are CUDA's

from __future__ import annotations

import ctypes
from enum import IntEnum
from types import ModuleType
from typing import Any

OPTIONS = [b"--gpu-architecture=sm_87", b"--fmad=false"]
Answer = tuple[Any, ...]


class Code(IntEnum):
    """Error numbers of all libraries, as far as we meet them."""

    SUCCESS = 0
    NVRTC_ERROR_COMPILATION = 6


class Attribute(IntEnum):
    """A device's attributes; here their values are their numbers."""

    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 8
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 7
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16


class Driver(ModuleType):
    """Stands for cuda.bindings.driver."""

    count = 1
    CUdevice_attribute = Attribute

    def cuInit(self, flags: int) -> Answer:
        return (Code.SUCCESS,)

    def cuDeviceGetCount(self) -> Answer:
        return Code.SUCCESS, self.count

    def cuDeviceGet(self, index: int) -> Answer:
        return Code.SUCCESS, index

    def cuDeviceGetName(self, length: int, device: int) -> Answer:
        return Code.SUCCESS, b"Orin\0\0"

    def cuDeviceGetAttribute(self, attribute: Attribute, device: int) -> Answer:
        return Code.SUCCESS, int(attribute)

    def cuDevicePrimaryCtxRetain(self, device: int) -> Answer:
        return Code.SUCCESS, 0x70000000C0

    def cuDriverGetVersion(self) -> Answer:
        return Code.SUCCESS, 12060


class Compiler(ModuleType):
    """Stands for cuda.bindings.nvrtc; a program is its source."""

    is_installed = True

    def nvrtcCreateProgram(self, source: bytes, name: bytes, *headers: Any) -> Answer:
        if not self.is_installed:
            raise RuntimeError("Failure finding libnvrtc.so")
        return Code.SUCCESS, source

    @staticmethod
    def nvrtcCompileProgram(program: bytes, count: int, options: list[bytes]) -> Answer:
        # A fused product and sum is rounded once, and the image differs from the processor's.
        assert options == OPTIONS
        assert count == len(options)
        return (Code.NVRTC_ERROR_COMPILATION if program == b"wrong" else Code.SUCCESS,)

    @staticmethod
    def nvrtcGetProgramLogSize(program: bytes) -> Answer:
        return Code.SUCCESS, 40

    @staticmethod
    def nvrtcGetProgramLog(program: bytes, log: bytes) -> Answer:
        return _write(log, b"kernel.cu(1):\nerror: what is wrong?\0")

    @staticmethod
    def nvrtcGetCUBINSize(program: bytes) -> Answer:
        return Code.SUCCESS, 10

    @staticmethod
    def nvrtcGetCUBIN(program: bytes, cubin: bytes) -> Answer:
        return _write(cubin, b"cubin\0more")

    @staticmethod
    def nvrtcDestroyProgram(program: bytes) -> Answer:
        return (Code.SUCCESS,)


def _write(buffer: bytes, text: bytes) -> Answer:
    """As nvrtc does: into the bytes themselves, which Python says cannot change."""
    assert len(text) <= len(buffer)
    start = ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p)
    assert start.value is not None
    ctypes.memmove(start.value, text, len(text))
    return (Code.SUCCESS,)


def modules() -> dict[str, ModuleType]:
    """Name -> module, for sys.modules."""
    package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    driver, nvrtc = Driver("cuda.bindings.driver"), Compiler("cuda.bindings.nvrtc")
    vars(bindings).update(driver=driver, nvrtc=nvrtc)
    vars(package).update(bindings=bindings)
    return {module.__name__: module for module in (package, bindings, driver, nvrtc)}
