"""nano's image encoder: plain 3x3 convolutions to stride 32, folded back to stride 16, 8 and 4."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.nano.blocks import PointConv, RepConv

TRUNK_CHANNELS = 128
EMBEDDING_CHANNELS = 96
KEY_CHANNELS = 64
SKIP8_CHANNELS = 48
SKIP4_CHANNELS = 16


def double(x: Tensor) -> Tensor:
    """`x` (B, C, h, w) at twice the size, nearest neighbour."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    layers = [RepConv(inputs, outputs, stride=2)]
    layers += [RepConv(outputs, outputs) for _ in range(blocks)]
    return nn.Sequential(*layers)


class NanoTrunk(nn.Module):
    """Image to features at stride 4, 8 and 16, the last of which have seen the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = RepConv(3, 16, stride=2)
        self.stage4 = _stage(16, 32, 2)
        self.stage8 = _stage(32, 64, 3)
        self.stage16 = _stage(64, 128, 4)
        self.stage32 = _stage(128, 192, 2)
        self.deep32 = RepConv(192, 192, relu=False)
        self.context = nn.Conv2d(192, 192, 1)
        self.down32 = PointConv(192, 128)
        self.lateral16 = PointConv(128, 128)
        self.neck = RepConv(128, TRUNK_CHANNELS)
        nn.init.zeros_(self.deep32.norm.weight)  # begins as nothing beside its input

    def pyramid(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`image` (B, 3, H, W) to (B, 32, H/4, W/4), (B, 64, H/8, W/8) and (B, 128, H/16, W/16)."""
        x4 = self.stage4(self.stem(image))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x32 = self.stage32(x16)
        x32 = F.relu(x32 + self.deep32(x32) + self.context(x32.mean((2, 3), keepdim=True)))
        y16 = self.neck(F.relu(self.lateral16(x16) + double(self.down32(x32))))
        return x4, x8, y16


class NanoEncoder(NanoTrunk):
    """Image to everything of it that the decoder needs, so that a prompt costs little."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = PointConv(TRUNK_CHANNELS, EMBEDDING_CHANNELS)
        self.down16 = PointConv(TRUNK_CHANNELS, 64)
        self.lateral8 = PointConv(64, 64)
        self.key = PointConv(64, KEY_CHANNELS)
        self.skip8 = PointConv(64, SKIP8_CHANNELS)
        self.down8 = PointConv(64, 32)
        self.lateral4 = PointConv(32, 32)
        self.skip4 = PointConv(32, SKIP4_CHANNELS)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """`image` (B, 3, H, W), RGB normalised by MEAN and STD, H and W multiples of 32.

        Returns `embedding` (B, 96, H/16, W/16), `key8` (B, 64, H/8, W/8), `skip8` (B, 48, H/8, W/8)
        and `skip4` (B, 16, H/4, W/4).
        """
        x4, x8, y16 = self.pyramid(image)
        y8 = F.relu(self.lateral8(x8) + double(self.down16(y16)))
        y4 = F.relu(self.lateral4(x4) + double(self.down8(y8)))
        return {
            "embedding": self.embedding(y16),
            "key8": self.key(y8),
            "skip8": self.skip8(y8),
            "skip4": self.skip4(y4),
        }
