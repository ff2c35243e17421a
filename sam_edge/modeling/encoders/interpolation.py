"""Maps brought to another size by products with fixed matrices.

Engines have no good cubic Resize: onnxruntime's takes forty times as long on a CPU as the two products do, and
onnx-tensorrt does not document one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Matrix = Sequence[Sequence[float]]

KEYS_A = -0.75
"""Of Keys's cubic, "Cubic Convolution Interpolation for Digital Image Processing" (1981), as PyTorch has it."""


def interpolation(source: int, target: int) -> list[list[float]]:
    """Cubic interpolation of `source` samples to `target` as a matrix (target, source).

    Half-pixel centres, the border's samples repeated, no antialiasing: what PyTorch's
    `interpolate(mode="bicubic", align_corners=False)` does along each axis. Plain numbers, so that an exported
    graph holds the matrix and not how it was made.
    """
    matrix = [[0.0] * source for _ in range(target)]
    for index, row in enumerate(matrix):
        place = (index + 0.5) * source / target - 0.5
        before = math.floor(place)
        for tap, weight in enumerate(_weights(place - before), before - 1):
            row[min(max(tap, 0), source - 1)] += weight
    return matrix


def resampled(x: Tensor, rows: Matrix, columns: Matrix) -> Tensor:
    """(..., h, w) times `rows` (H, h) and `columns` (W, w) along its last two axes: (..., H, W)."""
    along_y, along_x = (torch.tensor(matrix, dtype=x.dtype, device=x.device) for matrix in (rows, columns))
    return along_y @ (x @ along_x.T)


def _weights(after: float) -> tuple[float, float, float, float]:
    """Of the four samples around a place that lies `after` (0..1) behind the second."""
    return _far(1 + after), _near(after), _near(1 - after), _far(2 - after)


def _near(distance: float) -> float:
    """Keys's cubic at 0..1."""
    return ((KEYS_A + 2) * distance - (KEYS_A + 3)) * distance * distance + 1


def _far(distance: float) -> float:
    """Keys's cubic at 1..2."""
    return KEYS_A * (((distance - 5) * distance + 8) * distance - 4)
