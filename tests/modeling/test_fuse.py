"""Fused modules compute what the originals compute, and the originals are left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sam_edge.modeling.encoders.edge_sam import Branches, EdgeSamEncoder
from sam_edge.modeling.encoders.image_encoder_vit import ImageEncoderViT
from sam_edge.modeling.encoders.repvit import NormedBranches, RepViT
from sam_edge.modeling.fuse import fuse

DIMS = (16, 24, 32, 40)


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, float64, with statistics and weights that matter everywhere."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval().requires_grad_(False)
    for name, values in module.state_dict().items():
        if name.endswith("running_var"):
            values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
        elif values.is_floating_point():
            values.copy_(values + 0.2 * torch.randn(values.shape, generator=generator))
    return module


@settings(deadline=None, max_examples=20)
@given(
    kind=st.sampled_from([Branches, NormedBranches]),
    dim=st.integers(1, 9),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    seed=st.integers(0, 2**31),
)
def test_branches_are_one_convolution(
    kind: Callable[[int], nn.Module], dim: int, height: int, width: int, seed: int
) -> None:
    branches = shaken(kind(dim), seed)
    plain = fuse(branches)
    assert isinstance(plain, nn.Conv2d)
    x = torch.randn(2, dim, height, width, dtype=torch.float64)
    assert torch.allclose(plain(x), branches(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", [RepViT, EdgeSamEncoder])
def test_encoders_are_folded_without_a_trace_in_the_original(kind: type[nn.Module]) -> None:
    encoder = shaken(kind(dims=DIMS, depths=(2, 1, 3, 2), out_channels=8))
    names = list(encoder.state_dict())
    plain = fuse(encoder)
    image = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(plain(image), encoder(image), rtol=0, atol=1e-11)
    branches = [part for part in plain.modules() if isinstance(part, Branches | NormedBranches)]
    assert branches == []
    assert list(encoder.state_dict()) == names
    # What is not fused takes no second room.
    shared = {id(weight) for weight in encoder.parameters()} & {id(weight) for weight in plain.parameters()}
    assert len(shared) > len(list(plain.parameters())) / 2


def test_weights_are_rounded_once() -> None:
    branches = shaken(NormedBranches(5))
    exact = fuse(branches)
    rounded = fuse(branches.float())
    assert isinstance(exact, nn.Conv2d)
    assert isinstance(rounded, nn.Conv2d)
    assert rounded.weight.dtype == torch.float32
    assert torch.allclose(rounded.weight.double(), exact.weight, rtol=1e-6, atol=1e-7)


def test_what_has_nothing_to_fold_stays_the_same_object() -> None:
    encoder = ImageEncoderViT(
        dim=16, depth=1, heads=2, global_blocks=(), image_size=64, window=2, out_channels=8
    )
    assert fuse(encoder) is encoder
