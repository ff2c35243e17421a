"""Cutting a map of tokens into windows, and putting it together again."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def to_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B * windows, window, window, C), zeros added at the right and bottom."""
    batch, height, width, channels = x.shape
    rows, columns = -(-height // window), -(-width // window)
    if (rows * window, columns * window) != (height, width):
        x = F.pad(x, (0, 0, 0, columns * window - width, 0, rows * window - height))
    x = x.reshape(batch, rows, window, columns, window, channels)
    return x.transpose(2, 3).reshape(batch * rows * columns, window, window, channels)


def from_windows(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Undo `to_windows` for a map of `size` (H, W): the added rows and columns are dropped."""
    _, window, _, channels = x.shape
    height, width = size
    rows, columns = -(-height // window), -(-width // window)
    x = x.reshape(-1, rows, columns, window, window, channels)
    x = x.transpose(2, 3).reshape(-1, rows * window, columns * window, channels)
    return x[:, :height, :width]
