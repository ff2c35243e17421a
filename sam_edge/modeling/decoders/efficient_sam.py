"""EfficientSAM's prompt encoder and mask decoder, where they differ from SAM's.

A prompt is always six tokens: its points and box corners, and copies of one padding token, which take part in
attention. Background points have a position but no vector of their own; masks are not prompts; the
self-attention is residual in the first layer too, and its values include the prompt; the upscaled map is
normalised as a whole; GELU replaces ReLU.

Source: Xiong et al., "EfficientSAM" (2023), and `yformer/EfficientSAM`, whose checkpoints give the names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.decoders.mask_decoder import MASKS, Decoder, Upscaling
from sam_edge.modeling.decoders.prompt_encoder import HIDDEN, Prompts
from sam_edge.modeling.decoders.transformer import TwoWayLayer, TwoWayTransformer
from sam_edge.prompt import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND

PROMPT_TOKENS = 6
"""How many tokens the reference makes of every prompt. It drops points beyond them; here they are kept."""
OUTSIDE = -1.0
"""The coordinate of everything left of or above the image, and of padding."""


class PointPrompts(Prompts):
    """Points and box corners in pixels of the encoder's input."""

    def __init__(self, *, dim: int = 256, image_size: int = 1024) -> None:
        super().__init__(dim, image_size)
        self.invalid_points = nn.Embedding(1, dim)
        self.point_embeddings = nn.Embedding(1, dim)
        self.bbox_top_left_embeddings = nn.Embedding(1, dim)
        self.bbox_bottom_right_embeddings = nn.Embedding(1, dim)

    def points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """As in the reference: (B, 6, dim), or more tokens for more points.

        All rows of `labels` (B, S) must have their "not a point" at the same places; how many there are changes
        nothing.
        """
        given = labels[0] >= 0
        tokens = self._tokens(coords[:, given], labels[:, given])
        missing = max(0, PROMPT_TOKENS - tokens.shape[1])
        return torch.cat([tokens, self._padding().expand(len(tokens), missing, -1)], 1)

    def slots(self, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One token stands for all the padding: n identical keys have the softmax weight of one key with
        log(n) added to its score, and n identical queries find the same."""
        given = (labels >= 0).to(coords.dtype)
        tokens = self._tokens(coords, labels) * given[..., None]
        missing = PROMPT_TOKENS - given.sum(1, keepdim=True)
        weight = missing.clamp(min=1).log() + (missing < 1).to(given.dtype) * HIDDEN
        bias = torch.cat([(1 - given) * HIDDEN, weight], 1)
        return torch.cat([tokens, self._padding().expand(tokens.shape[0], -1, -1)], 1), bias

    def _tokens(self, coords: Tensor, labels: Tensor) -> Tensor:
        tokens: Tensor = self.pe_layer((torch.where(coords < 0, OUTSIDE, coords) + 0.5) / self.image_size)
        kinds = torch.tensor([FOREGROUND, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]).to(labels)
        vectors = [self.point_embeddings, self.bbox_top_left_embeddings, self.bbox_bottom_right_embeddings]
        chosen = (labels[..., None] == kinds).to(tokens.dtype)
        return tokens + chosen @ torch.cat([vector.weight for vector in vectors])

    def _padding(self) -> Tensor:
        """(1, 1, dim)."""
        outside = torch.full((1, 1, 2), OUTSIDE).to(self.invalid_points.weight)
        token: Tensor = self.pe_layer((outside + 0.5) / self.image_size) + self.invalid_points.weight
        return token


class EfficientSamDecoder(Decoder):
    """SAM's decoder with EfficientSAM's layers and names."""

    def __init__(self, *, dim: int = 256, heads: int = 8, hidden: int = 2048) -> None:
        super().__init__(TwoWayTransformer(dim=dim, heads=heads, hidden=hidden, layer=Layer), dim)
        self.final_output_upscaling_layers = nn.ModuleList(
            [
                nn.Sequential(nn.ConvTranspose2d(dim, dim // 4, 2, 2), WholeMapNorm(dim // 4)),
                nn.Sequential(nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2)),
            ]
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(dim, dim, dim // 8, 2) for _ in range(MASKS))
        self.iou_prediction_head = Mlp(dim, dim, MASKS, 2)

    def upscaling(self) -> Upscaling:
        layers = self.final_output_upscaling_layers
        first, norm, second = (part for layer in layers for part in layer.children())
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, WholeMapNorm)
        assert isinstance(second, nn.ConvTranspose2d)
        return Upscaling(first, norm, second)


class Layer(TwoWayLayer):
    """A layer of the two-way transformer."""

    def __init__(self, dim: int, heads: int, hidden: int, downsample: int, eps: float) -> None:
        super().__init__(dim, heads, hidden, downsample, eps)
        self.mlp = Mlp(dim, hidden, dim, 1)

    def self_attention(
        self, tokens: Tensor, prompt: Tensor, bias: Tensor | None = None, *, first: bool
    ) -> Tensor:
        # Residual in the first layer too; queries, keys and values are the same.
        x = tokens if first else tokens + prompt
        y: Tensor = self.norm1(x + self.self_attn(x, x, x, bias))
        return y


class Mlp(nn.Module):
    """`depth` linear layers with GELU after each, and one more: (..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * depth]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(sizes[i], sizes[i + 1]), nn.GELU()) for i in range(depth)
        )
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.fc(x)
        return y


class WholeMapNorm(nn.Module):
    """Group normalisation of a map (B, C, H, W) with a single group: one mean and one deviation for all
    values of a map, then a gain and a shift for each channel."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, 1, self.weight, self.bias, self.eps)

    def channels_last(self, x: Tensor) -> Tensor:
        """The same for maps as tokens (B, N, C).

        Means are taken in two steps: a sum of a million values in one loses digits, and cannot be shared
        among cores.
        """
        centred = x - _mean(x)
        scale = (_mean(centred.square()) + self.eps).rsqrt()
        return centred * scale * self.weight + self.bias


def _mean(x: Tensor) -> Tensor:
    """Of all values of each map (B, N, C), as (B, 1, 1)."""
    return x.mean(2, keepdim=True).mean(1, keepdim=True)
