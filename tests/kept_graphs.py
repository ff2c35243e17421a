"""Tracing a model takes seconds, and equal weights give equal graphs: tests of what comes after share them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sam_edge.exporters.onnx_graph import write_graph
from sam_edge.modeling.exportable import GraphSource

_graphs: dict[bytes, bytes] = {}
"""What was traced so far in this process."""


def kept_graph(source: GraphSource, folder: Path) -> Path:
    """`write_graph`, which traces what it has not traced before."""
    digest = hashlib.sha256(repr((source.name, type(source.module), source.outputs, source.dynamic)).encode())
    for name, tensor in (*source.module.state_dict().items(), *source.inputs.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    key = digest.digest()
    path = folder / f"{source.name}.onnx"
    if key in _graphs:
        path.write_bytes(_graphs[key])
    else:
        _graphs[key] = write_graph(source, folder).read_bytes()
    return path
