"""Encoders that interpolate cubically are exported without the cubic Resize, of which TensorRT is not sure."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from sam_edge.exporters.lint.tensorrt import lint
from sam_edge.exporters.onnx_graph import write_graph
from sam_edge.modeling.encoders.edge_sam import EdgeSamEncoder
from sam_edge.modeling.encoders.efficient_sam import EfficientSamEncoder
from sam_edge.modeling.encoders.efficientvit import EfficientViT
from sam_edge.modeling.exportable import GraphSource
from sam_edge.modeling.fuse import fuse
from tests.modeling.encoders.test_efficientvit import STAGES


def encoder(kind: str) -> nn.Module:
    """A small one, no weight zero."""
    torch.manual_seed(0)
    made: dict[str, nn.Module] = {
        # As large as it is, or the ONNX exporter would fold its positions by itself.
        "efficient_sam": EfficientSamEncoder(dim=72, heads=1, depth=1, out_channels=8),
        "efficientvit_sam": EfficientViT(STAGES, neck_depth=1, neck_expansion=1, out_channels=8),
        "edge_sam": EdgeSamEncoder(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), out_channels=8),
    }
    model = made[kind].eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("efficient_sam", (1024, 1024)),
        ("efficientvit_sam", (64, 64)),
        ("efficientvit_sam", (64, 96)),
        ("edge_sam", (64, 64)),
        # Three rows of tokens are not twice as many as two.
        ("edge_sam", (48, 80)),
    ],
)
def test_no_resize_is_left_and_the_lint_is_silent(kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    model = encoder(kind)
    image = torch.randn(1, 3, *size)
    path = write_graph(GraphSource("encoder", fuse(model), {"image": image}, ("embedding",)), tmp_path)
    assert "Resize" not in {node.op_type for node in onnx.load(path).graph.node}
    assert lint(path) == []
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (embedding,) = session.run(None, {"image": image.numpy()})
    assert torch.allclose(torch.from_numpy(embedding), model(image), rtol=1e-4, atol=1e-4)
