"""TinyViT as engines compute it fastest. Exact algebra: only rounding differs.

- Tokens stay (B, H * W, C) from the first block to the last, channels last as the convolutions between them
  lie in memory: what is a transposition in PyTorch is a change of view in an engine.
- The normalisation's gain and shift go into the product behind it, the scores' scale into the queries'.
- A token that pads a window is 0 then, and its key and value are 0 too: the key's bias adds the same to all
  scores of a query, which softmax takes out, and the shares of the values add up to one, so that the value's
  bias moves behind the attention. So windows are padded behind the products, whose work they would add to.
- Queries, keys and values come from three products: out of one they would have to be sorted. One transposition
  cuts each into windows and heads.
- The neck begins with a product too, and nothing else reads the last block: its last product takes it in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.encoders.tiny_vit.blocks import Attention, AttentionStage, Block


class FusedTinyViT(nn.Module):
    """The equal of a TinyViT."""

    def __init__(
        self, patch_embed: nn.Module, first: nn.Module, attending: Sequence[AttentionStage], neck: nn.Sequential
    ) -> None:
        """The parts of a TinyViT: `first` is its convolution stage, `attending` its attention stages."""
        super().__init__()
        *stages, last = attending
        projection = cast("nn.Conv2d", neck[0]).weight.flatten(1)
        self.convolutions = nn.Sequential(patch_embed, first)
        self.stages = nn.Sequential(*map(FusedStage, stages), FusedStage(last, projection))
        self.neck = neck[1:]

    def forward(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.neck(self.stages(self.convolutions(image)))
        return embedding


class FusedStage(nn.Module):
    """The equal of an AttentionStage: (B, C, H, W), and what its downsampling makes of that.

    With a projection (outputs, C) each of its pixels is multiplied with that.
    """

    def __init__(self, stage: AttentionStage, projection: Tensor | None = None) -> None:
        super().__init__()
        *blocks, last = (cast("Block", block) for block in stage.blocks)
        self.blocks = nn.ModuleList([*map(FusedBlock, blocks), FusedBlock(last, projection)])
        self.downsample = stage.downsample

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        tokens = _as_tokens(x)
        for block in self.blocks:
            tokens = block(tokens, size)
        x = _as_map(tokens, size)
        return x if self.downsample is None else self.downsample(x)


class FusedBlock(nn.Module):
    """The equal of a Block, on tokens (B, H * W, C) of a map of `size` (H, W), times a projection if given."""

    def __init__(self, block: Block, projection: Tensor | None = None) -> None:
        super().__init__()
        self.attn = FusedAttention(block.attn)
        self.local_conv = block.local_conv
        mlp = block.mlp
        self.widen = NormedLinear(mlp.norm, mlp.fc1.weight, mlp.fc1.bias)
        weight, bias = mlp.fc2.weight.double(), mlp.fc2.bias.double()
        if projection is not None:
            weight, bias = projection.double() @ weight, projection.double() @ bias
        self.weight = _constant(weight, mlp.fc2.weight)
        self.bias = _constant(bias, mlp.fc2.bias)
        self.projection = None if projection is None else _constant(projection, projection)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = x + self.attn(x, size)
        x = _as_tokens(self.local_conv(_as_map(x, size)))
        y = F.linear(F.gelu(self.widen(self.widen.normalise(x))), self.weight, self.bias)
        return y + (x if self.projection is None else F.linear(x, self.projection))


class FusedAttention(nn.Module):
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
        normal = self.query.normalise(x)
        q, k, v = (self._cut(part(normal), size) for part in (self.query, self.key, self.value))
        y = (q @ k.transpose(2, 3) + self.position_bias).softmax(-1) @ v
        return F.linear(self._join(y, size), self.weight, self.bias)

    def _cut(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, H * W, C) -> (windows, heads, window**2, channels), zeros added at the right and bottom."""
        (height, width), window = size, self.window
        rows, columns = self._windows(size)
        x = x.reshape(-1, height, width, self.heads * self.channels)
        x = F.pad(x, (0, 0, 0, columns * window - width, 0, rows * window - height))
        x = x.reshape(-1, window, columns, window, self.heads, self.channels).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(-1, self.heads, window * window, self.channels)

    def _join(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Undo `_cut`; what it added is dropped."""
        (height, width), window = size, self.window
        rows, columns = self._windows(size)
        x = x.reshape(-1, columns, self.heads, window, window, self.channels).permute(0, 3, 1, 4, 2, 5)
        x = x.reshape(-1, rows * window, columns * window, self.heads * self.channels)
        return x[:, :height, :width].flatten(1, 2)

    def _windows(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many windows a map of `size` (H, W) takes: rows and columns."""
        return -(-size[0] // self.window), -(-size[1] // self.window)


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
