"""Graphs whose answers are known, for the tests of onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper


def save(
    folder: Path, name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], opset: int = 20
) -> Path:
    body = helper.make_graph(nodes, name, inputs, outputs)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def tensor(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def write_encoder(folder: Path) -> Path:
    """embedding = -image"""
    node = helper.make_node("Neg", ["image"], ["embedding"])
    return save(folder, "encoder", [node], [tensor("image", 1, "w")], [tensor("embedding", 1, "w")])


def write_decoder(folder: Path) -> Path:
    """logits = embedding + point, iou = embedding * point"""
    nodes = [
        helper.make_node("Add", ["embedding", "point"], ["logits"]),
        helper.make_node("Mul", ["embedding", "point"], ["iou"]),
    ]
    inputs = [tensor("embedding", 1, "w"), tensor("point", 1, 1)]
    return save(folder, "decoder", nodes, inputs, [tensor("logits", 1, "w"), tensor("iou", 1, "w")])


def image(value: float, width: int = 3) -> dict[str, np.ndarray]:
    return {"image": np.full((1, width), value, np.float32)}
