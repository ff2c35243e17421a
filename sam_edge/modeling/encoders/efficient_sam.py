"""EfficientSAM's image encoder: a plain vision transformer, every token attending to all.

Source: Xiong et al., "EfficientSAM: Leveraged Masked Image Pretraining for Efficient Segment Anything" (2023),
and `yformer/EfficientSAM`, whose checkpoints give the names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.layers import neck

PATCH_PX = 16
PRETRAINED_GRID = 14
"""Side of the map that the positions were learned on, 224 pixels."""


class EfficientSamEncoder(nn.Module):
    """Image (B, 3, H, W) -> embedding (B, out_channels, H / 16, W / 16); H and W multiples of 16.

    Args:
        image_size: side of the images, in pixels, that the fused encoder is for; this one takes any.
    """

    def __init__(
        self, *, dim: int, heads: int, depth: int = 12, out_channels: int = 256, image_size: int = 1024
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.patch_embed = PatchEmbed(dim)
        # The first position is of a class token, which only the pretraining had.
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + PRETRAINED_GRID**2, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.neck = neck(dim, out_channels)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)
        return self.attend(x + stretched_positions(self.pos_embed, (x.shape[2], x.shape[3])))

    def attend(self, x: Tensor) -> Tensor:
        """Patches with their positions (B, dim, h, w) -> embedding (B, out_channels, h, w)."""
        size = (x.shape[2], x.shape[3])
        tokens = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        embedding: Tensor = self.neck(tokens.transpose(1, 2).unflatten(2, size))
        return embedding

    def fuse(self) -> nn.Module:
        """The encoder for images of `image_size`, with the positions as they are there."""
        return OneSize(self, self.image_size // PATCH_PX)


class OneSize(nn.Module):
    """An encoder whose positions are already stretched to `side` tokens in height and width."""

    def __init__(self, encoder: EfficientSamEncoder, side: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.positions = nn.Buffer(stretched_positions(encoder.pos_embed, (side, side)).detach())

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder.attend(self.encoder.patch_embed(image) + self.positions)


def stretched_positions(positions: Tensor, size: tuple[int, int]) -> Tensor:
    """Learned positions (1, 1 + n * n, C) without the first, stretched to (1, C, *size) as images are."""
    side = PRETRAINED_GRID
    square = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    return F.interpolate(square, size=size, mode="bicubic", align_corners=False)


class PatchEmbed(nn.Module):
    """Each 16x16 patch of the image becomes a token: (B, 3, H, W) -> (B, dim, H / 16, W / 16)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH_PX, PATCH_PX)

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.proj(image)
        return x


class Block(nn.Module):
    """A transformer block on tokens (B, N, dim)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


class Attention(nn.Module):
    """Multi-head attention among tokens (B, N, dim)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        channels = dim // self.heads
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, channels)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * channels**-0.5) @ k.transpose(2, 3)
        y: Tensor = self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return y


class FeedForward(nn.Module):
    """Widen four times, narrow: (..., dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y
