"""EfficientViT-SAM's encoder: linear attention written out, in float16's range, and the neck's scales."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sam_edge.modeling.encoders.efficientvit import (
    HEAD_CHANNELS,
    Backbone,
    EfficientViT,
    LiteMLA,
    Neck,
    Stage,
    linear_attention,
)

STAGES = (
    Stage(4, 1, "plain", 1),
    Stage(8, 1, "fused", 2),
    Stage(12, 1, "fused", 2),
    Stage(16, 1, "inverted", 2),
    Stage(HEAD_CHANNELS, 1, "attention", 2),
)


@settings(max_examples=25, deadline=None)
@given(tokens=st.integers(1, 9), channels=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_linear_attention_is_a_weighted_mean(tokens: int, channels: int, seed: int) -> None:
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, 1, 2, channels, tokens, dtype=torch.float64)
    weight = q.relu().transpose(2, 3) @ k.relu()
    total = weight.sum(-1, keepdim=True)
    # A token none of whose weights counts sees nothing.
    expected = (weight / total.clamp(min=1e-300)) @ v.transpose(2, 3)
    assert torch.allclose(linear_attention(q, k, v).transpose(2, 3), expected, atol=1e-6)


def test_linear_attention_stays_in_the_range_of_float16() -> None:
    torch.manual_seed(0)
    q, k = 60 * torch.rand(2, 1, 1, HEAD_CHANNELS, 4096).half()
    v = 60 * torch.randn(1, 1, HEAD_CHANNELS, 4096).half()
    answer = linear_attention(q, k, v)
    assert answer.dtype == torch.float16
    exact = linear_attention(q.double(), k.double(), v.double())
    assert (answer - exact).abs().max() < 2e-3 * exact.abs().max() + 1e-3


def test_linear_attention_of_no_weight_is_zero() -> None:
    q = k = -torch.ones(1, 1, 4, 6)
    assert torch.equal(linear_attention(q, k, torch.ones(1, 1, 4, 6)), torch.zeros(1, 1, 4, 6))


def test_heads_take_their_own_channels() -> None:
    """Ordered by scale, then head, then query, key, value, as the checkpoints are."""
    torch.manual_seed(0)
    channels = 2 * HEAD_CHANNELS
    attention = LiteMLA(channels, 3).eval().requires_grad_(False)
    x = torch.randn(1, channels, 3, 4)
    qkv = attention.qkv(x)
    seen = []
    for scale in (qkv, attention.aggreg[0](qkv)):
        for head in range(2):
            rows = scale[:, 3 * HEAD_CHANNELS * head :].flatten(2)
            q, k, v = (rows[:, None, i * HEAD_CHANNELS : (i + 1) * HEAD_CHANNELS] for i in range(3))
            seen.append(linear_attention(q, k, v)[:, 0])
    expected = attention.proj(torch.cat(seen, 1).unflatten(2, (3, 4)))
    assert torch.allclose(attention(x), expected, atol=1e-5)


def test_backbone_gives_the_last_three_scales_coarsest_first() -> None:
    maps = Backbone(STAGES).eval()(torch.randn(1, 3, 64, 128))
    assert [tuple(x.shape[1:]) for x in maps] == [(32, 2, 4), (16, 4, 8), (12, 8, 16)]


def test_the_neck_enlarges_by_pytorchs_bicubic() -> None:
    torch.manual_seed(0)
    neck = Neck((5, 4, 3), 1, 1, 8).eval().double().requires_grad_(False)
    maps = [torch.randn(1, c, h, 3 * h, dtype=torch.float64) for c, h in ((5, 2), (4, 4), (3, 8))]
    scales = [op(x) for op, x in zip(neck.input_ops, maps, strict=True)]
    total = sum(F.interpolate(x, (8, 24), mode="bicubic") for x in scales)
    assert torch.allclose(neck(maps), neck.output_ops[0](neck.middle(total)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_embedding_has_the_finest_scales_size(size: tuple[int, int]) -> None:
    encoder = EfficientViT(STAGES, neck_depth=1, neck_expansion=1, out_channels=16).eval()
    with torch.no_grad():
        embedding = encoder(torch.randn(1, 3, *size))
    assert embedding.shape == (1, 16, size[0] // 8, size[1] // 8)
    # Normalised over the channels.
    assert embedding.mean(1).abs().max() < 1e-5
