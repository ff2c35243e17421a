"""Tensors that stay on the device.

An embedding is megabytes; a prompt's answer is kilobytes. So what the encoder gives remains where the decoder
wants it, and only what the host reads is copied to it. All of this works on a CPU too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

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


class DeviceArray:
    """A tensor on the session's device. It never changes, and lives on when its session is closed."""

    def __init__(self, value: ort.OrtValue, owner: ort.IOBinding) -> None:
        """`owner` is the binding of the run that made it, to which the memory belongs."""
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

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """A copy on the host."""
        if copy is False:
            raise ValueError("a tensor on a device cannot become a numpy array without a copy")
        return np.array(self.value.numpy(), dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        """The memory itself, which is never written again."""
        if not hasattr(self.value, "__dlpack__"):
            raise BufferError("this onnxruntime cannot share tensors: copy with numpy.asarray")
        return self.value.__dlpack__(stream=options.get("stream"))

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, number = self.value.__dlpack_device__()
        return int(kind), int(number)


def run_bound(
    session: ort.InferenceSession, feeds: Placed, memory: str, host_outputs: frozenset[str]
) -> dict[str, DeviceArray | NDArray[Any]]:
    """Every output of a session.

    Args:
        session: whose graph it is.
        feeds: by name; those in `memory` are used where they are.
        memory: where tensors stay, `cpu` or `cuda`.
        host_outputs: outputs that are given as numpy arrays; the others stay in `memory`.
    """
    outputs = [node.name for node in session.get_outputs()]
    binding = session.io_binding()
    for name, feed in feeds.items():
        value = feed.value if isinstance(feed, DeviceArray) else _upload(feed, memory)
        binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_output(name, "cpu" if name in host_outputs else memory, 0)
    session.run_with_iobinding(binding)
    # The outputs are the binding's and keep it alive, and it would keep the image.
    binding.clear_binding_inputs()
    return {
        name: np.array(value.numpy()) if name in host_outputs else DeviceArray(value, binding)
        for name, value in zip(outputs, binding.get_outputs(), strict=True)
    }


def _upload(array: NDArray[Any], memory: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(array, memory, 0)
