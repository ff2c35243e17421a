"""Storing weights that float16 holds exactly as float16, while the graph computes in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .precision import save

SMALL = 64
"""Weights with fewer elements stay as they are: they take no room."""


def halve_weights(path: Path) -> None:
    """Rewrite an ONNX file: each large weight that float16 holds exactly is stored so, with a Cast.

    Engines fold the casts when they load the graph: the file shrinks, and no number changes.
    """
    model = onnx.load(path)
    graph = model.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < SMALL or not _fits(values):
            kept.append(tensor)
            continue
        stored = f"{tensor.name}.float16"
        kept.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(
            helper.make_node("Cast", [stored], [tensor.name], f"{tensor.name}.cast", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    # Removes a file of external weights, which may not be needed any more.
    save(model, path)


def _fits(values: NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())
