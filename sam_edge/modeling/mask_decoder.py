"""SAM's mask decoder: tokens and image become four masks and their predicted IoU.

Source: Kirillov et al., "Segment Anything" (2023), appendix A.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam_edge.modeling.layers import Head, LayerNorm2d
from sam_edge.modeling.transformer import TwoWayTransformer

MASKS = 4
"""One for unambiguous prompts and three for ambiguous ones."""
OUTPUT_TOKENS = 1 + MASKS
"""The tokens that answers are read from: the IoU's and each mask's. They come before the prompt's."""


class MaskDecoder(nn.Module):
    """Reads masks off the image with one small learned filter per mask."""

    def __init__(self, *, dim: int = 256, heads: int = 8, hidden: int = 2048) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(dim=dim, heads=heads, hidden=hidden)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(MASKS, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, 2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Head(dim, dim, dim // 8, depth=3) for _ in range(MASKS))
        self.iou_prediction_head = Head(dim, dim, MASKS, depth=3)

    def forward(
        self, embedding: Tensor, positions: Tensor, prompt: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, 4, 4h, 4w) and predicted IoU (B, 4).

        Args:
            embedding: (1, dim, h, w), of one picture.
            positions: (h * w, dim).
            prompt: (B, S, dim).
            dense: (1 or B, dim, h or 1, w or 1), added to the embedding.
        """
        height, width = embedding.shape[2:]
        image = (embedding + dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(image, positions, self.with_outputs(prompt))
        features = self.output_upscaling(image.transpose(1, 2).unflatten(2, (height, width)))
        logits = (self.filters(tokens) @ features.flatten(2)).unflatten(2, features.shape[2:])
        return logits, self.iou_prediction_head(tokens[:, 0])

    def with_outputs(self, prompt: Tensor) -> Tensor:
        """The prompt's tokens (B, S, dim) after the output tokens: (B, 5 + S, dim)."""
        outputs = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        return torch.cat([outputs.expand(prompt.shape[0], -1, -1), prompt], 1)

    def filters(self, tokens: Tensor) -> Tensor:
        """What each mask token (of B, T, dim) looks for in the upscaled image: (B, 4, dim / 8)."""
        return torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1)
