"""RepViT-SAM's image encoder: RepViT-M2.3 with SAM's neck, and the blocks that EdgeSAM's encoder shares.

Source: Wang et al., "RepViT: Revisiting Mobile CNN From ViT Perspective" (2023) and "RepViT-SAM" (2023),
`THU-MIG/RepViT`, which drops the last downsampling so that the embedding keeps SAM's stride of 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.fuse import affine, depthwise_conv
from sam_edge.modeling.layers import ConvNorm, neck


class RepViT(nn.Module):
    """Image (B, 3, H, W) -> embedding (B, out_channels, H / 16, W / 16); H and W multiples of 16.

    There are convolutions and means over the whole map only, so any size works.
    """

    def __init__(
        self,
        *,
        dims: Sequence[int] = (80, 160, 320, 640),
        depths: Sequence[int] = (7, 7, 35, 2),
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        stages = repvit_stages(dims, depths, strides=(2, 2, 1), mixer=NormedBranches)
        self.features = nn.ModuleList(block for stage in stages for block in stage)
        self.neck = neck(dims[-1], out_channels)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for block in self.features:
            x = block(x)
        embedding: Tensor = self.neck(x)
        return embedding


def repvit_stages(
    dims: Sequence[int], depths: Sequence[int], strides: Sequence[int], mixer: Callable[[int], nn.Module]
) -> list[list[nn.Module]]:
    """The blocks of each stage, in order; the first stage begins with the stem, which divides by 4.

    Args:
        dims: channels of each stage.
        depths: blocks of each stage, not counting the one that leads into it.
        strides: of the blocks that lead from one stage to the next.
        mixer: what filters each of so many channels in a block.
    """
    stages: list[list[nn.Module]] = [[stem(dims[0])]]
    for index, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
        if index:
            stages.append([downsampling(dims[index - 1], dim, strides[index - 1])])
        # Every other block weighs its channels, but never the last.
        stages[-1] += [block(dim, mixer, squeeze=i % 2 == 0 and i + 1 < depth) for i in range(depth)]
    return stages


def stem(dim: int) -> nn.Sequential:
    """Two strided convolutions: (B, 3, H, W) -> (B, dim, H / 4, W / 4)."""
    return nn.Sequential(ConvNorm(3, dim // 2, 3, 2), nn.GELU(), ConvNorm(dim // 2, dim, 3, 2))


def block(dim: int, mixer: Callable[[int], nn.Module], *, squeeze: bool) -> Block:
    """A block that keeps its shape (B, dim, H, W)."""
    return Block(nn.Sequential(mixer(dim), SqueezeExcite(dim) if squeeze else nn.Identity()), dim)


def downsampling(inputs: int, outputs: int, stride: int) -> Block:
    """The block between two stages: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
    filtered = ConvNorm(inputs, inputs, 3, stride, depthwise=True)
    # The checkpoint counts the place where a block of another kind has its SqueezeExcite.
    return Block(nn.Sequential(filtered, nn.Identity(), ConvNorm(inputs, outputs)), outputs)


class Block(nn.Module):
    """Channels are filtered one by one, then mixed: (B, C, H, W) -> (B, dim, H', W')."""

    def __init__(self, token_mixer: nn.Module, dim: int) -> None:
        super().__init__()
        self.token_mixer = token_mixer
        self.channel_mixer = ChannelMixer(dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.channel_mixer(self.token_mixer(x))
        return y


class ChannelMixer(nn.Module):
    """Widen, narrow, add: (B, dim, H, W)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.m = nn.Sequential(ConvNorm(dim, 2 * dim), nn.GELU(), ConvNorm(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.m(x)
        return y


class SqueezeExcite(nn.Module):
    """Weigh the channels of (B, dim, H, W) by what the whole map holds (Hu et al., 2018)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # A quarter, rounded to a multiple of 8, half of it upwards.
        squeezed = max(8, (dim // 4 + 4) // 8 * 8)
        self.fc1 = nn.Conv2d(dim, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.weigh(x, x.mean((2, 3), keepdim=True))

    def weigh(self, x: Tensor, mean: Tensor) -> Tensor:
        """The map with its channels weighed by their means (B, dim, 1, 1)."""
        y: Tensor = x * self.fc2(F.relu(self.fc1(mean))).sigmoid()
        return y

    def fuse(self) -> nn.Module:
        """The same with a mean that engines compute well."""
        return StepwiseSqueezeExcite(self)


class StepwiseSqueezeExcite(nn.Module):
    """SqueezeExcite with its mean in two steps.

    onnxruntime adds the 65536 values of a large map one by one: where they are equal, as padding makes them,
    all roundings go the same way, and the mean of one step is wrong by 3e-4.
    """

    def __init__(self, plain: SqueezeExcite) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, x: Tensor) -> Tensor:
        return self.plain.weigh(x, x.mean(3, keepdim=True).mean(2, keepdim=True))


class NormedBranches(nn.Module):
    """RepViT-M2.3's filter: 3x3 and 1x1 depthwise and an identity, summed, then normalised."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = ConvNorm(dim, dim, 3, depthwise=True)
        self.conv1 = nn.Conv2d(dim, dim, 1, groups=dim)
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x) + self.conv1(x) + x)
        return y

    def fuse(self) -> nn.Conv2d:
        """One depthwise convolution."""
        assert self.conv1.bias is not None
        inner, inner_shift = affine(self.conv.bn)
        gain, shift = affine(self.bn)
        return depthwise_conv(
            self.conv.c.weight * (inner * gain)[:, None, None, None],
            (self.conv1.weight + 1.0) * gain[:, None, None, None],
            (inner_shift + self.conv1.bias) * gain + shift,
            self.conv1.weight.dtype,
        )
