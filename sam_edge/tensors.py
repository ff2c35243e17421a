"""Tensors that cross the border to an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError

Arrays = Mapping[str, NDArray[np.float32]]
"""Named tensors, float32."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of a graph's input or output."""

    name: str
    shape: tuple[int | str, ...]
    """A string names a dimension that a call may choose, such as "height"."""
    dtype: str = "float32"


def check_feeds(specs: Sequence[TensorSpec], feeds: Arrays) -> list[NDArray[np.float32]]:
    """The arrays that `specs` ask for, in their order, each in one piece of the host's memory.

    Float16 and float32 become each other, as graphs of the same model may differ in that.

    Raises:
        InputError: an array is missing, or has another type or shape.
    """
    return [_check_feed(spec, feeds) for spec in specs]


def _check_feed(spec: TensorSpec, feeds: Arrays) -> NDArray[np.float32]:
    if spec.name not in feeds:
        raise InputError(f"the graph's input {spec.name} is missing")
    array = np.asarray(feeds[spec.name])
    if not fits(spec.shape, array.shape):
        raise InputError(f"input {spec.name} has shape {array.shape}, the graph takes {spec.shape}")
    if array.dtype == spec.dtype:
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)
    if {array.dtype.name, spec.dtype} != {"float16", "float32"}:
        raise InputError(f"input {spec.name} is {array.dtype}, the graph takes {spec.dtype}")
    return np.asarray(array, spec.dtype, order="C")


def fits(wanted: tuple[int | str, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array has one of the shapes that a tensor may have."""
    if len(shape) != len(wanted):
        return False
    return wanted == shape or all(
        isinstance(side, str) or side == got for side, got in zip(wanted, shape, strict=True)
    )
