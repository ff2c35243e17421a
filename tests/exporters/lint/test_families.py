"""NVIDIA's builder takes the encoder of every family: each kind of block once, few channels, random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto

from sam_edge.exporters.half.precision import halve, read_source, save
from sam_edge.modeling.decoders.efficient_sam import EfficientSamDecoder, PointPrompts
from sam_edge.modeling.decoders.mask_decoder import MaskDecoder
from sam_edge.modeling.decoders.prompt_encoder import PromptEncoder
from sam_edge.modeling.encoders.edge_sam import EdgeSamEncoder
from sam_edge.modeling.encoders.efficient_sam import EfficientSamEncoder
from sam_edge.modeling.encoders.efficientvit import EPS, EfficientViT, Stage, l_stages, xl_stages
from sam_edge.modeling.encoders.image_encoder_vit import ImageEncoderViT
from sam_edge.modeling.encoders.repvit import RepViT
from sam_edge.modeling.encoders.tiny_vit.model import TinyViT
from sam_edge.modeling.families import HALF_INPUT
from sam_edge.modeling.sam import Sam
from sam_edge.modeling.sam_export import SamExport
from tests.exporters.lint.rtx import really_built
from tests.kept_graphs import kept_graph

DIM, SIDE_PX = 32, 256


def sam(encoder: torch.nn.Module, *, side_px: int = SIDE_PX, eps: float = 1e-6, encoder_stride: int = 1) -> Sam:
    """A small decoder behind the encoder."""
    return Sam(
        encoder, PromptEncoder(dim=DIM, image_size=side_px), MaskDecoder(dim=DIM, eps=eps), encoder_stride
    )


def narrow(*stages: Stage) -> list[Stage]:
    """A quarter of the channels."""
    return [replace(stage, channels=stage.channels // 4) for stage in stages]


def efficient_sam() -> Sam:
    encoder = EfficientSamEncoder(dim=48, heads=3, depth=2, out_channels=DIM, image_size=SIDE_PX)
    return Sam(encoder, PointPrompts(dim=DIM, image_size=SIDE_PX), EfficientSamDecoder(dim=DIM))


def vit() -> ImageEncoderViT:
    return ImageEncoderViT(
        dim=48, depth=2, heads=3, global_blocks=(1,), image_size=SIDE_PX, window=14, out_channels=DIM
    )


MODELS: Mapping[str, Callable[[], Sam]] = {
    "sam_vit": lambda: sam(vit()),
    "mobile_sam": lambda: sam(TinyViT(dims=(32, 64, 96, 128), depths=(1, 1, 1, 1), out_channels=DIM)),
    "repvit_sam": lambda: sam(RepViT(dims=(16, 32, 48, 64), depths=(2, 2, 2, 2), out_channels=DIM)),
    "edge_sam": lambda: sam(EdgeSamEncoder(dims=(16, 32, 48, 64), depths=(2, 2, 2, 2), out_channels=DIM)),
    "efficient_sam": efficient_sam,
    "efficientvit_sam_l": lambda: sam(
        EfficientViT(narrow(*l_stages(1, 1, 1, 1, 1)), neck_depth=1, neck_expansion=1, out_channels=DIM),
        eps=EPS,
        encoder_stride=HALF_INPUT.encoder_stride,
    ),
    # At 256 pixels, where its coarsest map has 4 x 4 cells, TensorRT for RTX 1.7 breaks down.
    "efficientvit_sam_xl": lambda: sam(
        EfficientViT(narrow(*xl_stages(0, 1, 1, 1, 1, 1)), neck_depth=1, neck_expansion=4, out_channels=DIM),
        side_px=512,
        eps=EPS,
    ),
}


def encoder_graph(family: str, folder: Path) -> Path:
    torch.manual_seed(0)
    model = MODELS[family]().eval().requires_grad_(False)
    source = next(source for source in SamExport(model).graphs() if source.name == "encoder")
    path: Path = kept_graph(source, folder)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("family", MODELS)
def test_the_encoder_of_every_family_is_built(rtx: Any, family: str, tmp_path: Path) -> None:
    path = encoder_graph(family, tmp_path)
    assert really_built(rtx, path, {}).plan


@pytest.mark.slow
def test_half_precision_is_built(rtx: Any, tmp_path: Path) -> None:
    path = encoder_graph("mobile_sam", tmp_path)
    half = tmp_path / "encoder.fp16.onnx"
    save(halve(read_source(path), ()), half)
    kinds = {tensor.data_type for tensor in onnx.load(half).graph.initializer}
    assert TensorProto.FLOAT16 in kinds
    whole = really_built(rtx, path, {})
    assert len(really_built(rtx, half, {}).plan) < len(whole.plan)
