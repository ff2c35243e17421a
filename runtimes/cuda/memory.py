"""Device memory that outlives whoever computed what is in it, and is used again afterwards.

An embedding may be decoded long after the next frames were encoded, so its memory must not be overwritten
while anybody holds it. A `Block` is that hold: it goes back to its pool when the last reference to it dies.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict
from threading import Lock
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EngineError

from .api import CudaApi
from .release import on_finalize, run_or_defer

ALIGNMENT = 256
"""What TensorRT asks of addresses and cudaMalloc gives."""
_pools: WeakKeyDictionary[CudaApi, WeakSet[MemoryPool]] = WeakKeyDictionary()
"""Of each device; when its memory is out, what lies idle in one pool serves another."""
_pools_changing = Lock()


class Block:
    """Device memory in somebody's hands."""

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.size = size


class MemoryPool:
    """Blocks by size. What comes back is lent again, the last returned first.

    Graphs that were captured for a block can so be launched again, and steady work allocates nothing.
    """

    def __init__(self, cuda: CudaApi) -> None:
        self._cuda = cuda
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        # A finalizer may run in the middle of `take`, in the same thread: it must not ask for this lock.
        self._taking = Lock()
        self._closed = False
        with _pools_changing:
            _pools.setdefault(cuda, WeakSet()).add(self)

    def take(self, size: int) -> Block:
        """At least `size` bytes that nobody else holds.

        Raises:
            EngineError: out of device memory, also after all pools of the device gave back what is not lent.
        """
        size = max(-(-size // ALIGNMENT), 1) * ALIGNMENT
        with self._taking:
            address = _last(self._free[size])
            if address is None:
                address = self._malloc(size)
        block = Block(address, size)
        weakref.finalize(block, self._come_back, address, size).atexit = False
        return block

    def trim(self) -> None:
        """Give memory that is not lent back to the device."""
        self._cuda.enter()
        for addresses in list(self._free.values()):
            while (address := _last(addresses)) is not None:
                self._cuda.free(address)

    def close(self) -> None:
        """Give everything back: now what is not lent, the rest when its holders let it go."""
        self._closed = True
        self.trim()

    def _malloc(self, size: int) -> int:
        try:
            return self._cuda.malloc(size)
        except EngineError:
            with _pools_changing:
                pools = list(_pools[self._cuda])
            for pool in pools:
                pool.trim()
            return self._cuda.malloc(size)

    def _come_back(self, address: int, size: int) -> None:
        self._free[size].append(address)
        if self._closed:
            run_or_defer(self.trim)


def _last(addresses: list[int]) -> int | None:
    """Take one away; two threads never get the same."""
    try:
        return addresses.pop()
    except IndexError:
        return None


class Staging:
    """Pinned memory of the processor for one tensor, used again in every run.

    Mapped memory is read and written by the device itself; else it is what copies start and end in.
    """

    def __init__(self, cuda: CudaApi, size: int, mapped: bool) -> None:
        self._cuda = cuda
        memory = cuda.host_malloc(max(size, 1), mapped)
        self._memory = memory

        def give_back() -> None:
            cuda.enter()
            cuda.host_free(memory)

        self._dropped = on_finalize(self, give_back)

    @property
    def size(self) -> int:
        """In bytes."""
        return self._memory.size

    @property
    def address(self) -> int:
        """For the processor and for copies."""
        return self._memory.address

    @property
    def device_address(self) -> int | None:
        """For the device, if the memory is mapped."""
        return self._memory.device_address

    def view(self, shape: tuple[int, ...], dtype: str) -> NDArray[np.float32]:
        """The memory as an array; valid until `close`, and no longer than the object lives."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_char * size).from_address(self._memory.address)
        array: NDArray[np.float32] = np.frombuffer(memoryview(memory), dtype).reshape(shape)
        return array

    def close(self) -> None:
        """Give the memory back."""
        if self._dropped.detach():
            self._cuda.host_free(self._memory)
