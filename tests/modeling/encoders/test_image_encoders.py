"""Windows, relative positions and attention, each against the definition written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sam_edge.modeling.encoders import edge_sam as edge_sam_encoder
from sam_edge.modeling.encoders import image_encoder_vit as vit
from sam_edge.modeling.encoders import repvit
from sam_edge.modeling.encoders.tiny_vit import blocks
from sam_edge.modeling.encoders.tiny_vit.model import TinyViT
from sam_edge.modeling.encoders.windows import from_windows, to_windows
from sam_edge.modeling.fuse import fuse


@settings(deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), window=st.integers(1, 7), batch=st.integers(1, 2))
def test_windows_come_back_whole(height: int, width: int, window: int, batch: int) -> None:
    x = torch.randn(batch, height, width, 3)
    windows = to_windows(x, window)
    assert windows.shape[1:] == (window, window, 3)
    assert torch.equal(from_windows(windows, (height, width)), x)
    assert windows.abs().sum().item() == pytest.approx(x.abs().sum().item(), rel=1e-4)


def test_relative_positions_by_offset() -> None:
    table = torch.arange(9.0)[:, None] - 4
    exact = vit.relative_positions(table, 5)[..., 0]
    assert exact.tolist() == [[float(query - key) for key in range(5)] for query in range(5)]
    cropped = vit.relative_positions(table, 3)[..., 0]
    assert torch.equal(cropped, exact[:3, :3])


def test_relative_positions_stretch_as_the_reference_does() -> None:
    table = torch.randn(5, 2)
    stretched = F.interpolate(table.T[None], size=13, mode="linear")[0].T
    positions = vit.relative_positions(table, 7)
    assert positions.shape == (7, 7, 2)
    assert torch.equal(positions[0, 6], stretched[0])
    assert torch.equal(positions[6, 0], stretched[12])
    assert torch.equal(positions[2, 3], stretched[5])


def test_attention_written_out() -> None:
    torch.manual_seed(0)
    heads, dim, height, width = 2, 8, 3, 4
    attention = vit.Attention(dim, heads, positions=4).requires_grad_(False)
    for table in (attention.rel_pos_h, attention.rel_pos_w):
        table.normal_()
    x = torch.randn(1, height, width, dim)
    q, k, v = attention.qkv(x).reshape(height * width, 3, heads, dim // heads).unbind(1)
    expected = torch.zeros(height * width, heads, dim // heads)
    for head in range(heads):
        for query in range(height * width):
            scores = torch.stack(
                [
                    q[query, head] @ k[key, head] / (dim // heads) ** 0.5
                    + q[query, head] @ attention.rel_pos_h[query // width - key // width + 3]
                    + q[query, head] @ attention.rel_pos_w[query % width - key % width + 3]
                    for key in range(height * width)
                ]
            )
            expected[query, head] = scores.softmax(0) @ v[:, head]
    answer = attention(x)[0].flatten(0, 1)
    assert torch.allclose(answer, attention.proj(expected.flatten(1)), atol=1e-5)


def test_tiny_vit_bias_depends_on_distance_only() -> None:
    offsets = blocks._offsets(3)
    assert offsets.shape == (9, 9)
    assert offsets[0].tolist() == list(range(9))
    assert torch.equal(offsets, offsets.T)
    assert offsets[4].tolist() == [4, 3, 4, 1, 0, 1, 4, 3, 4]


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_tiny_vit_takes_rectangles(size: tuple[int, int]) -> None:
    encoder = TinyViT(dims=(8, 32, 32, 32), depths=(1, 1, 1, 1), classes=2, out_channels=16).eval()
    with torch.no_grad():
        assert encoder(torch.randn(1, 3, *size)).shape == (1, 16, size[0] // 16, size[1] // 16)


def test_vit_takes_smaller_rectangles() -> None:
    encoder = vit.ImageEncoderViT(
        dim=16, depth=2, heads=2, global_blocks=(1,), image_size=128, window=3, out_channels=8
    )
    with torch.no_grad():
        assert encoder(torch.randn(1, 3, 64, 128)).shape == (1, 8, 4, 8)


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (112, 112)])
def test_fused_tiny_vit_is_its_equal(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    encoder = TinyViT(dims=(8, 32, 64, 96), depths=(1, 2, 2, 1), classes=2, out_channels=16).eval()
    encoder.requires_grad_(False).double()
    for name, values in encoder.state_dict().items():
        # Gains, shifts and biases that start at 1 and 0 would hide a forgotten one.
        if values.ndim < 3 and not name.endswith("running_var") and values.is_floating_point():
            values.add_(0.3 * torch.randn_like(values))
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    plain, fused = encoder, fuse(encoder)
    assert not any(isinstance(module, blocks.Block) for module in fused.modules())
    torch.testing.assert_close(fused(image), plain(image), rtol=0, atol=1e-10)
    assert any(isinstance(module, blocks.Block) for module in encoder.modules())


@settings(deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), odd=st.tuples(st.booleans(), st.booleans()))
def test_edge_sam_doubles_by_pytorchs_bicubic(height: int, width: int, odd: tuple[bool, bool]) -> None:
    layer = edge_sam_encoder.Upsampled(2, 3).double().requires_grad_(False)
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    size = (2 * height - odd[0], 2 * width - odd[1])
    expected = F.interpolate(layer.op_list[0](x), scale_factor=2.0, mode="bicubic")
    assert torch.allclose(layer(x, size), expected[:, :, : size[0], : size[1]], rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", [repvit.RepViT, edge_sam_encoder.EdgeSamEncoder])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_repvits_take_rectangles(kind: type[torch.nn.Module], size: tuple[int, int]) -> None:
    encoder = kind(dims=(8, 16, 24, 32), depths=(2, 1, 3, 1), out_channels=16).eval()
    with torch.no_grad():
        assert encoder(torch.randn(1, 3, *size)).shape == (1, 16, size[0] // 16, size[1] // 16)


def test_every_other_block_weighs_its_channels_but_the_last() -> None:
    stages = repvit.repvit_stages((8, 16), (3, 4), (2,), repvit.NormedBranches)
    found = [
        [any(isinstance(part, repvit.SqueezeExcite) for part in block.modules()) for block in stage[1:]]
        for stage in stages
    ]
    assert found == [[True, False, False], [True, False, True, False]]
