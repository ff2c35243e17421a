"""A CUDA device through NVIDIA's cuda-python (https://nvidia.github.io/cuda-python), versions 12.6.1 to 13."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cuda.bindings import driver, nvrtc

from sam_edge.errors import EngineError

from .api import CudaApi, CudaDevice, LibCuda, OpenCuda
from .errors import CompilerError, check_index, fail


class CudaPython(CudaApi):
    """Its driver API gives the primary context, and nvrtc compiles."""

    def __init__(self, index: int = 0) -> None:
        try:
            _call("starting the driver", driver.cuInit, 0)
        except RuntimeError as error:  # cuda-python's, when it finds no libcuda
            raise EngineError(f"no NVIDIA driver is here ({error})", hint="install it") from error
        check_index(index, _call("looking for devices", driver.cuDeviceGetCount))
        number = _call("looking for devices", driver.cuDeviceGet, index)

        def ask(name: str) -> int:
            attribute = getattr(driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
            return int(_call("asking the device", driver.cuDeviceGetAttribute, attribute, number))

        device = CudaDevice(
            index=index,
            name=_text(_call("asking the device", driver.cuDeviceGetName, 128, number)),
            compute_capability=(ask("COMPUTE_CAPABILITY_MAJOR"), ask("COMPUTE_CAPABILITY_MINOR")),
            sm_count=ask("MULTIPROCESSOR_COUNT"),
        )
        context = int(_call("opening the device", driver.cuDevicePrimaryCtxRetain, number))
        super().__init__(LibCuda(), context, device, _call("asking the driver", driver.cuDriverGetVersion))

    def cubin(self, source: str) -> bytes:
        return compile_cubin(source, self.device.compute_capability)


def compile_cubin(source: str, compute_capability: tuple[int, int]) -> bytes:
    """Machine code of CUDA C++ for one compute capability. Needs no device.

    Raises:
        CompilerError: it is not installed, or refuses the source or the architecture; quotes its first error.
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
    """What a CUDA function returns beside its error code: nothing, or one value."""
    code, *values = function(*arguments)
    if int(code):
        fail(int(code), code.name, doing)
    return values[0] if values else None


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode(errors="replace").strip()


_open: OpenCuda = CudaPython
