"""An array on the device that numpy, PyTorch, CuPy and our engines can read.

Protocols: __array__ (numpy, copies to the host), __cuda_array_interface__ 3
(https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html) and DLPack
(https://dmlc.github.io/dlpack/latest/python_spec.html), both without a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sam_edge.errors import InputError
from sam_edge.tensors import TensorSpec, fits

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
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def address(self) -> int:
        """Where it lies on the device."""
        return self._block.address

    def copy(self) -> NDArray[np.float32]:
        """A numpy copy."""
        self._cuda.enter()
        staging = Staging(self._cuda, self.nbytes, mapped=False)
        stream = self._cuda.stream(high_priority=True)
        try:
            self._cuda.copy(staging.address, self.address, self.nbytes, "to_host", stream)
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


def device_address(array: Any, spec: TensorSpec, cuda: CudaApi) -> int | None:
    """Address of an array that is on the device already, ours or another library's; None if it is not.

    Raises:
        InputError: it is on the device, but of another shape or type than `spec`, not in one piece, or with a
            stream that the protocol forbids.
    """
    described = getattr(array, "__cuda_array_interface__", None)
    if described is None:
        return None
    shape, dtype = tuple(described["shape"]), np.dtype(described["typestr"])
    if dtype != spec.dtype:
        raise InputError(f"input {spec.name} is {dtype}, the graph takes {spec.dtype}")
    if not fits(spec.shape, shape):
        raise InputError(f"input {spec.name} has shape {shape}, the graph takes {spec.shape}")
    if described.get("strides") not in {None, _strides(shape, dtype)}:
        raise InputError(f"input {spec.name} lies in pieces", hint="make it contiguous")
    _wait_for_producer(described, spec, cuda)
    return int(described["data"][0])


def _wait_for_producer(described: Mapping[str, Any], spec: TensorSpec, cuda: CudaApi) -> None:
    """Wait for what still writes the array: our streams wait for no other.

    Version 3 names the stream: None has nothing pending, 1 is the legacy default stream, 2 the calling
    thread's own (CUDA's handles of them too). Before it there was none to name, as in PyTorch, whose work may
    be on any.
    """
    if "stream" not in described:
        wait_for_device(cuda)
    elif described["stream"] == 0:
        raise InputError(f"input {spec.name} names stream 0, which may be any: its library has to name 1 or 2")
    elif described["stream"] is not None:
        cuda.synchronize(described["stream"])


def _strides(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Byte strides of a C-contiguous array."""
    strides = [dtype.itemsize]
    for side in reversed(shape[1:]):
        strides.insert(0, strides[0] * side)
    return tuple(strides[: len(shape)])
