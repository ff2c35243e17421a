"""SAM's prompt encoder: points, box corners and a previous mask become tokens and a dense map.

Source: Kirillov et al., "Segment Anything" (2023); positions are random Fourier features (Tancik et al., 2020).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from sam_edge.errors import InputError
from sam_edge.modeling.layers import LayerNorm2d
from sam_edge.prompt import EMPTY_SLOT, NOT_A_POINT

TOKEN_PX = 16
"""Input pixels per image token, along x and y."""
LEARNED_LABELS = 4
"""Labels 0..3 have a learned vector each: background, foreground, box top-left, box bottom-right."""
HIDDEN = -3e4
"""Added to a score to hide it: its exponential is exactly 0, and float16 can still hold it."""


class Prompts(nn.Module, ABC):
    """What every prompt encoder has: where things are, in pixels of the encoder's input.

    Args:
        dim: channels of a token.
        image_size: side in pixels of the square that coordinates are measured against. A smaller or
            rectangular input is its top-left part.
    """

    takes_masks = False
    """Whether an earlier mask can be part of a prompt."""

    def __init__(self, dim: int, image_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.image_size = image_size
        self.pe_layer = FourierPositions(dim // 2)

    @abstractmethod
    def points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Tokens (B, T, dim) of points (B, S, 2), x and y in pixels, with labels (B, S), none of them empty.

        Labels: 1 foreground, 0 background, 2 and 3 box corners, -1 not a point.
        """

    @abstractmethod
    def slots(self, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of the slots of a graph.

        Args:
            coords: (B, S, 2), x and y in pixels.
            labels: (B, S), as in `points`, and -2 for an empty slot.

        Returns:
            Tokens (B, T, dim), and what is added to the score of each token in attention, (B, T): HIDDEN where
            the slot is empty.
        """

    def mask(self, mask_logits: Tensor) -> Tensor:
        """Dense map (B, dim, h, w) of an earlier mask's logits (B, 1, 4h, 4w).

        Raises:
            InputError: this family has no mask prompt.
        """
        raise InputError("this model takes no mask prompt", hint="give points or a box")

    def no_mask(self) -> Tensor:
        """The dense map of a prompt without an earlier mask: (1, dim, 1, 1)."""
        return torch.zeros(1, self.dim, 1, 1).to(self.pe_layer.positional_encoding_gaussian_matrix)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Positional encodings (h * w, dim) of the image tokens of a grid (h, w), row by row."""
        height, width = grid
        like = self.pe_layer.positional_encoding_gaussian_matrix
        y = (torch.arange(height).to(like) + 0.5) * TOKEN_PX / self.image_size
        x = (torch.arange(width).to(like) + 0.5) * TOKEN_PX / self.image_size
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        positions: Tensor = self.pe_layer(torch.stack([columns, rows], -1).flatten(0, 1))
        return positions


class PromptEncoder(Prompts):
    """SAM's own, with points, boxes and masks."""

    takes_masks = True

    def __init__(self, *, dim: int = 256, image_size: int = 1024, mask_channels: int = 16) -> None:
        super().__init__(dim, image_size)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(LEARNED_LABELS))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, 2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, 2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)

    def points(self, coords: Tensor, labels: Tensor) -> Tensor:
        # Half a pixel: coordinates name pixels, positions their centres.
        tokens: Tensor = self.pe_layer((coords + 0.5) / self.image_size)
        tokens = tokens * (labels >= 0).to(tokens.dtype)[..., None]
        kinds = torch.arange(NOT_A_POINT, LEARNED_LABELS).to(labels)
        vectors = [self.not_a_point_embed.weight, *self.point_embeddings.parameters()]
        return tokens + (labels[..., None] == kinds).to(tokens.dtype) @ torch.cat(vectors)

    def slots(self, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # An empty slot's token is zero.
        tokens = self.points(coords, labels)
        return tokens, (labels == EMPTY_SLOT).to(tokens.dtype) * HIDDEN

    def mask(self, mask_logits: Tensor) -> Tensor:
        dense: Tensor = self.mask_downscaling(mask_logits)
        return dense

    def no_mask(self) -> Tensor:
        return self.no_mask_embed.weight[:, :, None, None]


class FourierPositions(nn.Module):
    """Points (..., 2), x and y in 0..1 -> (..., 2 * features): sines and cosines of random waves."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, xy: Tensor) -> Tensor:
        phase = 2 * math.pi * ((2 * xy - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([phase.sin(), phase.cos()], -1)
