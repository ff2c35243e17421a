"""Prompts as dense maps: what nano's decoder sees of clicks, boxes and an earlier mask.

Every map has the same shape whatever the prompts are, so one static graph serves all of them.
Distances are in units of a fixed number of pixels, not of the image: a click means the same in a
small crop and in a large frame, and squares of distances stay small enough for FP16.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

UNIT_PX = 64.0
FAR = 1.0e4
NEAR_CAP = 64.0
WIDTHS_PX = (3.0, 12.0, 48.0)
POINT_BACKGROUND, POINT_FOREGROUND, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = 0.0, 1.0, 2.0, 3.0


@dataclass(frozen=True)
class Prompts:
    """Points and a box, split by meaning. B prompts sets, S slots; coordinates in UNIT_PX.

    Slots whose label is none of 0..3 (SAM's -1, the empty -2) take part in nothing.
    """

    points: Tensor  # (B, S, 2)
    foreground: Tensor  # (B, S), 1 where the slot is a foreground point
    background: Tensor  # (B, S)
    corners: Tensor  # (B, 4): x0, y0, x1, y1
    has_box: Tensor  # (B, 1)


def split_prompts(point_coords: Tensor, point_labels: Tensor) -> Prompts:
    """Sort the slots of `point_coords` (B, S, 2) (pixels) and `point_labels` (B, S) by meaning."""
    points = (point_coords + 0.5) / UNIT_PX
    top_left = (point_labels == BOX_TOP_LEFT).to(points.dtype)
    bottom_right = (point_labels == BOX_BOTTOM_RIGHT).to(points.dtype)
    corners = torch.cat(
        [
            (points * top_left[:, :, None]).sum(1),
            (points * bottom_right[:, :, None]).sum(1),
        ],
        dim=1,
    )
    return Prompts(
        points,
        (point_labels == POINT_FOREGROUND).to(points.dtype),
        (point_labels == POINT_BACKGROUND).to(points.dtype),
        corners,
        top_left.amax(1, keepdim=True) * bottom_right.amax(1, keepdim=True),
    )


@dataclass(frozen=True)
class Grid:
    """The pixel centres of one pyramid level and their offsets to every slot, in UNIT_PX."""

    x: Tensor  # (w,)
    y: Tensor  # (h,)
    dx: Tensor  # (B, S, 1, w)
    dy: Tensor  # (B, S, h, 1)
    dx2: Tensor  # (B, S, 1, w), dx squared
    dy2: Tensor  # (B, S, h, 1), dy squared

    def gaussians(self, width_px: float) -> Tensor:
        """A Gaussian of that width around every slot, with sum 1 over the pixels: (B, S, h * w).

        The softmax of a sum of an x and a y part is the product of their two softmaxes, which are short.
        """
        gain = -0.5 * (UNIT_PX / width_px) ** 2
        product = torch.softmax(self.dy2 * gain, dim=2) * torch.softmax(self.dx2 * gain, dim=3)
        flat: Tensor = product.flatten(2)
        return flat


def make_grid(prompts: Prompts, level: Tensor, stride: int) -> Grid:
    """The grid of the feature map `level` (B, C, h, w), whose cells are `stride` pixels wide."""
    height, width = level.shape[-2:]
    step = stride / UNIT_PX
    x = (torch.arange(width, device=level.device, dtype=prompts.points.dtype) + 0.5) * step
    y = (torch.arange(height, device=level.device, dtype=prompts.points.dtype) + 0.5) * step
    dx = x[None, None, None, :] - prompts.points[:, :, 0, None, None]
    dy = y[None, None, :, None] - prompts.points[:, :, 1, None, None]
    return Grid(x, y, dx, dy, dx * dx, dy * dy)


def nearness(grid: Grid, chosen: Tensor, widths_px: tuple[float, ...]) -> Tensor:
    """Gaussians around the nearest chosen slot and the logarithm of the distance to it.

    (B, len(widths) + 1, h, w). The largest Gaussian over the slots is the Gaussian of the smallest
    distance, so the slots are reduced once. Without a chosen slot: zeros, and the capped distance.
    """
    nearest = _penalised(grid, chosen).amin(1, keepdim=True)
    gaussians = [torch.exp(nearest * (-0.5 * (UNIT_PX / width) ** 2)) for width in widths_px]
    distance = torch.sqrt(nearest.clamp(1.0e-6, NEAR_CAP))
    return torch.cat([*gaussians, torch.log1p(distance * (UNIT_PX / 8.0)) * 0.3], dim=1)


def _penalised(grid: Grid, chosen: Tensor) -> Tensor:
    """Squared distance to every slot, far beyond the image where it is not chosen: (B, S, h, w)."""
    return (grid.dx2 + (1.0 - chosen)[:, :, None, None] * FAR) + grid.dy2


def offsets(grid: Grid, chosen: Tensor) -> Tensor:
    """Soft offset (x, y) to the nearest chosen slot, squashed to -1..1: (B, 2, h, w)."""
    weight = torch.softmax(_penalised(grid, chosen) * -8.0, dim=1) * chosen[:, :, None, None]
    dx = (weight * grid.dx).sum(1, keepdim=True)
    dy = (weight * grid.dy).sum(1, keepdim=True)
    return torch.tanh(torch.cat([dx, dy], dim=1) * 1.5)


def box_maps(prompts: Prompts, grid: Grid) -> Tensor:
    """Soft signed distance to each side of the box and the inside: (B, 5, h, w), zeros without one."""
    sharpness = UNIT_PX / 16.0
    left = torch.tanh((grid.x[None, :] - prompts.corners[:, 0:1]) * sharpness)
    top = torch.tanh((grid.y[None, :] - prompts.corners[:, 1:2]) * sharpness)
    right = torch.tanh((prompts.corners[:, 2:3] - grid.x[None, :]) * sharpness)
    bottom = torch.tanh((prompts.corners[:, 3:4] - grid.y[None, :]) * sharpness)
    across = torch.stack([left, right], dim=1)[:, :, None, :]
    down = torch.stack([top, bottom], dim=1)[:, :, :, None]
    sides = torch.cat([across + 0.0 * down, down + 0.0 * across], dim=1)
    inside = F.relu(sides).amin(1, keepdim=True)
    return torch.cat([sides, inside], dim=1) * prompts.has_box[:, :, None, None]


def unit_keys(features: Tensor, heads: int) -> Tensor:
    """`features` (B, heads * c, h, w) as keys: each pixel of each head of length 1, then a channel of ones.

    The ones let one product give `cosine + constant`.

    Returns:
        (B, heads * (c + 1), h, w).
    """
    split = features.unflatten(1, (heads, -1))
    unit = split * torch.rsqrt((split * split).sum(2, keepdim=True) + 1.0e-4)
    keys: Tensor = torch.cat([unit, torch.ones_like(unit[:, :, :1])], dim=2).flatten(1, 2)
    return keys


def gather(weights: Tensor, features: Tensor) -> Tensor:
    """Weighted sums of `features` (B or 1, C, h, w), one for each of `weights` (B, R, h * w): (B, R, C).

    Features that all prompts share are read once, by the weights of all prompts below each other.
    """
    flat = features.flatten(2)
    if features.shape[0] != 1:
        return torch.matmul(weights, flat.transpose(1, 2))
    sums = torch.matmul(weights.flatten(0, 1), flat.squeeze(0).transpose(0, 1))
    by_prompt: Tensor = sums.unflatten(0, weights.shape[:2])
    return by_prompt


def scatter(rows: Tensor, keys: Tensor) -> Tensor:
    """Product of `rows` (B, R, heads, c) with `keys` (B or 1, heads * c, h, w), head by head.

    Returns:
        (heads, B, R, h * w).
    """
    heads = rows.shape[2]
    flat = keys.unflatten(1, (heads, -1)).flatten(3)
    if keys.shape[0] != 1:
        return torch.matmul(rows.transpose(1, 2), flat).transpose(0, 1)
    by_head = rows.permute(2, 0, 1, 3)
    product = torch.matmul(by_head.flatten(1, 2), flat.squeeze(0))
    by_prompt: Tensor = product.unflatten(1, by_head.shape[1:3])
    return by_prompt


def directions(gathered: Tensor, heads: int) -> Tensor:
    """Gathered keys (B, R, heads * (c + 1)) without the channel of ones, of length 1: (B, R, heads, c)."""
    mean: Tensor = gathered.unflatten(2, (heads, -1))[..., :-1]
    return mean * torch.rsqrt((mean * mean).sum(3, keepdim=True) + 1.0e-4)


def similarity(keys: Tensor, heads: int, grid: Grid, prompts: Prompts, width_px: float) -> Tensor:
    """Cosine similarity of every pixel to the most similar clicked one, foreground then background.

    Args:
        keys: (B or 1, heads * (c + 1), h, w), of `unit_keys`.
        width_px: standard deviation of the Gaussian under which a click samples the keys.

    Returns:
        (B, 2 * heads, h, w); -1 where there is no such click.
    """
    clicked = directions(gather(grid.gaussians(width_px), keys), heads)
    kinds = []
    for chosen in (prompts.foreground, prompts.background):
        keep = chosen[:, :, None, None]
        # Every slot that is not chosen answers -1: nothing times the key, and -1 times its channel of ones.
        kinds.append(torch.cat([clicked * keep, (keep - 1.0).expand(-1, -1, heads, -1)], dim=3))
    cosine = scatter(torch.cat(kinds, dim=1), keys).unflatten(2, (2, -1))
    maps: Tensor = cosine.amax(3).permute(1, 2, 0, 3).flatten(1, 2).unflatten(2, keys.shape[2:])
    return maps


def clicked_feature(features: Tensor, grid: Grid, chosen: Tensor, width_px: float) -> Tensor:
    """Mean feature under the chosen slots, Gaussian-weighted.

    Args:
        features: (B or 1, C, h, w).
        chosen: (B, S), 1 where the slot counts.

    Returns:
        (B, C); zeros without a chosen slot.
    """
    total = chosen.sum(1, keepdim=True).clamp(min=1.0)
    share = ((grid.gaussians(width_px) * chosen[:, :, None]).sum(1) / total)[:, None]
    return gather(share, features)[:, 0]


def pooled(features: Tensor, weights: Tensor) -> Tensor:
    """Mean of `features` (B or 1, C, h, w) under each of `weights` (B, K, h, w): (B, K, C)."""
    flat = weights.flatten(2)
    total = flat.sum(2, keepdim=True) + 1.0e-2
    return gather(flat / total, features)
