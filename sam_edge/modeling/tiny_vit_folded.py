"""TinyViT's attention stages as engines compute them fastest. Exact algebra: only rounding differs.

- Tokens stay (B, H * W, C) from the first block to the last, channels last as the convolutions between them
  lie in memory: what is a transposition in PyTorch is a change of view in an engine.
- The normalisation's gain and shift go into the product behind it, the scores' scale into the queries'.
- A token that pads a window is 0 then, and its key and value are 0 too: the key's bias adds the same to all
  scores of a query, which softmax takes out, and the shares of the values add up to one, so that the value's
  bias moves behind the attention.
- Queries, keys and values come from three products: out of one they would have to be sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.windows import from_windows, to_windows

if TYPE_CHECKING:
    from sam_edge.modeling.tiny_vit import Attention, AttentionStage, Block


class FoldedStage(nn.Module):
    """The equal of an AttentionStage: (B, C, H, W), and what its downsampling makes of that."""

    def __init__(self, stage: AttentionStage) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FoldedBlock(cast("Block", block)) for block in stage.blocks)
        self.downsample = stage.downsample

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        tokens = _as_tokens(x)
        for block in self.blocks:
            tokens = block(tokens, size)
        x = _as_map(tokens, size)
        return x if self.downsample is None else self.downsample(x)


class FoldedBlock(nn.Module):
    """The equal of a Block, on tokens (B, H * W, C) of a map of `size` (H, W)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.attn = FoldedAttention(block.attn)
        self.local_conv = block.local_conv
        mlp = block.mlp
        self.widen = NormedLinear(mlp.norm, mlp.fc1.weight, mlp.fc1.bias)
        self.narrow = mlp.fc2

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = x + self.attn(x, size)
        x = _as_tokens(self.local_conv(_as_map(x, size)))
        y: Tensor = x + self.narrow(F.gelu(self.widen(self.widen.normalise(x))))
        return y


class FoldedAttention(nn.Module):
    """The equal of an Attention inside windows, cutting and joining them included: (B, H * W, C)."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        weight, bias = attention.qkv.weight, attention.qkv.bias
        dim = weight.shape[1]
        self.heads = attention.heads
        self.channels = dim // self.heads
        self.window = round(attention.offsets.shape[0] ** 0.5)
        # The checkpoint's rows are ordered by head first, then query, key, value.
        rows = torch.arange(3 * dim).reshape(self.heads, 3, self.channels)
        query, key, value = (rows[:, part].flatten() for part in range(3))
        scale = self.channels**-0.5
        norm = attention.norm
        self.query = NormedLinear(norm, weight[query] * scale, bias[query] * scale)
        self.key = NormedLinear(norm, weight[key])
        self.value = NormedLinear(norm, weight[value])
        shifted = norm.bias.double() @ weight[value].double().T + bias[value].double()
        joined = attention.proj
        self.weight = _constant(joined.weight, joined.weight)
        self.bias = _constant(joined.bias.double() + joined.weight.double() @ shifted, joined.weight)
        self.position_bias = _constant(attention.attention_biases[:, attention.offsets], joined.weight)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        batch, _, dim = x.shape
        normal = self.query.normalise(x).reshape(batch, *size, dim)
        tokens = to_windows(normal, self.window).flatten(1, 2)
        q, k, v = (self._by_head(part(tokens)) for part in (self.query, self.key, self.value))
        scores = q @ k.transpose(2, 3) + self.position_bias
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, self.window, self.window, dim)
        # Joined before the last product: what pads the windows needs none.
        return F.linear(from_windows(y, size).flatten(1, 2), self.weight, self.bias)

    def _by_head(self, x: Tensor) -> Tensor:
        """(n, tokens, C) -> (n, heads, tokens, channels)."""
        return x.reshape(*x.shape[:2], self.heads, self.channels).transpose(1, 2)


class NormedLinear(nn.Module):
    """A linear layer that takes in the gain of the normalisation before it, and its shift if it has a bias."""

    def __init__(self, norm: nn.LayerNorm, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight = _constant(weight.double() * norm.weight.double(), weight)
        shifted = None if bias is None else bias.double() + weight.double() @ norm.bias.double()
        self.bias = None if shifted is None else _constant(shifted, weight)

    def normalise(self, x: Tensor) -> Tensor:
        """Tokens (..., C) with mean 0 and variance 1: the normalisation without gain and shift."""
        return F.layer_norm(x, x.shape[-1:], eps=self.eps)

    def forward(self, normal: Tensor) -> Tensor:
        """Normalised tokens (..., C) -> (..., outputs)."""
        return F.linear(normal, self.weight, self.bias)


def _as_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _as_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W)."""
    return tokens.reshape(tokens.shape[0], *size, -1).permute(0, 3, 1, 2)


def _constant(values: Tensor, like: Tensor) -> nn.Buffer:
    return nn.Buffer(values.detach().to(like.dtype).contiguous())
