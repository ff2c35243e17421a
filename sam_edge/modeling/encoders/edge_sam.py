"""EdgeSAM's image encoder: RepViT-M1 whose last two stages are merged, with SAM's neck.

Source: Zhou et al., "EdgeSAM: Prompt-In-the-Loop Distillation for On-Device Deployment of SAM" (2023),
`chongzhou96/EdgeSAM`. Its prompt encoder and mask decoder are SAM's.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sam_edge.modeling.encoders.interpolation import interpolation, resampled
from sam_edge.modeling.encoders.repvit import repvit_stages
from sam_edge.modeling.fuse import affine, depthwise_conv
from sam_edge.modeling.layers import ConvNorm, neck


class EdgeSamEncoder(nn.Module):
    """Image (B, 3, H, W) -> embedding (B, out_channels, H / 16, W / 16); H and W multiples of 16."""

    def __init__(
        self,
        *,
        dims: Sequence[int] = (48, 96, 192, 384),
        depths: Sequence[int] = (3, 3, 15, 2),
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        stages = repvit_stages(dims, depths, strides=(2, 2, 2), mixer=Branches)
        self.last_stage = len(stages[-1])
        self.features = nn.ModuleList(block for stage in stages for block in stage)
        self.fuse_stage2 = nn.Conv2d(dims[-2], out_channels, 1, bias=False)
        self.fuse_stage3 = Upsampled(dims[-1], out_channels)
        self.neck = neck(out_channels, out_channels)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for block in self.features[: -self.last_stage]:
            x = block(x)
        fine = self.fuse_stage2(x)
        for block in self.features[-self.last_stage :]:
            x = block(x)
        embedding: Tensor = self.neck(fine + self.fuse_stage3(x, (fine.shape[2], fine.shape[3])))
        return embedding


class Upsampled(nn.Module):
    """A 1x1 convolution, then twice the height and width: (B, inputs, h, w) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.op_list = nn.ModuleList([nn.Conv2d(inputs, outputs, 1, bias=False)])

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """`size` is (H, W): twice (h, w), or one less where that was odd."""
        x = self.op_list[0](x)
        rows, columns = (
            interpolation(half, 2 * half)[:count] for half, count in zip(x.shape[2:], size, strict=True)
        )
        return resampled(x, rows, columns)


class Branches(nn.Module):
    """RepViT-M1's filter: 3x3 and 1x1 depthwise, each normalised, and an identity, summed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = ConvNorm(dim, dim, 3, depthwise=True)
        self.conv1 = ConvNorm(dim, dim, depthwise=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x) + self.conv1(x) + x
        return y

    def fuse(self) -> nn.Conv2d:
        """One depthwise convolution."""
        gain, shift = affine(self.conv.bn)
        centre_gain, centre_shift = affine(self.conv1.bn)
        return depthwise_conv(
            self.conv.c.weight * gain[:, None, None, None],
            self.conv1.c.weight * centre_gain[:, None, None, None] + 1.0,
            shift + centre_shift,
            self.conv.c.weight.dtype,
        )
