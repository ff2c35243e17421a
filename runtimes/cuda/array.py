"""An array on the device that numpy, PyTorch, CuPy and our sessions can read.

Protocols: __array__ (numpy, copies to the host) and DLPack, without a copy
(https://dmlc.github.io/dlpack/latest/python_spec.html).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .api import CudaApi
from .memory import Block, Staging

_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


class DeviceArray:
    """A C-contiguous array in device memory, complete when it is handed out: no stream has to be waited for.

    Whoever reads it asynchronously keeps it alive until done, as with any array.
    """

    def __init__(self, cuda: CudaApi, block: Block, shape: tuple[int, ...], dtype: str) -> None:
        self._cuda = cuda
        self._block = block
        self.shape = shape
        self.dtype = np.dtype(dtype)

    @property
    def address(self) -> int:
        """Where it lies on the device."""
        return self._block.address

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("an array on the device cannot be seen from the host without a copy")
        self._cuda.enter()
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        staging = Staging(self._cuda, size)
        stream = self._cuda.stream(high_priority=True)
        try:
            self._cuda.copy(staging.address, self.address, size, stream)
            self._cuda.synchronize(stream)
            return staging.view(self.shape, self.dtype.name).astype(dtype or self.dtype)
        finally:
            self._cuda.stream_free(stream)
            staging.close()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._cuda.dlpack_device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule that shares the memory and keeps it. Nothing is pending, so `stream` need not wait."""
        if copy or dl_device not in {None, self.__dlpack_device__()}:
            raise BufferError("this array gives its own memory alone: take numpy.asarray for a copy")
        # numpy makes the capsule, of memory that it never reads, and keeps the block as long as it is used.
        memory: Any = (ctypes.c_char * self._block.size).from_address(self.address)
        memory.owner = self._block
        count = int(np.prod(self.shape))
        capsule: Any = np.frombuffer(memory, self.dtype, count).reshape(self.shape).__dlpack__()
        # DLTensor begins with the data's address, then says the kind and number of its device.
        device = (ctypes.c_int32 * 2).from_address(_get_pointer(capsule, b"dltensor") + 8)
        device[0], device[1] = self.__dlpack_device__()
        return capsule
