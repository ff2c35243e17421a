"""Arrays on the device, as other libraries see them; the simulated device says that it is the processor."""

from __future__ import annotations

import gc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.runtimes.cuda.array import DeviceArray
from sam_edge.runtimes.cuda.memory import ALIGNMENT, pool_of
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def on_device(cuda: SimulatedCuda, values: np.ndarray) -> DeviceArray:
    block = pool_of(cuda).take(values.nbytes)
    cuda.bytes_at(block.address, values.nbytes)[:] = np.ascontiguousarray(values).view(np.uint8).ravel()
    return DeviceArray(cuda, block, values.shape, values.dtype.name)


def test_numpy_gets_a_copy() -> None:
    cuda = SimulatedCuda()
    array = on_device(cuda, VALUES)
    assert (array.shape, array.dtype.name) == ((2, 3, 4), "float32")
    copy = np.asarray(array)
    copy[:] = 0
    np.testing.assert_array_equal(array, VALUES)
    assert np.asarray(array, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(array, copy=False)
    # Reading leaves nothing behind.
    assert cuda.handles == 0


def test_dlpack_shares_the_memory_and_keeps_it() -> None:
    cuda = SimulatedCuda()
    pool = pool_of(cuda)
    array = on_device(cuda, VALUES)
    shared = np.from_dlpack(array)
    assert shared.__array_interface__["data"][0] == array.address
    np.testing.assert_array_equal(shared, VALUES)
    address = array.address
    del array
    gc.collect()
    # Its memory is lent to nobody else while the other library holds it.
    other = pool.take(VALUES.nbytes)
    assert other.address != address
    del shared, other
    gc.collect()
    again = [pool.take(VALUES.nbytes), pool.take(VALUES.nbytes)]
    assert address in {block.address for block in again}


def test_a_capsule_that_nobody_takes_lets_go() -> None:
    cuda = SimulatedCuda()
    pool = pool_of(cuda)
    array = on_device(cuda, VALUES)
    capsule = array.__dlpack__()
    del array, capsule
    gc.collect()
    pool.trim()
    assert cuda.used == 0


def test_dlpack_gives_no_copies_and_no_other_device() -> None:
    array = on_device(SimulatedCuda(), VALUES)
    with pytest.raises(BufferError):
        array.__dlpack__(copy=True)
    with pytest.raises(BufferError):
        array.__dlpack__(dl_device=(2, 0))
    assert array.__dlpack_device__() == (1, 0)


def test_torch_shares_it() -> None:
    torch = pytest.importorskip("torch")
    array = on_device(SimulatedCuda(), VALUES)
    tensor = torch.from_dlpack(array)
    assert tensor.data_ptr() == array.address
    np.testing.assert_array_equal(tensor.numpy(), VALUES)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 2000)), max_size=60))
def test_a_pool_lends_no_memory_twice(steps: list[tuple[bool, int]]) -> None:
    cuda = SimulatedCuda()
    pool = pool_of(cuda)
    held: list[Any] = []
    for take, size in steps:
        if take or not held:
            held.append(pool.take(size))
            assert held[-1].size >= size
            assert held[-1].size % ALIGNMENT == 0
        else:
            held.pop(size % len(held))
        spans = sorted((block.address, block.address + block.size) for block in held)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    held.clear()
    pool.trim()
    assert cuda.used == 0
