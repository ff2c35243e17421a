"""Floating point operations of an ONNX graph, counted from its shapes."""

from __future__ import annotations

import math
from pathlib import Path

import onnx


def count_flops(path: Path) -> int:
    """Twice the multiplications of all matrix products and convolutions; the rest is small beside them."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return sum(2 * _multiplications(node, shapes) for node in graph.node)


def _multiplications(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type in ("MatMul", "Gemm"):
        inner = shapes[node.input[0]][-1]
        if any(item.name == "transA" and item.i for item in node.attribute):
            inner = shapes[node.input[0]][0]
        return math.prod(shapes[node.output[0]]) * inner
    if node.op_type == "Conv":
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
    return 0


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
