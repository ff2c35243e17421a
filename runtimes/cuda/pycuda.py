"""A CUDA device through pycuda (https://documen.tician.de/pycuda).

Of pycuda's ways to a context, `autoinit` makes one of its own, which TensorRT, PyTorch and onnxruntime do not
share, and `autoprimaryctx` leaves the primary one on the stack that pycuda keeps for the importing thread:
pycuda aborts the process when a thread ends with something on its stack. So the context is retained here, and
the stack left as it was.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pycuda.driver

from sam_edge.errors import EngineError

from .api import CudaApi, CudaDevice, LibCuda, OpenCuda
from .errors import CompilerError, check_index

_CUDA = Path("/usr/local/cuda")


class PyCuda(CudaApi):
    """It gives the primary context, and nvcc compiles."""

    def __init__(self, index: int = 0) -> None:
        driver = LibCuda()
        try:
            pycuda.driver.init()
            check_index(index, pycuda.driver.Device.count())
            device = pycuda.driver.Device(index)
            # The context lives as long as this object.
            self._retained = device.retain_primary_context()
            context = _handle(self._retained, driver)
        except pycuda.driver.Error as error:
            line = " ".join(str(error).split())
            raise EngineError(f"pycuda finds no usable CUDA device ({line}): check nvidia-smi") from error
        attribute = pycuda.driver.device_attribute
        described = CudaDevice(
            index=index,
            name=device.name(),
            compute_capability=device.compute_capability(),
            sm_count=device.get_attribute(attribute.MULTIPROCESSOR_COUNT),
        )
        super().__init__(driver, context, described, pycuda.driver.get_driver_version())

    def cubin(self, source: str) -> bytes:
        from pycuda.compiler import compile as nvcc

        major, minor = self.device.compute_capability
        try:
            options = ["-fmad=false"]
            arch = f"sm_{major}{minor}"
            found: bytes = nvcc(source, nvcc=_find_nvcc(), options=options, no_extern_c=True, arch=arch)
        except (pycuda.driver.CompileError, OSError) as error:
            line = " ".join(str(error).split())[:300]
            raise CompilerError(f"nvcc cannot compile a kernel ({line}): install cuda-nvcc") from error
        return found


def _find_nvcc() -> str:
    """CUDA's compiler: that of the path, or where JetPack puts it without naming it there."""
    usual = _CUDA / "bin" / "nvcc"
    return shutil.which("nvcc") or (str(usual) if usual.is_file() else "nvcc")


def _handle(context: pycuda.driver.Context, driver: LibCuda) -> int:
    """CUDA's number of a context, which pycuda keeps to itself."""
    context.push()
    try:
        return driver.make("asking for the context", "cuCtxGetCurrent")
    finally:
        context.pop()


_open: OpenCuda = PyCuda
