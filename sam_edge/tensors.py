"""Tensors that cross the port to an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Array(Protocol):
    """A numpy array, or an array on a device that numpy and DLPack can read."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __array__(self, dtype: Any = ..., *, copy: bool | None = ...) -> NDArray[Any]: ...

    def __dlpack__(self) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


Arrays = Mapping[str, Array]
"""Named tensors, each of the type its graph says: float32 nearly always, also in graphs that compute in
float16."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of a graph's input or output."""

    name: str
    shape: tuple[int | str, ...]
    """A string names a dimension that a call may choose, such as "height"."""
    dtype: str = "float32"


def fits(wanted: tuple[int | str, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array has one of the shapes that a tensor may have."""
    if len(shape) != len(wanted):
        return False
    return wanted == shape or all(
        isinstance(side, str) or side == got for side, got in zip(wanted, shape, strict=True)
    )
