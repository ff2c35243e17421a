"""Tensors that stay on the device, and runs at addresses that stay the same.

An embedding is megabytes; a prompt's answer is kilobytes. So what the encoder gives remains where the decoder
wants it, and only what the host reads is copied to it. On a CUDA device a run at fixed addresses can be
recorded once as a CUDA graph and replayed with a single launch. On a CPU all of this works too, without the
graph.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from itertools import count
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .recordings import CAPTURE_LOCK, this_thread

MAX_SLOTS = 4
"""Recorded runs of one engine: the embeddings that may be alive and recorded at once."""
NUMPY_TYPE = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
Placed = Mapping[str, "DeviceArray | NDArray[Any]"]


class Lease:
    """Held by whoever may still read a slot's outputs; the slot is not run again before it is gone."""

    def __init__(self, slot: _Slot) -> None:
        self._slot = slot

    def keep(self) -> None:
        """Never run the slot again: somebody reads it who holds no lease."""
        self._slot.lent = self


class DeviceArray:
    """A tensor on the engine's device. It never changes, and lives on when its engine is closed."""

    def __init__(self, value: ort.OrtValue, owner: Lease | ort.IOBinding) -> None:
        """`owner` is what the memory belongs to: a slot, or the binding of the one run that made it."""
        self.value = value
        self._owner = owner

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape())

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(NUMPY_TYPE[self.value.data_type()])

    @property
    def on_cpu(self) -> bool:
        return str(self.value.device_name()).lower() == "cpu"

    @property
    def fixed(self) -> bool:
        """Whether later runs will give the same address again, so that recording it pays."""
        return isinstance(self._owner, Lease)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """A copy on the host."""
        if copy is False:
            raise ValueError("a tensor on a device cannot become a numpy array without a copy")
        with CAPTURE_LOCK.running():
            return np.array(self.value.numpy(), dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        """The memory itself. It is never written again, because nobody can tell how long it is read."""
        if not hasattr(self.value, "__dlpack__"):
            raise BufferError("this onnxruntime cannot share tensors: copy with numpy.asarray")
        if isinstance(self._owner, Lease):
            self._owner.keep()
        return self.value.__dlpack__(stream=options.get("stream"))

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, number = self.value.__dlpack_device__()
        return int(kind), int(number)


class Bound:
    """Runs a session on tensors of a device.

    Args:
        session: whose graph it is.
        memory: where tensors stay, `cpu` or `cuda`.
        host_outputs: outputs that are given as numpy arrays; the others stay on the device.
        replay: run at fixed addresses, one slot for each thread and set of shapes and addresses, up to
            `MAX_SLOTS` of threads that are alive.
    """

    def __init__(
        self, session: ort.InferenceSession, memory: str, host_outputs: frozenset[str], *, replay: bool
    ) -> None:
        self._session = session
        self._memory = memory
        self._outputs = [node.name for node in session.get_outputs()]
        self._host_outputs = host_outputs
        self._replay = replay
        self._slots: dict[tuple[Any, ...], list[_Slot]] = {}
        self._numbers = count(1)
        self._lock = Lock()

    def run(self, feeds: Placed) -> dict[str, DeviceArray | NDArray[Any]]:
        """Every output; feeds on this memory are used where they are."""
        if self._replay:
            with self._lock:
                slot = self._free_slot(feeds)
                if slot is not None:
                    with CAPTURE_LOCK.running():
                        return slot.run(feeds)
        with CAPTURE_LOCK.running():
            return self._run_once(feeds)

    def _run_once(self, feeds: Placed) -> dict[str, DeviceArray | NDArray[Any]]:
        inputs = {
            name: feed.value if isinstance(feed, DeviceArray) else self._upload(feed)
            for name, feed in feeds.items()
        }
        binding = _binding(self._session, inputs)
        for name in self._outputs:
            binding.bind_output(name, "cpu" if name in self._host_outputs else self._memory, 0)
        self._session.run_with_iobinding(binding, _unrecorded())
        # The outputs are the binding's and keep it alive, and it would keep the image.
        binding.clear_binding_inputs()
        values = zip(self._outputs, binding.get_outputs(), strict=True)
        return {
            name: np.array(value.numpy()) if name in self._host_outputs else DeviceArray(value, binding)
            for name, value in values
        }

    def _upload(self, array: NDArray[Any]) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._memory, 0)

    def _free_slot(self, feeds: Placed) -> _Slot | None:
        """A slot of this thread for these shapes and addresses that nobody reads; None: run without one."""
        key = (weakref.ref(this_thread()), *(_key(name, feeds[name]) for name in sorted(feeds)))
        self._drop_slots_of_ended_threads()
        slots = self._slots.setdefault(key, [])
        for slot in slots:
            if not slot.busy:
                return slot
        full = sum(len(others) for others in self._slots.values()) >= MAX_SLOTS
        passing = any(isinstance(feed, DeviceArray) and not feed.fixed for feed in feeds.values())
        if full or passing:
            if not slots:
                del self._slots[key]
            return None
        with CAPTURE_LOCK.recording():
            slot = _Slot(
                self._session, feeds, self._memory, self._outputs, self._host_outputs, next(self._numbers)
            )
        slots.append(slot)
        return slot

    def _drop_slots_of_ended_threads(self) -> None:
        for key in [key for key in self._slots if key[0]() is None]:
            del self._slots[key]


class _Slot:
    """Inputs and outputs at addresses that stay, and the recording that reads and writes them."""

    def __init__(
        self,
        session: ort.InferenceSession,
        feeds: Placed,
        memory: str,
        outputs: Sequence[str],
        host_outputs: frozenset[str],
        number: int,
    ) -> None:
        self._session = session
        self._host_outputs = host_outputs
        self._copies = memory != "cpu"
        self._lease: weakref.ref[Lease] | None = None
        self.lent: Lease | None = None
        self._staging: dict[str, ort.OrtValue] = {}
        inputs: dict[str, ort.OrtValue] = {}
        for name, feed in feeds.items():
            if isinstance(feed, DeviceArray):
                inputs[name] = feed.value
            else:
                inputs[name] = self._staging[name] = _empty(feed.shape, feed.dtype, memory)
                inputs[name].update_inplace(np.ascontiguousarray(feed))
        # The first run finds out how large the outputs are, the second is recorded.
        trial = _binding(session, inputs)
        for name in outputs:
            trial.bind_output(name, memory, 0)
        session.run_with_iobinding(trial, _unrecorded())
        self._outputs = {
            name: _empty(tuple(value.shape()), np.dtype(NUMPY_TYPE[value.data_type()]), memory)
            for name, value in zip(outputs, trial.get_outputs(), strict=True)
        }
        self._binding = _binding(session, inputs)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._options = _graph_options(number)
        session.run_with_iobinding(self._binding, self._options)

    @property
    def busy(self) -> bool:
        return self._lease is not None and self._lease() is not None

    def run(self, feeds: Placed) -> dict[str, DeviceArray | NDArray[Any]]:
        for name, value in self._staging.items():
            value.update_inplace(np.ascontiguousarray(feeds[name]))
        self._session.run_with_iobinding(self._binding, self._options)
        lease = Lease(self)
        self._lease = weakref.ref(lease)
        return {
            name: self._read(value) if name in self._host_outputs else DeviceArray(value, lease)
            for name, value in self._outputs.items()
        }

    def _read(self, value: ort.OrtValue) -> NDArray[Any]:
        array: NDArray[Any] = value.numpy()
        # From a device numpy() copies, on the CPU it shows the memory that the next run writes.
        return array if self._copies else array.copy()


def _binding(session: ort.InferenceSession, inputs: Mapping[str, ort.OrtValue]) -> ort.IOBinding:
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    return binding


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any], memory: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype.type, memory, 0)


def _key(name: str, feed: DeviceArray | NDArray[Any]) -> tuple[object, ...]:
    where = feed.value.data_ptr() if isinstance(feed, DeviceArray) else None
    return name, tuple(feed.shape), where


def _unrecorded() -> ort.RunOptions:
    return _graph_options(-1)


def _graph_options(number: int) -> ort.RunOptions:
    options = ort.RunOptions()
    # Providers without graphs ignore the entry; -1 is no recording.
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options
