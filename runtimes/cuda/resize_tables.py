"""Which source pixels make an output pixel, and with what weights: one table for columns, one for rows.

They restate `sam_edge.imaging.resize` and OpenCV's resize for a kernel that gathers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_edge.geometry import View
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.imaging.resize import taps

_LEAST_SHARE = 1e-3
"""Smaller slivers of a source pixel are left out (OpenCV, modules/imgproc/src/resize.cpp)."""


@dataclass(frozen=True, eq=False)
class Taps:
    """For each output pixel of one axis, `taps` source pixels and weights; unused ones weigh nothing."""

    positions: NDArray[np.int32]
    """(outputs, taps)"""
    weights: NDArray[np.int32] | NDArray[np.float32]
    """(outputs, taps): integers of 22 fractional bits, or floats."""


@dataclass(frozen=True, eq=False)
class ResizeTables:
    """A resize of one window to one size."""

    columns: Taps
    rows: Taps
    mode: int
    """How sums are rounded, see `letterbox_kernel`."""


def resize_tables(view: View, preprocess: Preprocess) -> ResizeTables:
    """The tables by which a view's window becomes what the encoder sees of it."""
    source_wh, target_wh = view.window_xywh[2:], view.resized_wh
    sides = tuple(zip(source_wh, target_wh, strict=True))
    if preprocess.resize == "antialias":
        columns, rows = (_antialias(*pair) for pair in sides)
        return ResizeTables(columns, rows, 0)
    if preprocess.resize == "bilinear":
        columns, rows = (_linear(*pair) for pair in sides)
        return ResizeTables(columns, rows, 2)
    shrinks = all(target <= source for source, target in sides)
    columns, rows = (_area(*pair) if shrinks else _linear(*pair) for pair in sides)
    halves = all(source == 2 * target for source, target in sides)
    return ResizeTables(columns, rows, 3 if halves else 1)


def _antialias(source: int, target: int) -> Taps:
    positions, weights = taps(source, target)
    return Taps(np.ascontiguousarray(positions.T, np.int32), np.ascontiguousarray(weights.T, np.int32))


def _linear(source: int, target: int) -> Taps:
    """Between the two nearest pixel centres; pixels at the border go on outside."""
    centre = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    first = np.floor(centre)
    share = centre - first
    share[(first < 0) | (first >= source - 1)] = 0
    near = np.clip(first, 0, source - 1).astype(np.int32)
    positions = np.stack([near, np.minimum(near + 1, source - 1)], axis=1)
    return Taps(positions, np.stack([1 - share, share], axis=1))


def _area(source: int, target: int) -> Taps:
    """Every source pixel by the share of it that the output pixel covers."""
    scale = source / target
    table: list[list[tuple[int, float]]] = []
    for index in range(target):
        begin, end = index * scale, (index + 1) * scale
        width = min(scale, source - begin)
        last = min(int(end), source - 1)
        first = min(int(np.ceil(begin)), last)
        taps = [(first - 1, first - begin)] if first - begin > _LEAST_SHARE else []
        taps += [(position, 1.0) for position in range(first, last)]
        if end - last > _LEAST_SHARE:
            taps.append((last, min(end - last, 1.0, width)))
        table.append([(position, share / width) for position, share in taps])
    count = max(len(taps) for taps in table)
    filled = np.array([[*taps, *[(0, 0.0)] * (count - len(taps))] for taps in table])
    return Taps(filled[..., 0].astype(np.int32), filled[..., 1].astype(np.float32))
