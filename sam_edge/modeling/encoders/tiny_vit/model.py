"""MobileSAM's image encoder: TinyViT-5M with SAM's neck.

Source: Wu et al., "TinyViT" (2022), and `ChaoningZhang/MobileSAM`, which drops the last downsampling so that
the embedding keeps SAM's stride of 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from sam_edge.modeling.encoders.tiny_vit.blocks import AttentionStage, ConvStage, PatchEmbed, PatchMerging
from sam_edge.modeling.encoders.tiny_vit.fused import FusedTinyViT
from sam_edge.modeling.layers import neck


class TinyViT(nn.Module):
    """Image (B, 3, H, W) -> embedding (B, out_channels, H / 16, W / 16); H and W multiples of 16.

    There are no absolute positions, so any size works. The classifier's `norm_head` and `head` are never
    used: they are here because the public checkpoint holds them.
    """

    def __init__(
        self,
        *,
        dims: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        windows: Sequence[int] = (7, 7, 14, 7),
        classes: int = 1000,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dims[0])
        stages: list[nn.Module] = [ConvStage(dims[0], depths[0], PatchMerging(dims[0], dims[1], stride=2))]
        for index in range(1, len(dims)):
            merging = None
            if index + 1 < len(dims):
                stride = 1 if index + 2 == len(dims) else 2
                merging = PatchMerging(dims[index], dims[index + 1], stride)
            stages.append(AttentionStage(dims[index], depths[index], windows[index], merging))
        self.layers = nn.ModuleList(stages)
        self.norm_head = nn.LayerNorm(dims[-1])
        self.head = nn.Linear(dims[-1], classes)
        self.neck = neck(dims[-1], out_channels)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)
        for stage in self.layers:
            x = stage(x)
        embedding: Tensor = self.neck(x)
        return embedding

    def fuse(self) -> nn.Module:
        """The plainer equal that is exported."""
        first, *attending = self.layers
        return FusedTinyViT(
            self.patch_embed, first, [cast("AttentionStage", stage) for stage in attending], self.neck
        )
