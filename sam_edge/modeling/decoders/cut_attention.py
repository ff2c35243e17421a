"""Attention between few tokens and many image tokens, with the projections moved to the few.

The scores of a head are q W_k^T X^T, so `q W_k^T` of T tokens serves instead of `X W_k` of N image tokens;
and A (X W_v) = (A X) W_v. Both are exact. With H heads of c channels the moved form multiplies N x C
by H*T columns where the plain one has H*c: it pays while T is below about c, which is 16 in SAM. The
first layer's image tokens do not depend on points and boxes: there the projections are prepared instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam_edge.modeling.decoders.transformer import Attention


class TokenToImage(nn.Module):
    """Tokens (P, T, C) of P prompts gather each from image tokens (P, N, C) of their own."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        values = attention.v_proj
        self.key_weight = nn.Buffer(_by_head(attention.k_proj.weight, attention))
        self.value_weight = nn.Buffer(_by_head(values.weight, attention).transpose(1, 2).contiguous())
        self.value_bias = nn.Buffer(_by_head(values.bias, attention).transpose(1, 2).contiguous())

    def forward(self, tokens: Tensor, positioned: Tensor, image: Tensor) -> Tensor:
        """`positioned` is the image with its positions added, which only the scores see."""
        attention = self.attention
        split = (tokens.shape[0], attention.heads, tokens.shape[1])
        # The key's bias shifts all scores of a query alike, which softmax takes out again.
        moved = (_scaled(attention, attention.q_proj(tokens)) @ self.key_weight).flatten(1, 2)
        scores = (moved @ positioned.transpose(1, 2)).reshape(*split, -1)
        gathered = (scores.softmax(-1).flatten(1, 2) @ image).reshape(*split, -1)
        return attention.join(gathered @ self.value_weight + self.value_bias)


class ImageToToken(nn.Module):
    """Image tokens (P, N, C) gather from the tokens (P, T, C) of their prompt."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        self.query_weight = nn.Buffer(_by_head(attention.q_proj.weight, attention))
        self.query_bias = nn.Buffer(_by_head(attention.q_proj.bias, attention))
        self.out_weight = nn.Buffer(_by_head(attention.out_proj.weight.T, attention))

    def forward(self, positioned: Tensor, tokens: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """`tokens` give the scores, `values` the answer; `bias` (P, T) hides empty slots."""
        attention = self.attention
        keys = _scaled(attention, attention.k_proj(tokens))
        moved = (keys @ self.query_weight).flatten(1, 2)
        shift = ((keys @ self.query_bias)[..., 0] + bias[:, None]).flatten(1)[:, None]
        return self._answer(positioned @ moved.transpose(1, 2) + shift, values)

    def _answer(self, scores: Tensor, values: Tensor) -> Tensor:
        """Scores (P, N, heads * T) and tokens (P, T, C) -> (P, N, C)."""
        attention = self.attention
        moved = (attention.split(attention.v_proj(values)) @ self.out_weight).flatten(1, 2)
        shares = scores.reshape(*scores.shape[:2], attention.heads, -1).softmax(-1).flatten(2)
        y: Tensor = shares @ moved + attention.out_proj.bias
        return y


class FirstTokenToImage(nn.Module):
    """Tokens (P, T, C) of P prompts gather from prepared keys (1, heads, c, N) and values (1, heads, N, c)."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def prepare(self, positioned: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of image tokens (1, N, C)."""
        attention = self.attention
        keys = attention.split(attention.k_proj(positioned)).transpose(2, 3)
        return keys, attention.split(attention.v_proj(image))

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        attention = self.attention
        # All prompts ask the same image: their tokens are the rows of one product.
        queries = attention.q_proj(tokens).flatten(0, 1)[None]
        scores = _scaled(attention, queries) @ keys
        return attention.join(scores.softmax(-1) @ values).reshape(tokens.shape)


class FirstImageToToken(ImageToToken):
    """Image tokens, known by their prepared queries (1, N, heads * c), gather from tokens (P, T, C)."""

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention)
        self.same_head = nn.Buffer(torch.eye(attention.heads)[None, :, None, :, None])

    def prepare(self, positioned: Tensor) -> Tensor:
        """Queries of image tokens (1, N, C)."""
        queries: Tensor = self.attention.q_proj(positioned)
        return queries

    def forward(self, queries: Tensor, tokens: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        attention = self.attention
        keys = _scaled(attention, attention.k_proj(tokens)).transpose(2, 3)
        # One product with a block-diagonal matrix keeps the scores in the order that the answer needs.
        blocks = (keys[:, :, :, None] * self.same_head).flatten(3).flatten(1, 2)
        return self._answer(queries @ blocks + bias.repeat(1, attention.heads)[:, None], values)


def _scaled(attention: Attention, x: Tensor) -> Tensor:
    """(P, T, heads * c) -> (P, heads, T, c), scaled for the scores."""
    return attention.split(x * attention.channels**-0.5)


def _by_head(weight: Tensor, attention: Attention) -> Tensor:
    """(heads * c, C) -> (heads, c, C); a bias (heads * c) -> (heads, c, 1)."""
    return weight.detach().reshape(attention.heads, attention.channels, -1)
