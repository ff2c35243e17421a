"""Interpolation as a matrix is PyTorch's own interpolation."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sam_edge.modeling.encoders.interpolation import interpolation, resampled

SIDES = st.integers(1, 40)


@settings(max_examples=200, deadline=None)
@given(height=SIDES, width=SIDES, rows=SIDES, columns=SIDES)
def test_a_map_is_resampled_as_pytorch_does(height: int, width: int, rows: int, columns: int) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    ours = resampled(x, interpolation(height, rows), interpolation(width, columns))
    assert torch.allclose(ours, F.interpolate(x, (rows, columns), mode="bicubic"), rtol=0, atol=1e-12)


@given(source=SIDES, target=SIDES)
def test_a_flat_map_stays_flat(source: int, target: int) -> None:
    matrix = interpolation(source, target)
    assert len(matrix) == target
    assert all(len(row) == source and abs(sum(row) - 1) < 1e-12 for row in matrix)


@given(size=SIDES)
def test_the_same_size_is_the_identity(size: int) -> None:
    assert torch.equal(torch.tensor(interpolation(size, size)), torch.eye(size))
