"""SAM's mask decoder: tokens and image become four masks and their predicted IoU.

Source: Kirillov et al., "Segment Anything" (2023), appendix A.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.decoders.transformer import TwoWayTransformer
from sam_edge.modeling.layers import Head, LayerNorm2d

MASKS = 4
"""One for unambiguous prompts and three for ambiguous ones."""
OUTPUT_TOKENS = 1 + MASKS
"""The tokens that answers are read from: the IoU's and each mask's. They come before the prompt's."""


class MapNorm(Protocol):
    """A normalisation of a map."""

    def __call__(self, x: Tensor) -> Tensor:
        """Of (B, C, H, W)."""
        ...

    def channels_last(self, x: Tensor) -> Tensor:
        """Of one map as tokens (N, C)."""
        ...


class Upscaling(NamedTuple):
    """Two convolutions transposed, each doubling the map and followed by GELU; a norm after the first."""

    first: nn.ConvTranspose2d
    norm: MapNorm
    second: nn.ConvTranspose2d


class Decoder(nn.Module, ABC):
    """Reads masks off the image with one small learned filter per mask."""

    output_hypernetworks_mlps: nn.ModuleList
    iou_prediction_head: nn.Module

    def __init__(self, transformer: TwoWayTransformer, dim: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(MASKS, dim)

    @abstractmethod
    def upscaling(self) -> Upscaling:
        """How image tokens become the features that the filters read."""

    def forward(
        self, embedding: Tensor, positions: Tensor, prompt: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, 4, 4h, 4w) and predicted IoU (B, 4).

        Args:
            embedding: (1, dim, h, w), of one image.
            positions: (h * w, dim).
            prompt: (B, S, dim).
            dense: (1 or B, dim, h or 1, w or 1), added to the embedding.
        """
        height, width = embedding.shape[2:]
        image = (embedding + dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(image, positions, self.with_outputs(prompt))
        first, norm, second = self.upscaling()
        features = F.gelu(norm(first(image.transpose(1, 2).unflatten(2, (height, width)))))
        features = F.gelu(second(features))
        logits = (self.filters(tokens) @ features.flatten(2)).unflatten(2, features.shape[2:])
        return logits, self.iou_prediction_head(tokens[:, 0])

    def with_outputs(self, prompt: Tensor) -> Tensor:
        """The prompt's tokens (B, S, dim) after the output tokens: (B, 5 + S, dim)."""
        outputs = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        return torch.cat([outputs.expand(prompt.shape[0], -1, -1), prompt], 1)

    def filters(self, tokens: Tensor) -> Tensor:
        """What each mask token (of B, T, dim) looks for in the upscaled image: (B, 4, dim / 8)."""
        return torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1)


class MaskDecoder(Decoder):
    """SAM's own.

    Args:
        eps: of the transformer's normalisations.
    """

    def __init__(self, *, dim: int = 256, heads: int = 8, hidden: int = 2048, eps: float = 1e-5) -> None:
        super().__init__(TwoWayTransformer(dim=dim, heads=heads, hidden=hidden, eps=eps), dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, 2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Head(dim, dim, dim // 8, depth=3) for _ in range(MASKS))
        self.iou_prediction_head = Head(dim, dim, MASKS, depth=3)

    def upscaling(self) -> Upscaling:
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, LayerNorm2d)
        assert isinstance(second, nn.ConvTranspose2d)
        return Upscaling(first, norm, second)
