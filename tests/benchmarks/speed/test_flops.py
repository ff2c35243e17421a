"""Counting operations from shapes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sam_edge.benchmarks.speed.flops import count_flops
from sam_edge.exporters.onnx_graph import write_graph
from sam_edge.modeling.exportable import GraphSource


def test_products_and_convolutions_are_counted(tmp_path: Path) -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 4, 2, 2), nn.Flatten(2), nn.Linear(64, 5)
    )
    source = GraphSource("decoder", layers.requires_grad_(False), {"input": torch.zeros(1, 3, 8, 8)}, ("y",))
    convolution = 8 * 4 * 4 * 3 * 9
    transposed = 4 * 4 * 8 * 4 * 4
    linear = 4 * 64 * 5
    assert count_flops(write_graph(source, tmp_path)) == 2 * (convolution + transposed + linear)
