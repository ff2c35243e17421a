"""Arrays on the device, as other libraries see them; the simulated device says that it is the processor."""

from __future__ import annotations

import gc
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import EngineError, InputError
from sam_edge.runtimes.cuda.array import DeviceArray, DeviceView
from sam_edge.runtimes.cuda.memory import ALIGNMENT, MemoryPool
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def on_device(cuda: SimulatedCuda, values: np.ndarray, pool: MemoryPool | None = None) -> DeviceArray:
    block = (pool or MemoryPool(cuda)).take(values.nbytes)
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
    pool = MemoryPool(cuda)
    array = on_device(cuda, VALUES, pool)
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
    pool = MemoryPool(cuda)
    array = on_device(cuda, VALUES, pool)
    capsule = array.__dlpack__()
    del array, capsule
    gc.collect()
    pool.close()
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


def test_the_cuda_array_interface_is_understood() -> None:
    array = on_device(SimulatedCuda(), VALUES)
    view = DeviceView("embedding", array)
    assert (view.address, view.shape, view.dtype) == (array.address, (2, 3, 4), np.float32)


def foreign(**changes: Any) -> Any:
    described = {"shape": (2, 3, 4), "typestr": "<f4", "data": (4096, True), "version": 3} | changes
    return SimpleNamespace(__cuda_array_interface__=described)


@pytest.mark.parametrize(
    ("described", "waits_for"),
    [({}, ["theirs", "another's"]), ({"stream": None}, []), ({"stream": "theirs"}, ["theirs"])],
    ids=["no stream named, as by PyTorch", "complete", "one stream"],
)
def test_what_still_writes_an_array_is_waited_for(described: dict[str, Any], waits_for: list[str]) -> None:
    cuda = SimulatedCuda()
    streams = {name: cuda.stream(high_priority=False) for name in ("theirs", "another's")}
    for name, stream in streams.items():
        cuda.enqueue(stream, name, lambda: None)
    named = {key: streams.get(value, value) for key, value in described.items()}
    DeviceView("embedding", foreign(strides=(48, 16, 4), **named)).wait(cuda)
    assert cuda.log == waits_for


@pytest.mark.parametrize("changes", [{"strides": (4, 8, 24)}, {"stream": 0}])
def test_an_array_that_cannot_be_read_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="embedding"):
        DeviceView("embedding", foreign(**changes))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 2000)), max_size=60))
def test_a_pool_lends_no_memory_twice(steps: list[tuple[bool, int]]) -> None:
    cuda = SimulatedCuda()
    pool = MemoryPool(cuda)
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
    pool.close()
    assert cuda.used == 0


def test_a_pool_gives_up_what_lies_idle_before_it_fails() -> None:
    cuda = SimulatedCuda(total=4096)
    pool = MemoryPool(cuda)
    block = pool.take(3072)
    with pytest.raises(EngineError, match="out of device memory"):
        pool.take(2048)
    del block
    assert pool.take(2048).size == 2048
