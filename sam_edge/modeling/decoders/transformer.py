"""SAM's two-way transformer: prompt tokens look at the image, and the image looks back.

Source: Kirillov et al., "Segment Anything" (2023), appendix A.
"""

from __future__ import annotations

from torch import Tensor, nn

from sam_edge.modeling.layers import FeedForward


class Attention(nn.Module):
    """Multi-head attention whose heads work in a space `downsample` times narrower than `dim`."""

    def __init__(self, dim: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        self.heads = heads
        inner = dim // downsample
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    @property
    def channels(self) -> int:
        """Width of one head."""
        return self.q_proj.out_features // self.heads

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Queries (B, Q, dim) gather from keys and values (B, K, dim); `bias` (B, 1, 1, K) is added to
        the scores."""
        queries, keys, values = (
            self.split(project(x)) for project, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        scores = (queries * self.channels**-0.5) @ keys.transpose(2, 3)
        if bias is not None:
            scores = scores + bias
        return self.join(scores.softmax(-1) @ values)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, heads * channels) -> (B, heads, N, channels)."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, self.channels).transpose(1, 2)

    def join(self, x: Tensor) -> Tensor:
        """(B, heads, N, channels) -> (B, N, dim), through the output projection."""
        y: Tensor = self.out_proj(x.transpose(1, 2).flatten(2))
        return y


class TwoWayLayer(nn.Module):
    """Tokens among themselves, tokens to image, tokens alone, image to tokens."""

    def __init__(self, dim: int, heads: int, hidden: int, downsample: int, eps: float) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim, eps)
        self.cross_attn_token_to_image = Attention(dim, heads, downsample)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp: nn.Module = FeedForward(dim, hidden, nn.ReLU)
        self.norm3 = nn.LayerNorm(dim, eps)
        self.norm4 = nn.LayerNorm(dim, eps)
        self.cross_attn_image_to_token = Attention(dim, heads, downsample)

    def among_tokens(
        self, tokens: Tensor, prompt: Tensor, bias: Tensor | None = None, *, first: bool
    ) -> Tensor:
        """The first step; the first layer's tokens are the prompt itself and take its place."""
        if first:
            tokens = self.self_attn(tokens, tokens, tokens, bias)
        else:
            q = tokens + prompt
            tokens = tokens + self.self_attn(q, q, tokens, bias)
        y: Tensor = self.norm1(tokens)
        return y

    def alone(self, tokens: Tensor) -> Tensor:
        """The third step."""
        y: Tensor = self.norm3(tokens + self.mlp(tokens))
        return y

    def forward(
        self, tokens: Tensor, image: Tensor, prompt: Tensor, positions: Tensor, *, first: bool
    ) -> tuple[Tensor, Tensor]:
        """Tokens and prompt (B, T, dim), image and positions (B, N, dim) -> new tokens and image."""
        tokens = self.among_tokens(tokens, prompt, first=first)
        seen = self.cross_attn_token_to_image(tokens + prompt, image + positions, image)
        tokens = self.alone(self.norm2(tokens + seen))
        told = self.cross_attn_image_to_token(image + positions, tokens + prompt, tokens)
        return tokens, self.norm4(image + told)


class TwoWayTransformer(nn.Module):
    """Prompt tokens (B, T, dim) and image tokens (B, N, dim), both changed by each other."""

    def __init__(
        self,
        *,
        dim: int = 256,
        depth: int = 2,
        heads: int = 8,
        hidden: int = 2048,
        downsample: int = 2,
        eps: float = 1e-5,
        layer: type[TwoWayLayer] = TwoWayLayer,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer(dim, heads, hidden, downsample, eps) for _ in range(depth))
        self.final_attn_token_to_image = Attention(dim, heads, downsample)
        self.norm_final_attn = nn.LayerNorm(dim, eps)

    def steps(self) -> list[TwoWayLayer]:
        """The layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, TwoWayLayer)]

    def forward(self, image: Tensor, positions: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """`positions` (N, dim) are added wherever the image is asked, `prompt` wherever a token asks."""
        tokens = prompt
        for index, layer in enumerate(self.steps()):
            tokens, image = layer(tokens, image, prompt, positions, first=index == 0)
        seen = self.final_attn_token_to_image(tokens + prompt, image + positions, image)
        return self.norm_final_attn(tokens + seen), image
