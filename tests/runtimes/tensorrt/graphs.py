"""Graphs whose answers are known, and what is fed to them, for the tests of TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sam_edge.sessions.session import SessionOptions

ENCODE = SessionOptions(host_outputs=frozenset({"logits"}))
DECODE = SessionOptions(host_outputs=frozenset({"logits"}), priority="urgent")
"""What a Segmenter asks for."""


def write_encoder(folder: Path) -> Path:
    """embedding = image + image"""
    return _write(folder / "encoder.onnx", "Add", ["image", "image"], "embedding", [1, 3, "h", "w"])


def write_decoder(folder: Path) -> Path:
    """logits = embedding * prompt"""
    return _write(folder / "decoder.onnx", "Mul", ["embedding", "prompt"], "logits", [1, 3, "h", "w"])


def image(value: float = 1.0, side: int = 4) -> dict[str, NDArray[np.float32]]:
    return {"image": np.full((1, 3, side, side), value, np.float32)}


def prompt(embedding: Any, value: float = 2.0) -> dict[str, Any]:
    return {"embedding": embedding, "prompt": np.full(embedding.shape, value, np.float32)}


def _write(path: Path, operation: str, inputs: list[str], output: str, shape: list[int | str]) -> Path:
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (*inputs, output)
    }
    nodes = [helper.make_node(operation, inputs, [output])]
    *given, answer = tensors.values()
    graph = helper.make_graph(nodes, "small", given, [answer])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path
