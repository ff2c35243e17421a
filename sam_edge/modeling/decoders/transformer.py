"""SAM's two-way transformer: prompt tokens attend to image tokens, and image tokens to prompt tokens.

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
        """Multi-head attention.

        Args:
            q: queries (B, Q, dim).
            k, v: keys and values (B, K, dim).
            bias: (B, 1, 1, K), added to the scores.

        Returns:
            (B, Q, dim).
        """
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
    """Self-attention of the tokens, tokens to image, an MLP on the tokens, image to tokens.

    Args:
        dim: channels of a token.
        heads: of every attention.
        hidden: width of the MLP.
        downsample: how many times narrower than `dim` the two cross-attentions work.
        eps: of the normalisations.
    """

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

    def self_attention(
        self, tokens: Tensor, prompt: Tensor, bias: Tensor | None = None, *, first: bool
    ) -> Tensor:
        """Step 1: attention of the tokens to each other, and a normalisation.

        Args:
            tokens: (B, T, dim).
            prompt: (B, T, dim), added to queries and keys after the first layer.
            bias: (B, 1, 1, T), added to the scores.
            first: whether this is the first layer, whose tokens are the prompt itself: the attention's output
                replaces them instead of being added.

        Returns:
            (B, T, dim).
        """
        if first:
            tokens = self.self_attn(tokens, tokens, tokens, bias)
        else:
            q = tokens + prompt
            tokens = tokens + self.self_attn(q, q, tokens, bias)
        y: Tensor = self.norm1(tokens)
        return y

    def add_mlp(self, tokens: Tensor) -> Tensor:
        """Step 3: tokens (B, T, dim) plus the MLP of each, normalised."""
        y: Tensor = self.norm3(tokens + self.mlp(tokens))
        return y

    def forward(
        self, tokens: Tensor, image: Tensor, prompt: Tensor, positions: Tensor, *, first: bool
    ) -> tuple[Tensor, Tensor]:
        """One layer.

        Args:
            tokens, prompt: (B, T, dim).
            image: (B or 1, N, dim).
            positions: (N, dim) of the image tokens.
            first: as in `self_attention`.

        Returns:
            New tokens (B, T, dim) and image (B, N, dim).
        """
        tokens = self.self_attention(tokens, prompt, first=first)
        attended = self.cross_attn_token_to_image(tokens + prompt, image + positions, image)
        tokens = self.add_mlp(self.norm2(tokens + attended))
        attended = self.cross_attn_image_to_token(image + positions, tokens + prompt, tokens)
        return tokens, self.norm4(image + attended)


class TwoWayTransformer(nn.Module):
    """Prompt tokens (B, T, dim) and image tokens (B or 1, N, dim), each updated from the other.

    Args:
        dim: channels of a token.
        depth: number of layers.
        heads, hidden, downsample, eps: of each layer, see `TwoWayLayer`.
        layer: class of the layers.
    """

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
        """All layers, and a last attention of the tokens to the image.

        Args:
            image: (B or 1, N, dim).
            positions: (N, dim), added to the image tokens in queries and keys, never in values.
            prompt: (B, T, dim), the tokens to begin with; added to the tokens in queries and keys.

        Returns:
            Tokens (B, T, dim) and image (B, N, dim).
        """
        tokens = prompt
        for index, layer in enumerate(self.steps()):
            tokens, image = layer(tokens, image, prompt, positions, first=index == 0)
        attended = self.final_attn_token_to_image(tokens + prompt, image + positions, image)
        return self.norm_final_attn(tokens + attended), image
