"""SAM's image encoder: a plain vision transformer with windowed and global attention.

Source: Kirillov et al., "Segment Anything" (2023), and its code `facebookresearch/segment-anything`; the
backbone is ViTDet (Li et al., 2022) with the decomposed relative positions of MViTv2.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.encoders.windows import from_windows, to_windows
from sam_edge.modeling.layers import FeedForward, neck

PATCH_PX = 16


class ImageEncoderViT(nn.Module):
    """Image (B, 3, H, W) -> embedding (B, out_channels, H / 16, W / 16).

    H and W are multiples of 16. Inputs smaller than `image_size` see the positional encodings cropped to
    match: the image is taken as the top-left part of a larger one.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        heads: int,
        global_blocks: Collection[int],
        image_size: int = 1024,
        window: int = 14,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        side = image_size // PATCH_PX
        self.patch_embed = PatchEmbed(dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads, side, window=0)
            if index in global_blocks
            else Block(dim, heads, window, window=window)
            for index in range(depth)
        )
        self.neck = neck(dim, out_channels)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)
        x = x + self.pos_embed[:, : x.shape[1], : x.shape[2]]
        for block in self.blocks:
            x = block(x)
        embedding: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return embedding


class PatchEmbed(nn.Module):
    """Each 16x16 patch of the image becomes a token: (B, 3, H, W) -> (B, H / 16, W / 16, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH_PX, PATCH_PX)

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.proj(image)
        return x.permute(0, 2, 3, 1)


class Block(nn.Module):
    """A transformer block on a map of tokens (B, h, w, dim); `window` 0 attends to the whole map."""

    def __init__(self, dim: int, heads: int, positions: int, *, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, positions)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim, 4 * dim, nn.GELU)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x

    def _attend(self, x: Tensor) -> Tensor:
        if self.window:
            size = (x.shape[1], x.shape[2])
            return from_windows(self.attn(to_windows(x, self.window)), size)
        y: Tensor = self.attn(x)
        return y


class Attention(nn.Module):
    """Multi-head attention over a map, its scores shifted by the offsets along each axis.

    Args:
        positions: the side of the map that the tables of relative positions are for.
    """

    def __init__(self, dim: int, heads: int, positions: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * positions - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * positions - 1, dim // heads))

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        channels = dim // self.heads
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.heads, channels)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, -1, height * width, channels).unbind(0)
        scores = (q * channels**-0.5) @ k.transpose(1, 2)
        scores = self._shift(scores, q.reshape(-1, height, width, channels))
        y = (scores.softmax(-1) @ v).reshape(batch, self.heads, height, width, channels)
        z: Tensor = self.proj(y.permute(0, 2, 3, 1, 4).reshape(batch, height, width, dim))
        return z

    def _shift(self, scores: Tensor, q: Tensor) -> Tensor:
        """Add to scores (n, h*w, h*w) what the unscaled queries (n, h, w, c) say of each offset."""
        n, height, width, _ = q.shape
        along_y = relative_positions(self.rel_pos_h, height).transpose(1, 2)
        along_x = relative_positions(self.rel_pos_w, width).transpose(1, 2)
        shift_y = q @ along_y
        shift_x = (q.transpose(1, 2) @ along_x).transpose(1, 2)
        shifted = scores.reshape(n, height, width, height, width)
        shifted = shifted + shift_y[..., :, None] + shift_x[..., None, :]
        return shifted.reshape(scores.shape)


def relative_positions(table: Tensor, size: int) -> Tensor:
    """Encodings (size, size, channels) of the offset from each query to each key along one axis.

    `table` (2n - 1, channels) holds offsets -(n-1)..n-1. A shorter axis takes its middle; for a longer one
    it is stretched by linear interpolation, as in the reference.
    """
    count = 2 * size - 1
    if len(table) < count:
        table = F.interpolate(table.T[None], size=count, mode="linear")[0].T
    middle = len(table) // 2
    index = torch.arange(size, device=table.device)
    return table[index[:, None] - index[None, :] + middle]
