"""EfficientViT-SAM's image encoder: convolutions, linear attention, and a neck that adds three scales.

Source: Cai et al., "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction" (2023),
Zhang et al., "EfficientViT-SAM" (2024), and `mit-han-lab/efficientvit`, whose checkpoints give the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.encoders.interpolation import interpolation, resampled
from sam_edge.modeling.layers import LayerNorm2d

HEAD_CHANNELS = 32
EPS = 1e-6
"""Of every normalisation, the decoder's too: the reference sets it when it loads a checkpoint."""
NO_WEIGHT = 1e-15
"""Added to the sum of a token's weights, which may all be zero."""
NECK_CHANNELS = 256
NECK_SCALES = 3

Kind = Literal["plain", "fused", "inverted", "attention"]


@dataclass(frozen=True)
class Stage:
    """One stage of the backbone; each but the first halves the map in its first block."""

    channels: int
    depth: int
    """Blocks beside the one that halves."""
    kind: Kind
    expansion: int
    """How many times wider a block is inside; four times that in the block that halves."""
    kernel: int = 5
    """Of the attention's coarser scale."""


def l_stages(*depths: int) -> tuple[Stage, ...]:
    """The backbone of EfficientViT-SAM-L0, L1 and L2."""
    kinds: tuple[Kind, ...] = ("plain", "fused", "fused", "inverted", "attention")
    rows = zip((32, 64, 128, 256, 512), depths, kinds, (1, 4, 4, 4, 6), strict=True)
    return tuple(Stage(*row) for row in rows)


def xl_stages(*depths: int) -> tuple[Stage, ...]:
    """The backbone of EfficientViT-SAM-XL0 and XL1."""
    kinds: tuple[Kind, ...] = ("plain", "fused", "fused", "fused", "attention", "attention")
    rows = zip((32, 64, 128, 256, 512, 1024), depths, kinds, (1, 4, 4, 4, 4, 6), strict=True)
    return tuple(Stage(*row, kernel=3) for row in rows)


class EfficientViT(nn.Module):
    """Image (B, 3, H, W) -> embedding (B, out_channels, H / s, W / s), s = 8 of five stages, 16 of six.

    H and W are multiples of 4 s: the coarsest of the three scales that the neck adds has a quarter of the
    embedding's side.
    """

    def __init__(
        self, stages: Sequence[Stage], *, neck_depth: int, neck_expansion: int, out_channels: int = 256
    ) -> None:
        super().__init__()
        self.backbone = Backbone(stages)
        widths = [stage.channels for stage in stages[-NECK_SCALES:]]
        self.neck = Neck(widths[::-1], neck_depth, neck_expansion, out_channels)
        self.norm = LayerNorm2d(out_channels, eps=EPS)

    def forward(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.norm(self.neck(self.backbone(image)))
        return embedding


class Ops(nn.Module):
    """Modules one after another, under the checkpoint's name `op_list`."""

    def __init__(self, *ops: nn.Module) -> None:
        super().__init__()
        self.op_list = nn.ModuleList(ops)

    def forward(self, x: Tensor) -> Tensor:
        for op in self.op_list:
            x = op(x)
        return x


class Backbone(nn.Module):
    """Image (B, 3, H, W) -> the maps of the last stages, the coarsest first."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        first = stages[0]
        inputs = first.channels
        blocks: list[nn.Module] = [Conv(3, inputs, 3, stride=2, activation=True)]
        blocks += [Block(Plain(inputs)) for _ in range(first.depth)]
        self.stages = nn.ModuleList([Ops(*blocks)])
        for stage in stages[1:]:
            self.stages.append(_stage(inputs, stage))
            inputs = stage.channels

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [image]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[: -NECK_SCALES - 1 : -1]


def _stage(inputs: int, stage: Stage) -> Ops:
    channels, expansion = stage.channels, stage.expansion
    if stage.kind == "fused":
        halving: nn.Module = Fused(inputs, channels, 4 * expansion, stride=2)
        return Ops(
            Block(halving, shortcut=False),
            *(Block(Fused(channels, channels, expansion)) for _ in range(stage.depth)),
        )
    halving = Inverted(inputs, channels, 4 * expansion, stride=2)
    rest: list[nn.Module]
    if stage.kind == "attention":
        rest = [AttentionBlock(channels, expansion, stage.kernel) for _ in range(stage.depth)]
    else:
        rest = [Block(Inverted(channels, channels, expansion)) for _ in range(stage.depth)]
    return Ops(Block(halving, shortcut=False), *rest)


class Neck(nn.Module):
    """Three maps, the coarsest first, are brought to the finest one's size, added and refined."""

    def __init__(self, widths: Sequence[int], depth: int, expansion: int, outputs: int) -> None:
        super().__init__()
        self.input_ops = nn.ModuleList(Ops(Conv(width, NECK_CHANNELS, 1)) for width in widths)
        self.middle = Ops(*(Block(Fused(NECK_CHANNELS, NECK_CHANNELS, expansion)) for _ in range(depth)))
        self.output_ops = nn.ModuleList([Ops(Conv(NECK_CHANNELS, outputs, 1, bias=True, norm=False))])

    def forward(self, maps: list[Tensor]) -> Tensor:
        coarse, middle, fine = (op(x) for op, x in zip(self.input_ops, maps, strict=True))
        size = fine.shape[2:]
        x = _enlarged(coarse, size) + _enlarged(middle, size) + fine
        embedding: Tensor = self.output_ops[0](self.middle(x))
        return embedding


def _enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    rows, columns = (interpolation(count, larger) for count, larger in zip(x.shape[2:], size, strict=True))
    return resampled(x, rows, columns)


class Conv(nn.Module):
    """A convolution, batch normalisation and GELU by its tanh formula, each of the last two if wanted."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        depthwise: bool = False,
        bias: bool = False,
        norm: bool = True,
        activation: bool = False,
    ) -> None:
        super().__init__()
        groups = inputs if depthwise else 1
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(outputs, eps=EPS) if norm else nn.Identity()
        self.act = nn.GELU(approximate="tanh") if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


class Block(nn.Module):
    """What a block computes, added to its input if that has the same shape."""

    def __init__(self, main: nn.Module, *, shortcut: bool = True) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.main(x)
        return x + y if self.shortcut else y


class Plain(nn.Module):
    """Two convolutions of the same width: (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv(channels, channels, 3, activation=True)
        self.conv2 = Conv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x))
        return y


class Fused(nn.Module):
    """Widen with a 3x3 convolution, narrow: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int = 1) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.spatial_conv = Conv(inputs, hidden, 3, stride=stride, activation=True)
        self.point_conv = Conv(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.point_conv(self.spatial_conv(x))
        return y


class Inverted(nn.Module):
    """Widen, filter each channel, narrow; only the narrowing is normalised."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int = 1) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.inverted_conv = Conv(inputs, hidden, 1, bias=True, norm=False, activation=True)
        self.depth_conv = Conv(
            hidden, hidden, 3, stride=stride, depthwise=True, bias=True, norm=False, activation=True
        )
        self.point_conv = Conv(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.point_conv(self.depth_conv(self.inverted_conv(x)))
        return y


class AttentionBlock(nn.Module):
    """Linear attention over the whole map, then an inverted bottleneck: (B, C, H, W)."""

    def __init__(self, channels: int, expansion: int, kernel: int) -> None:
        super().__init__()
        self.context_module = Block(LiteMLA(channels, kernel))
        self.local_module = Block(Inverted(channels, channels, expansion))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.local_module(self.context_module(x))
        return y


class LiteMLA(nn.Module):
    """Linear attention at two scales: each head once on its tokens and once on tokens that a
    convolution gathered from around them. (B, C, H, W)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        wide, groups = 3 * channels, 3 * channels // HEAD_CHANNELS
        self.qkv = Conv(channels, wide, 1, norm=False)
        self.aggreg = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide, bias=False),
                    nn.Conv2d(wide, wide, 1, groups=groups, bias=False),
                )
            ]
        )
        self.proj = Conv(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        qkv = self.qkv(x)
        both = torch.cat([qkv, self.aggreg[0](qkv)], 1)
        # Channels are ordered by scale, then by head, then query, key, value.
        q, k, v = both.reshape(x.shape[0], -1, 3, HEAD_CHANNELS, height * width).unbind(2)
        y: Tensor = self.proj(linear_attention(q, k, v).reshape(x.shape[0], -1, height, width))
        return y


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Each token's mean of all values, weighted by relu(query) . relu(key): (B, heads, c, N), N tokens last.

    relu(q)^T (relu(k) v^T) costs c * c a token where softmax attention costs N * c. It is computed in
    float32 at least, and with means over the tokens where the reference has sums, which changes nothing in
    the quotient: sums over a map leave float16's range.
    """
    given = q.dtype
    q, k, v = (x.to(torch.promote_types(given, torch.float32)) for x in (q, k, v))
    q, k = F.relu(q), F.relu(k) / k.shape[-1]
    seen = (v @ k.transpose(2, 3)) @ q
    weight = k.sum(-1)[:, :, None] @ q
    return (seen / (weight + NO_WEIGHT)).to(given)
