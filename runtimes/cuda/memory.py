"""Device memory that outlives whoever computed what is in it, and is used again afterwards.

An embedding may be decoded long after the next frames were encoded, so its memory must not be overwritten
while anybody holds it. A `Block` is that hold: it goes back to its pool when the last reference to it dies.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EngineError

from .api import CudaApi
from .release import give_back_dropped, on_finalize

ALIGNMENT = 256
"""What TensorRT asks of addresses and cudaMalloc gives."""
_pools: weakref.WeakKeyDictionary[CudaApi, MemoryPool] = weakref.WeakKeyDictionary()
_opening = Lock()


class Block:
    """Device memory in somebody's hands."""

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.size = size


class MemoryPool:
    """Blocks of one device by size. What comes back is lent again, the last returned first.

    Graphs that were captured for a block can so be launched again, and steady work allocates nothing.
    """

    def __init__(self, cuda: CudaApi) -> None:
        # The device owns its pool.
        self._cuda = weakref.ref(cuda)
        # Finalizers put blocks back, perhaps in the middle of `take`: without a lock, as lists need none.
        self._free: defaultdict[int, list[int]] = defaultdict(list)

    def take(self, size: int) -> Block:
        """At least `size` bytes that nobody else holds.

        Raises:
            EngineError: out of device memory, also after all that is not lent was given back.
        """
        size = max(-(-size // ALIGNMENT), 1) * ALIGNMENT
        address = _last(self._free[size])
        if address is None:
            address = self._malloc(size)
        block = Block(address, size)
        weakref.finalize(block, self._free[size].append, address).atexit = False
        return block

    def trim(self) -> None:
        """Give memory that is not lent, and what was dropped, back to the device."""
        give_back_dropped()
        cuda = self._device()
        cuda.enter()
        for addresses in list(self._free.values()):
            while (address := _last(addresses)) is not None:
                cuda.free(address)

    def _malloc(self, size: int) -> int:
        try:
            return self._device().malloc(size)
        except EngineError:
            self.trim()
            return self._device().malloc(size)

    def _device(self) -> CudaApi:
        cuda = self._cuda()
        assert cuda is not None, "whoever uses a pool holds its device"
        return cuda


def pool_of(cuda: CudaApi) -> MemoryPool:
    """The device's memory pool."""
    with _opening:
        pool = _pools.get(cuda)
        if pool is None:
            pool = _pools[cuda] = MemoryPool(cuda)
        return pool


def _last(addresses: list[int]) -> int | None:
    """Take one away; two threads never get the same."""
    try:
        return addresses.pop()
    except IndexError:
        return None


class Staging:
    """Pinned memory of the processor for one tensor, in which copies start and end."""

    def __init__(self, cuda: CudaApi, size: int) -> None:
        self._cuda = cuda
        self.size = size
        self.address = address = cuda.host_malloc(max(size, 1))

        def give_back() -> None:
            cuda.enter()
            cuda.host_free(address)

        self._dropped = on_finalize(self, give_back)

    def view(self, shape: tuple[int, ...], dtype: str) -> NDArray[np.float32]:
        """The memory as an array; valid until `close`, and no longer than the object lives."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_char * size).from_address(self.address)
        array: NDArray[np.float32] = np.frombuffer(memoryview(memory), dtype).reshape(shape)
        return array

    def close(self) -> None:
        """Give the memory back."""
        if self._dropped.detach():
            self._cuda.host_free(self.address)
