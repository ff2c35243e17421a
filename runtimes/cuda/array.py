"""An array on the device that numpy, PyTorch, CuPy and our engines can read.

Protocols: __array__ (numpy, copies to the host), __cuda_array_interface__ 3
(https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html) and DLPack
(https://dmlc.github.io/dlpack/latest/python_spec.html), both without a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sam_edge.errors import InputError

from .api import CudaApi
from .dlpack import make_capsule
from .memory import Block, Staging
from .release import wait_for_device


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

    def copy(self) -> NDArray[np.float32]:
        """A numpy copy."""
        self._cuda.enter()
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        staging = Staging(self._cuda, size, mapped=False)
        stream = self._cuda.stream(high_priority=True)
        try:
            self._cuda.copy(staging.address, self.address, size, stream)
            self._cuda.synchronize(stream)
            return staging.view(self.shape, self.dtype.name).copy()
        finally:
            self._cuda.stream_free(stream)
            staging.close()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("an array on the device cannot be seen from the host without a copy")
        return self.copy().astype(dtype or self.dtype, copy=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            # Nothing is pending on any stream.
            "stream": None,
        }

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
        return make_capsule(self._block, self.address, self.shape, self.dtype, self._cuda.dlpack_device)


class DeviceView:
    """Another library's array on the device, read where it lies."""

    def __init__(self, name: str, array: Any) -> None:
        """Raises InputError where it is not in one piece, or names a stream that the protocol forbids.

        Args:
            name: of the input that it is for.
            array: with `__cuda_array_interface__`.
        """
        described = array.__cuda_array_interface__
        self.shape = tuple(described["shape"])
        self.dtype = np.dtype(described["typestr"])
        self.address = int(described["data"][0])
        self._described = described
        contiguous = tuple(
            int(np.prod(self.shape[axis + 1 :])) * self.dtype.itemsize for axis in range(len(self.shape))
        )
        if described.get("strides") not in {None, contiguous}:
            raise InputError(f"input {name} lies in pieces", hint="make it contiguous")
        if described.get("stream") == 0:
            raise InputError(
                f"input {name} names stream 0, which may be any", hint="its library has to name stream 1 or 2"
            )

    def wait(self, cuda: CudaApi) -> None:
        """Wait for what still writes the array: our streams wait for no other.

        Version 3 names the stream: None has nothing pending, 1 is the legacy default stream, 2 the calling
        thread's own (CUDA's handles of them too). Before it there was none to name, as in PyTorch, whose work
        may be on any.
        """
        if "stream" not in self._described:
            wait_for_device(cuda)
        elif self._described["stream"] is not None:
            cuda.synchronize(self._described["stream"])
