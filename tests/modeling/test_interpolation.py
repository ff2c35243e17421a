"""Interpolation as a matrix is PyTorch's own interpolation."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sam_edge.modeling.interpolation import Mode, interpolation, resampled

SIDES = st.integers(1, 40)
MODES = st.sampled_from(["bilinear", "bicubic"])


@settings(max_examples=200, deadline=None)
@given(height=SIDES, width=SIDES, rows=SIDES, columns=SIDES, mode=MODES)
def test_a_map_is_resampled_as_pytorch_does(
    height: int, width: int, rows: int, columns: int, mode: Mode
) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    ours = resampled(x, interpolation(height, rows, mode), interpolation(width, columns, mode))
    assert torch.allclose(ours, F.interpolate(x, (rows, columns), mode=mode), rtol=0, atol=1e-12)


@given(source=SIDES, target=SIDES, mode=MODES)
def test_a_flat_map_stays_flat(source: int, target: int, mode: Mode) -> None:
    matrix = interpolation(source, target, mode)
    assert len(matrix) == target
    assert all(len(row) == source and abs(sum(row) - 1) < 1e-12 for row in matrix)


@given(size=SIDES, mode=MODES)
def test_the_same_size_is_the_identity(size: int, mode: Mode) -> None:
    assert torch.equal(torch.tensor(interpolation(size, size, mode)), torch.eye(size))
