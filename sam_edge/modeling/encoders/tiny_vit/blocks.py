"""TinyViT's layers: patch embedding, convolution and attention stages."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.encoders.windows import from_windows, to_windows
from sam_edge.modeling.layers import ConvNorm

HEAD_CHANNELS = 32


class PatchEmbed(nn.Module):
    """Two strided convolutions: (B, 3, H, W) -> (B, dim, H / 4, W / 4)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, dim // 2, 3, 2), nn.GELU(), ConvNorm(dim // 2, dim, 3, 2))

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.seq(image)
        return x


class InvertedBottleneck(nn.Module):
    """Widen, filter each channel, narrow, add: (B, dim, H, W)."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = dim * expansion
        self.conv1 = ConvNorm(dim, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, depthwise=True)
        self.conv3 = ConvNorm(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.conv1(x))
        y = self.conv3(F.gelu(self.conv2(y)))
        return F.gelu(x + y)


class PatchMerging(nn.Module):
    """From one stage to the next: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, depthwise=True)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return y


class ConvStage(nn.Module):
    """The first stage: convolutions only."""

    def __init__(self, dim: int, depth: int, downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(InvertedBottleneck(dim) for _ in range(depth))
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.downsample(x)
        return y


class AttentionStage(nn.Module):
    """A later stage: attention inside windows, and a merging that the last one lacks."""

    def __init__(self, dim: int, depth: int, window: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, window) for _ in range(depth))
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class Block(nn.Module):
    """Windowed attention, a depthwise convolution, and a feed-forward layer: (B, dim, H, W)."""

    def __init__(self, dim: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(dim, window)
        self.local_conv = ConvNorm(dim, dim, 3, depthwise=True)
        self.mlp = FeedForward(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        size = (x.shape[1], x.shape[2])
        if size == (self.window, self.window):
            y = self.attn(x)
        else:
            y = from_windows(self.attn(to_windows(x, self.window)), size)
        x = self.local_conv((x + y).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.mlp(x)
        return x.permute(0, 3, 1, 2)


class FeedForward(nn.Module):
    """Normalise, widen four times, narrow: (..., dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return y


class Attention(nn.Module):
    """Multi-head attention inside windows (n, window, window, dim), a learned bias for each offset.

    Padding takes part: the reference normalises inside the attention, after the windows were padded.
    """

    offsets: Tensor

    def __init__(self, dim: int, window: int) -> None:
        super().__init__()
        self.heads = dim // HEAD_CHANNELS
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(self.heads, window * window))
        self.register_buffer("offsets", _offsets(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        count, height, width, dim = x.shape
        tokens = height * width
        # The checkpoint's rows are ordered by head first, then query, key, value.
        qkv = self.qkv(self.norm(x)).reshape(count, tokens, self.heads, 3, HEAD_CHANNELS)
        q, k, v = qkv.permute(3, 0, 2, 1, 4).unbind(0)
        scores = (q * HEAD_CHANNELS**-0.5) @ k.transpose(2, 3)
        scores = scores + self.attention_biases[:, self.offsets]
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(count, height, width, dim)
        z: Tensor = self.proj(y)
        return z


def _offsets(window: int) -> Tensor:
    """Which bias each pair of tokens takes, (window**2, window**2): one a distance |dy|, |dx|."""
    index = torch.arange(window * window)
    y, x = index // window, index % window
    return (y[:, None] - y).abs() * window + (x[:, None] - x).abs()
