"""What onnxruntime would lose of RepViT if the graph were taken as published."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import torch

from sam_edge.exporters.onnx_graph import write_graph
from sam_edge.modeling.encoders.repvit import SqueezeExcite
from sam_edge.modeling.exportable import GraphSource
from sam_edge.modeling.fuse import fuse


def test_means_of_large_maps_keep_their_digits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = SqueezeExcite(8).requires_grad_(False)
    # Padding makes flat areas, where every rounding of a running sum goes the same way.
    x = (0.5 + torch.rand(1, 8, 1, 1)).expand(1, 8, 256, 256).contiguous()
    for conv, shift in ((layer.fc1, 0.0), (layer.fc2, -10 * float(x.mean()))):
        assert conv.bias is not None
        conv.weight.copy_(torch.eye(8)[:, :, None, None] * (10.0 if conv is layer.fc2 else 1.0))
        conv.bias.fill_(shift)
    path = write_graph(GraphSource("encoder", fuse(layer), {"x": x}, ("y",)), tmp_path)
    (answer,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy()})
    exact = layer.double()(x.double())
    assert float((torch.from_numpy(answer) - exact).abs().max()) < 2e-5
