"""Tensors that cross the border to an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]
"""Named tensors, float32."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of a graph's input or output."""

    name: str
    shape: tuple[int | str, ...]
    """A string names a dimension that a call may choose, such as "height"."""
    dtype: str = "float32"
